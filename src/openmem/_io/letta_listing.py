"""All passages of an archive. Letta lists them by time, and more than a hundred of one moment only for an agent."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from openmem._io.letta_errors import NAME, ask, ask_again
from openmem._io.letta_wire import MOST, Item, LettaWire, passages_of, read
from openmem._io.shim import time_left
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
    """Return every passage of an archive, by time as long as that reaches all of them."""
    found: dict[str, Item] = {}
    start: str | None = None
    while True:
        page = wire.between(archive_id, start, None)
        found |= {str(passage["id"]): passage for passage in page}
        if len(page) < MOST:
            return [*found.values()]
        last = str(page[-1]["created_at"])
        if last == str(page[0]["created_at"]):  # the next page would be the same
            return [*_by_agent(wire, archive_id).values()]
        start = last


def _by_agent(wire: LettaWire, archive_id: str) -> dict[str, Item]:
    found: dict[str, Item] = {}
    last: str | None = None
    with _agent_on(wire, archive_id) as agent_id:
        while True:
            page = _page_of(wire, agent_id, last)
            found |= {str(passage["id"]): passage for passage in page if passage["archive_id"] == archive_id}
            if len(page) < MOST:
                return found
            if page[-1]["id"] == last:
                raise ProviderError("letta's pages of passages come to no end", provider=NAME)
            last = str(page[-1]["id"])


def _page_of(wire: LettaWire, agent_id: str, last: str | None) -> list[Item]:
    list_page = wire.sdk.agents.passages.with_raw_response.list
    after: dict[str, Any] = {} if last is None else {"after": last}
    return passages_of(read(lambda: list_page(agent_id, limit=MOST, ascending=True, **after, timeout=time_left())))


@contextmanager
def _agent_on(wire: LettaWire, archive_id: str) -> Iterator[str]:
    agents = wire.sdk.agents
    agent_id = _make_agent(wire, archive_id)
    try:
        ask_again(lambda: agents.archives.attach(archive_id, agent_id=agent_id, timeout=time_left()))
        yield agent_id
    finally:
        with suppress(OMPError):
            # Detached first: an agent that is deleted must not take the archive along.
            ask_again(lambda: agents.archives.detach(archive_id, agent_id=agent_id, timeout=time_left()))
            ask_again(lambda: agents.delete(agent_id, timeout=time_left()))


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
        reply = ask(lambda: create(**options, timeout=time_left()).http_response.json())
        return str(reply["id"])
    except OMPError as error:
        raise ProviderError(
            "letta holds over a hundred passages of one moment that others wrote, and made no agent to list them with",
            provider=NAME,
            details=error.details,
        ) from error
