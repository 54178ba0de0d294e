"""Steps that read memories: one by id, and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from openmem._model.access import Patterns, matches_any
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import Named
from openmem._model.requests import ListQuery, View
from openmem._model.timestamps import micros
from openmem._rules.paging import date_of
from openmem._sql.sqlite import where as metadata_filter
from openmem._sql.sqlite.rows import dumps, page_of, select_rids, select_some
from openmem._sql.sqlite.write import find
from openmem._sql.steps import Query, Steps
from openmem.types import MemoryPage, MemoryRecord

_DATES: Final = {"updated": "updated_at", "valid_from": "valid_from"}


def get(named: Named, user_id: str | None, seen: Patterns | None = None) -> Steps[MemoryRecord]:
    """Read one memory, hidden or not, of the scopes that the caller may see."""
    return (yield from find(named, user_id, seen)).record


def page(query: ListQuery, now: int) -> Steps[MemoryPage]:
    """Read a page of what the view allows, in the order that is asked for.

    The cursor is the place of the last row, so rows that come or go meanwhile make no other row skip or repeat.
    """
    view = query.view
    users = yield Query("select user_no, clock from users where user_id = ?", (view.user_id,))
    after = () if query.cursor is None else decode_cursor(query.cursor, "list", (int, str), query.binding)
    if not users:
        return MemoryPage(items=[], next_cursor=None)
    user_no, clock = users[0]
    conditions, params = ["m.user_no = ?"], [user_no]
    for condition, value in (("m.created_at >= ?", query.since), ("m.created_at < ?", query.until)):
        if value is not None:
            conditions.append(condition)
            params.append(micros(value))
    allowed, values = yield from conditions_of(view, user_no, max(now, clock))
    read = _by_creation if query.order == "created" else _by_date
    records, more = yield from read(query, " and ".join(conditions + allowed), [*params, *values], after)
    cursor = None
    if more:
        last = records[-1]
        cursor = encode_cursor("list", [micros(date_of(last, query.order)), last.id], query.binding)
    return MemoryPage.model_construct(items=records, next_cursor=cursor)


def _by_creation(
    query: ListQuery, condition: str, params: Sequence[Any], after: Sequence[Any]
) -> Steps[tuple[list[MemoryRecord], bool]]:
    behind, direction = _direction(query)
    beyond = f" and (m.created_at, m.id) {behind} (?, ?)" if after else ""
    rows = yield from select_some(
        f"{condition}{beyond} order by m.created_at {direction}, m.id {direction}", [*params, *after], query.limit
    )
    found, more = page_of(rows, query.limit)
    return [stored.record for stored in found], more


def _by_date(
    query: ListQuery, condition: str, params: Sequence[Any], after: Sequence[Any]
) -> Steps[tuple[list[MemoryRecord], bool]]:
    """Read a page by another date, which only some memories have: those by it and the others by creation, merged."""
    behind, direction = _direction(query)
    halves = []
    for column, there in ((_DATES[query.order], "is not null"), ("created_at", "is null")):
        beyond = f" and (m.{column}, m.id) {behind} (?, ?)" if after else ""
        halves.append(
            f"select m.rid, m.{column} as at, m.id as id from memories m "
            f"where {condition} and m.{_DATES[query.order]} {there}{beyond}"
        )
    rows = yield Query(
        f"{' union all '.join(halves)} order by at {direction}, id {direction} limit ?",
        [*params, *after, *params, *after, query.limit + 1],
    )
    found = yield from select_rids([row[0] for row in rows[: query.limit]])
    return [*found.values()], len(found) < len(rows)


def _direction(query: ListQuery) -> tuple[str, str]:
    return ("<", "desc") if query.descending else (">", "asc")


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
    if view.where is not None:
        text, values = metadata_filter.condition(view.where)
        conditions.append(text)
        params += values
    return conditions, params
