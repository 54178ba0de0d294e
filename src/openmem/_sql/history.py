"""A page of a history: the states of a memory and of those that it supersedes, as every store orders and cuts them.

First the position of every state is read, without its content, then the states that go on the page: each may have a
million characters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from openmem._model.access import Patterns, matches_any
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.requests import HistoryQuery
from openmem._model.results import HistoryPage
from openmem._rules.paging import PAGE_BYTES, highest_so_far
from openmem._rules.versions import size_of
from openmem._sql.steps import Steps
from openmem.types import MemoryRecord

Replaced: TypeAlias = tuple[int, int, int | None]
"""An earlier version: its number, when it was replaced, and when it began, if others before it were removed."""


class Member(NamedTuple):
    """A memory whose states belong to a history, and when it was stored and last changed, in microseconds."""

    id: str
    version: int
    created_at: int
    changed_at: int


class Position(NamedTuple):
    """The position of a state in a history; the larger, the newer."""

    at: int
    version: int
    id: str


def positions(
    start: MemoryRecord, members: Sequence[Member], versions: Mapping[str, Sequence[Replaced]]
) -> list[Position]:
    """Return the positions of all states but the present one of the memory asked for, newest first.

    Args:
        start: The memory.
        members: All memories that belong to its history, itself among them.
        versions: Earlier versions by id, the oldest first.
    """
    found = [position for member in members for position in _positions_of(member, versions.get(member.id, []))]
    present = (start.id, start.version)
    return sorted((position for position in found if (position.id, position.version) != present), reverse=True)


def _positions_of(member: Member, versions: Sequence[Replaced]) -> list[Position]:
    # A version began when the one before it was replaced; the oldest one says so itself if others went before it.
    first = max(member.created_at, versions[0][2] or member.created_at) if versions else member.changed_at
    began = [first, *(row[1] for row in versions[:-1]), member.changed_at]
    numbers = [*(row[0] for row in versions), member.version]
    times = highest_so_far(began if versions else [member.changed_at])
    return [Position(at, version, member.id) for at, version in zip(times, numbers, strict=True)]


def behind_cursor(query: HistoryQuery, start: MemoryRecord, found: Sequence[Position]) -> Sequence[Position]:
    """Return the positions from which the page is filled.

    Raises:
        InvalidRequestError: The cursor is not one of this history.
    """
    if query.cursor is None:
        return found
    last = decode_cursor(query.cursor, "history", (int, int, str), _binding(start))
    return [position for position in found if position < last]


def read_page(
    query: HistoryQuery,
    start: MemoryRecord,
    found: Sequence[Position],
    read: Callable[[Position], Steps[MemoryRecord | None]],
    seen: Patterns | None,
) -> Steps[HistoryPage]:
    """Read states up to the limit and the bytes of a page.

    Args:
        query: What is asked for.
        start: The memory.
        found: The positions from which the page is filled.
        read: Reads the state at a position; `None` if it was removed meanwhile.
        seen: The scopes that the caller may see; a state outside of them is left out.
    """
    shown: list[tuple[Position, MemoryRecord]] = []
    left = PAGE_BYTES
    for position in found:
        if len(shown) == query.limit:
            return _page(shown, start)
        record = yield from read(position)
        if record is None or not matches_any(seen, record.scope):
            continue
        left -= size_of(record)
        if left < 0 and shown:
            return _page(shown, start)
        shown.append((position, record))
    return HistoryPage([record for _, record in shown])


def _page(shown: Sequence[tuple[Position, MemoryRecord]], start: MemoryRecord) -> HistoryPage:
    last, _ = shown[-1]
    return HistoryPage([record for _, record in shown], encode_cursor("history", last, _binding(start)))


def _binding(start: MemoryRecord) -> list[str]:
    return ["states", start.user_id, start.id]
