"""Overviews over a backend, counted from all memories of a user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from openmem._emulation.backend import Backend, Task
from openmem._emulation.reading import hiding_of
from openmem._emulation.views import equal_of, shows
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._rules.overview import NONE, Counts, State, count_scopes, count_tags, scopes_of, tags_of, user_info
from openmem.types import MemoryRecord, Overview, ScopeInfo, TagInfo, UserInfo, UserPage


def scopes(backend: Backend, query: ScopesQuery, task: Task) -> Overview[ScopeInfo]:
    """Return the scopes of all that a user has."""
    return scopes_of(_counted(backend, query.view, task).items(), query.depth)


def tags(backend: Backend, query: TagsQuery, task: Task) -> Overview[TagInfo]:
    """Return the tags of what a view shows."""
    entries = backend.entries(query.view.user_id, equal_of(query.view.scope))
    task.check()
    hiding = hiding_of(backend, query.view, entries)
    return tags_of(count_tags(e.record for e in entries if shows(query.view, e.record, task.now, hiding)))


def users(backend: Backend, query: UsersQuery, task: Task) -> UserPage:
    """Return a page of the users who have memories, in the order of their ids."""
    after = ""
    if query.cursor is not None:
        (after,) = decode_cursor(query.cursor, "users", (str,), [query.prefix])
    known = (user_id for user_id in sorted(backend.users()) if user_id > after)
    infos = _infos(backend, [user_id for user_id in known if user_id.startswith(query.prefix or "")], task)
    found = [*islice(infos, query.limit)]
    cursor = None
    if len(found) == query.limit and next(infos, None) is not None:
        cursor = encode_cursor("users", [found[-1].user_id], [query.prefix])
    return UserPage.model_construct(items=found, next_cursor=cursor)


def _infos(backend: Backend, users: Iterable[str], task: Task) -> Iterator[UserInfo]:
    """Yield what is known of each user; services go on naming some whose memories are all erased."""
    for user_id in users:
        task.check()
        counts = NONE
        for one in _counted(backend, View(user_id), task).values():
            counts = counts.with_(one)
        if counts != NONE:
            yield user_info(user_id, counts)


def _counted(backend: Backend, view: View, task: Task) -> dict[str | None, Counts]:
    entries = backend.entries(view.user_id, equal_of(view.scope))
    task.check()
    view = replace(view, tags=(), include_superseded=False, include_expired=False)
    hiding = hiding_of(backend, view, entries)
    valid_or_not = replace(view, include_expired=True)
    everything = replace(valid_or_not, include_superseded=True)

    def state_of(record: MemoryRecord) -> State:
        if shows(view, record, task.now, hiding):
            return "current"
        return "expired" if shows(valid_or_not, record, task.now, hiding) else "superseded"

    records = [e.record for e in entries if shows(everything, e.record, task.now, hiding)]
    return count_scopes(records, state_of)
