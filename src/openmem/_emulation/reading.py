"""Reads over a backend: by id, in pages, by relevance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Backend, Entry, Hit, Position, Task, position_of
from openmem._emulation.views import Hiding, equal_of, shows, superseded_since
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import Key, Named, ambiguous_id, may_be_of, unknown_id
from openmem._model.requests import ListQuery, SearchQuery, View
from openmem._model.timestamps import micros
from openmem._rules.paging import date_of, fitting
from openmem._rules.versions import size_of
from openmem.types import MemoryPage, MemoryRecord, SearchResult

GROWTH: Final = 4


def find(backend: Backend, named: Named, user_id: str | None) -> Entry:
    """Return one memory by its id, or by its key, for which the user must be named.

    Raises:
        NotFoundError: There is none, or it belongs to another user.
        InvalidRequestError: No user was named and several have a memory of that id.
    """
    if isinstance(named, Key):
        holder = None if user_id is None else with_key(backend, user_id, named.name)
        if holder is None:
            raise unknown_id(named, backend.name)
        return holder
    found = [entry for entry in backend.fetch(named, user_id) if _is_meant(entry.record.user_id, named, user_id)]
    if not found:
        raise unknown_id(named, backend.name)
    if len({entry.record.user_id for entry in found}) > 1:
        raise ambiguous_id()
    return oldest(found)


def _is_meant(owner: str, id_: str, user_id: str | None) -> bool:
    return may_be_of(id_, owner) if user_id is None else owner == user_id


def with_key(backend: Backend, user_id: str, key: str | None) -> Entry | None:
    """Return the memory of a user that has a key, if there is one."""
    if key is None:
        return None
    found = [entry for entry in backend.entries(user_id, {envelope.KEY: key}) if entry.record.key == key]
    return oldest(found) if found else None


def oldest(entries: Sequence[Entry]) -> Entry:
    """Return the entry that was there first: of several that claim one id or key it is the one that counts."""
    return min(entries, key=lambda entry: (entry.record.created_at, entry.handle))


def check_all(backend: Backend, ids: Sequence[str], user_id: str, task: Task) -> None:
    """Raise `NotFoundError` unless the user has a memory of each id."""
    for id_ in ids:
        task.check()
        find(backend, id_, user_id)


def page(backend: Backend, query: ListQuery, task: Task) -> MemoryPage:
    """Return a page of what a view shows, in its order. The backend lists all of the user's memories for it."""
    after = None
    if query.cursor is not None:
        after = decode_cursor(query.cursor, "list", (int, str), query.binding)
    entries = backend.entries(query.view.user_id, equal_of(query.view.scope))
    task.check()
    superseded = hiding_of(backend, query.view, entries)
    shown = [entry.record for entry in entries if shows(query.view, entry.record, task.now, superseded)]
    placed = [(_place_of(record, query), record) for record in shown if _in_range(record, query)]
    placed.sort(key=itemgetter(0), reverse=query.descending)
    if after is not None:
        placed = [each for each in placed if (each[0] < after if query.descending else each[0] > after)]
    shown = [record for _, record in placed]
    cursor, count = None, fitting(map(size_of, shown), query.limit)
    if count < len(shown):
        shown = shown[:count]
        cursor = encode_cursor("list", _place_of(shown[-1], query), query.binding)
    return MemoryPage.model_construct(items=shown, next_cursor=cursor)


def search(backend: Backend, query: SearchQuery, task: Task) -> list[SearchResult]:
    """Return the best matches that a view shows, asking the backend for more until there are enough."""
    if query.offset:
        return search(backend, replace(query, limit=query.offset + query.limit, offset=0), task)[query.offset :]
    view, equal, most = query.view, equal_of(query.view.scope), backend.most_hits
    filtered = view.tags or view.where is not None or (view.scope is not None and view.scope.subtree)
    count = query.limit * (GROWTH if filtered else 1)
    while True:
        count = count if most is None else min(count, most)
        hits = backend.nearest(query.text, view.user_id, equal, count, query.mode)
        task.check()
        superseded = hiding_of(backend, view, [hit.entry for hit in hits])
        shown = [hit for hit in hits if _may_be_found(hit.entry.record, view, task, superseded)]
        exhausted, capped = len(hits) < count, count == most
        if len(shown) >= query.limit or exhausted or capped or _below(hits, query.min_score):
            break
        count *= GROWTH
    hidden = (capped and not exhausted) or (query.mode == "vector" and not backend.lists_all_scored)
    if hidden and len(shown) < query.limit and not query.min_score:
        shown += _rest(backend, query, shown, task)
    return _results(query, shown)


