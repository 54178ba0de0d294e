"""Overviews for providers that have none: counted over all pages of `list`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import AsyncWork
from openmem._model.cursors import CursorTrail
from openmem._model.requests import ListQuery, ScopesQuery, TagsQuery, View
from openmem._rules.overview import State, count_scopes, count_tags, scopes_of, tags_of
from openmem.errors import UnsupportedCapabilityError
from openmem.types import MemoryPage, MemoryRecord, Overview, ScopeInfo, TagInfo

_AT_ONCE = 500


async def list_scopes(show: AsyncWork[ListQuery, MemoryPage], query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
    """Return the scopes of what a provider lists: what is hidden comes when it is asked for, for one reason each."""
    view, all_hidden = query.view, replace(query.view, include_expired=True, include_superseded=True)
    current = _by_id(await _all_of(show, view, call))
    expired = _by_id(await _with_hidden(show, replace(view, include_expired=True), call)) | current
    superseded = _by_id(await _with_hidden(show, replace(view, include_superseded=True), call))
    superseded |= _by_id(await _with_hidden(show, all_hidden, call))
    records = superseded | expired

    def state_of(record: MemoryRecord) -> State:
        return "current" if record.id in current else "expired" if record.id in expired else "superseded"

    return scopes_of(count_scopes(records.values(), state_of).items(), query.depth)


async def list_tags(show: AsyncWork[ListQuery, MemoryPage], query: TagsQuery, call: Call) -> Overview[TagInfo]:
    """Return the tags of what a provider lists."""
    return tags_of(count_tags(await _all_of(show, query.view, call)))


async def _with_hidden(show: AsyncWork[ListQuery, MemoryPage], view: View, call: Call) -> list[MemoryRecord]:
    try:
        return await _all_of(show, view, call)
    except UnsupportedCapabilityError:  # it hides nothing for this reason
        return []


async def _all_of(show: AsyncWork[ListQuery, MemoryPage], view: View, call: Call) -> list[MemoryRecord]:
    records: list[MemoryRecord] = []
    trail = CursorTrail()
    cursor: str | None = None
    while True:
        page = await show(ListQuery(view, limit=_AT_ONCE, cursor=cursor))
        records += page.items
        cursor = trail.follow(page.next_cursor)
        if cursor is None:
            return records
        call.deadline.check()


def _by_id(records: Iterable[MemoryRecord]) -> dict[str, MemoryRecord]:
    return {record.id: record for record in records}
