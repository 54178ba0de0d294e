"""Steps that read memories: one by id, and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openmem._model.access import Patterns, matches_any
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import Named
from openmem._model.requests import ListQuery, View
from openmem._model.timestamps import micros
from openmem._sql.sqlite.rows import dumps, page_of, select_some
from openmem._sql.sqlite.write import find
from openmem._sql.steps import Query, Steps
from openmem.types import MemoryPage, MemoryRecord


def get(named: Named, user_id: str | None, seen: Patterns | None = None) -> Steps[MemoryRecord]:
    """Read one memory, hidden or not, of the scopes that the caller may see."""
    return (yield from find(named, user_id, seen)).record


def page(query: ListQuery, now: int) -> Steps[MemoryPage]:
    """Read a page of what the view allows, newest first.

    The cursor is the place of the last row, so rows that come or go meanwhile make no other row skip or repeat.
    """
    view = query.view
    users = yield Query("select user_no, clock from users where user_id = ?", (view.user_id,))
    conditions: list[str] = ["1"]
    params: list[Any] = []
    if query.cursor is not None:
        params += decode_cursor(query.cursor, "list", (int, str), query.binding)
        conditions.append("(m.created_at, m.id) < (?, ?)")
    if not users:
        return MemoryPage(items=[], next_cursor=None)
    user_no, clock = users[0]
    for condition, value in (("m.created_at >= ?", query.since), ("m.created_at < ?", query.until)):
        if value is not None:
            conditions.append(condition)
            params.append(micros(value))
    allowed, values = yield from conditions_of(view, user_no, max(now, clock))
    rows = yield from select_some(
        f"m.user_no = ? and {' and '.join(conditions + allowed)} order by m.created_at desc, m.id desc",
        [user_no, *params, *values],
        query.limit,
    )
    found, more = page_of(rows, query.limit)
    records = [stored.record for stored in found]
    cursor = None
    if more:
        last = records[-1]
        cursor = encode_cursor("list", [micros(last.created_at), last.id], query.binding)
    return MemoryPage.model_construct(items=records, next_cursor=cursor)


def check_all(ids: Sequence[str], user_id: str, seen: Patterns | None = None) -> Steps[None]:
    """Raise `NotFoundError` unless the user has a memory of each id that the caller may see."""
    for id_ in ids:
        yield from find(id_, user_id, seen)


def conditions_of(view: View, user_no: int, now: int) -> Steps[tuple[list[str], list[Any]]]:
    """Return the conditions on `m` under which a view shows a memory of its user, and their parameters."""
    at = now if view.as_of is None else (micros(view.as_of))
    conditions: list[str] = []
    params: list[Any] = []
    if view.as_of is not None:
        conditions.append("coalesce(m.valid_from, m.created_at) <= ?")
        params.append(at)
    if not view.include_expired:
        conditions.append("(m.valid_from is null or m.valid_from <= ?) and (m.valid_to is null or m.valid_to > ?)")
        params += [at, at]
    if not view.include_superseded:
        conditions.append("(m.superseded_at is null or m.superseded_at > ?)")
        params.append(at)
    if view.visible is not None or (view.scope is not None and not view.scope.matches(None)):
        rows = yield Query("select scope_no, path from scopes where user_no = ?", (user_no,))
        asked = None if view.scope is None else (view.scope,)
        conditions.append("m.scope_no in (select value from json_each(?))")
        params.append(dumps([no for no, path in rows if matches_any(asked, path) and matches_any(view.visible, path)]))
    for tag in view.tags:
        conditions.append("exists (select 1 from tags t where t.user_no = ? and t.tag = ? and t.rid = m.rid)")
        params += [user_no, tag]
    return conditions, params