def export_page(
    backend: Backend, user_id: str | None, cursor: str | None, limit: int, task: Task
) -> tuple[list[MemoryRecord], str | None]:
    """Return the next records, hidden ones too: user by user, in the order of the backend."""
    first, after = "", None
    if cursor is not None:
        first, number, text = decode_cursor(cursor, "export", (str, int, str), (user_id,))
        after = (number, text)
    taken: list[tuple[Position, MemoryRecord]] = []
    for owner in [user_id] if user_id is not None else sorted(backend.users()):
        if owner < first:
            continue
        for position, entry in _all_after(
            backend, owner, after if owner == first else None, limit - len(taken) + 1, task
        ):
            if len(taken) == limit:
                (number, text), last = taken[-1]
                following = encode_cursor("export", (last.user_id, number, text), (user_id,))
                return [record for _, record in taken], following
            taken.append((position, entry.record))
    return [record for _, record in taken], None


def _all_after(
    backend: Backend, user_id: str, after: Position | None, count: int, task: Task
) -> Iterator[tuple[Position, Entry]]:
    while True:
        task.check()
        found, after = backend.following(user_id, after, count)
        yield from found
        if after is None:
            return


def hiding_of(backend: Backend, view: View, entries: Iterable[Entry]) -> dict[str, Hiding]:
    """Return what hides memories of a user, as far as it can hide one of these entries from a view."""
    if view.include_superseded or (backend.marks_outdated and not any(entry.outdated for entry in entries)):
        return {}
    linking = backend.entries(view.user_id, {envelope.LINKS: True})
    return superseded_since(entry.record for entry in linking)


def _may_be_found(record: MemoryRecord, view: View, task: Task, superseded: dict[str, Hiding]) -> bool:
    """Return whether a search shows a memory; the service itself knows the words of all of them."""
    return record.searchable and shows(view, record, task.now, superseded)


def _rest(backend: Backend, query: SearchQuery, shown: Sequence[Hit], task: Task) -> list[Hit]:
    known = {hit.entry.record.id for hit in shown}
    entries = backend.entries(query.view.user_id, equal_of(query.view.scope))
    task.check()
    superseded = hiding_of(backend, query.view, entries)
    rest = [entry for entry in entries if _may_be_found(entry.record, query.view, task, superseded)]
    rest.sort(key=lambda entry: position_of(entry.record), reverse=True)
    return [Hit(entry, 0.0) for entry in rest if entry.record.id not in known]


def _results(query: SearchQuery, hits: list[Hit]) -> list[SearchResult]:
    wanted = [hit for hit in hits if query.min_score is None or hit.score >= query.min_score]
    wanted.sort(key=lambda hit: (-hit.score, hit.entry.record.id))
    return [
        SearchResult.model_construct(
            memory=hit.entry.record, score=hit.score, explain=_explain(query, hit) if query.explain else None
        )
        for hit in wanted[: query.limit]
    ]


def _explain(query: SearchQuery, hit: Hit) -> dict[str, Any]:
    return {"mode": query.mode, "parts": dict(hit.parts) or {"service": {"value": hit.score, "weight": 1.0}}}


def _below(hits: Sequence[Hit], min_score: float | None) -> bool:
    return bool(hits) and min_score is not None and hits[-1].score < min_score


def _place_of(record: MemoryRecord, query: ListQuery) -> Position:
    return micros(date_of(record, query.order)), record.id


def _in_range(record: MemoryRecord, query: ListQuery) -> bool:
    made = record.created_at
    return (query.since is None or made >= query.since) and (query.until is None or made < query.until)
