"""All passages of an archive. Letta lists them by time, and more than a hundred of one moment only for an agent."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from openmem._emulation.backend import Position
from openmem._emulation.metadata import moment_of
from openmem._io.vendors.call_deadline import time_left
from openmem._io.vendors.letta.items import NAME, text_of
from openmem._io.vendors.letta.wire import MOST, SDK, Item, LettaWire, passages_of, read, read_rows
from openmem._model.timestamps import micros
from openmem.errors import OMPError, ProviderError

NO_MODEL: Final = {
    "model": "none",
    "model_endpoint_type": "openai",
    "model_endpoint": "http://127.0.0.1:9/v1",
    "context_window": 8_192,
    "handle": "openmem/none",
}
"""An agent needs a language model. This one is never asked."""
AGENT: Final = "openmem-reader-"


def all_passages(wire: LettaWire, archive_id: str) -> list[Item]:
    """Return every passage of an archive."""
    found: list[Item] = []
    after: Position | None = None
    while True:
        page, after = passages_after(wire, archive_id, after, sys.maxsize)
        found += page
        if after is None:
            return found


def passages_after(
    wire: LettaWire, archive_id: str, after: Position | None, count: int
) -> tuple[list[Item], Position | None]:
    """Return passages behind a place, by moment and id, and where to go on, `None` at the end.

    Passages of one moment come together, as long as there are less than a hundred.

    Args:
        wire: The requests.
        archive_id: The archive.
        after: Microseconds and id of a passage, which need not be there any more.
        count: When to stop.
    """
    found: list[Item] = []
    start = None if after is None else after[0]
    while len(found) < count:
        page = sorted(wire.between(archive_id, None if start is None else text_of(start), None), key=position_of)
        # 1. The last page.
        if len(page) < MOST:
            return found + _behind(after, page), None
        start = position_of(page[-1])[0]
        if start > position_of(page[0])[0]:  # there may be more of the last moment
            # 2. A full page of several moments: the last moment may go on, so its passages wait for the next page.
            found += _behind(after, [passage for passage in page if position_of(passage)[0] < start])
            continue
        # 3. A full page of one moment: Letta lists more of it only for an agent, by id.
        last = position_of(found[-1]) if found else after
        crowd = _crowd(wire, archive_id, start, last, count - len(found))
        found += crowd
        if len(found) >= count:
            break
        start += 1
    return found, position_of(found[-1])


def position_of(passage: Item) -> Position:
    """Return the microseconds and the id of a passage: the order in which Letta lists them."""
    made = moment_of(passage["created_at"])
    if made is None:
        raise ProviderError("letta named a passage without its time", provider=NAME)
    return micros(made), str(passage["id"])


def _behind(after: Position | None, passages: list[Item]) -> list[Item]:
    return [passage for passage in passages if after is None or position_of(passage) > after]


def _crowd(wire: LettaWire, archive_id: str, moment: int, after: Position | None, count: int) -> list[Item]:
    """Return passages of one moment that come behind a place, up to a page more than are wanted."""
    found: dict[str, Item] = {}
    with _agent_on(wire, archive_id) as agent_id:
        for page in _pages(wire, agent_id, None if after is None else after[1]):
            rows = [passage for passage in _behind(after, page) if passage["archive_id"] == archive_id]
            found |= {str(passage["id"]): passage for passage in rows if position_of(passage)[0] == moment}
            if len(found) >= count or any(position_of(passage)[0] > moment for passage in rows):
                break
    return sorted(found.values(), key=position_of)


def _pages(wire: LettaWire, agent_id: str, after: str | None) -> Iterator[list[Item]]:
    """Yield the pages behind a passage. If that one is gone, those behind the one before it, and so on."""
    known: set[str] = set()
    trail = [None] if after is None else [None, after]
    while trail:
        page = _page_of(wire, agent_id, trail[-1])
        if not page:  # the end, or nothing is known of the last one any more
            trail.pop()
            continue
        yield page
        ids = [str(passage["id"]) for passage in page]
        if len(page) < MOST:
            return
        if known.issuperset(ids):
            raise ProviderError("letta's pages of passages come to no end", provider=NAME)
        known.update(ids)
        trail += ids


def _page_of(wire: LettaWire, agent_id: str, last: str | None) -> list[Item]:
    list_page = wire.sdk.agents.passages.with_raw_response.list
    after: dict[str, Any] = {} if last is None else {"after": last}
    return passages_of(read_rows(lambda: list_page(agent_id, limit=MOST, ascending=True, **after, timeout=time_left())))


@contextmanager
def _agent_on(wire: LettaWire, archive_id: str) -> Iterator[str]:
    agents = wire.sdk.agents
    agent_id = _make_agent(wire, archive_id)
    try:
        SDK.ask_again(lambda: agents.archives.attach(archive_id, agent_id=agent_id, timeout=time_left()))
        yield agent_id
    finally:
        with suppress(OMPError):
            # Detached first: an agent that is deleted must not take the archive along.
            SDK.ask_again(lambda: agents.archives.detach(archive_id, agent_id=agent_id, timeout=time_left()))
            SDK.ask_again(lambda: agents.delete(agent_id, timeout=time_left()))


def _make_agent(wire: LettaWire, archive_id: str) -> str:
    create = wire.sdk.agents.with_raw_response.create
    archive = read(lambda: wire.sdk.archives.with_raw_response.retrieve(archive_id, timeout=time_left()))
    options = {
        "name": AGENT + uuid.uuid4().hex,
        "llm_config": NO_MODEL,
        "embedding_config": archive["embedding_config"],
        "include_base_tools": False,
    }
    try:
        reply = SDK.ask(lambda: create(**options, timeout=time_left()).http_response.json())
        return str(reply["id"])
    except OMPError as error:
        raise ProviderError(
            "letta holds over a hundred passages of one moment that others wrote, and made no agent to list them with",
            provider=NAME,
            details=error.details,
        ) from error
