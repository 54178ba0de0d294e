"""Steps that read memories on Postgres: one by id, pages, and the history of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from openmem._model.access import Patterns
from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import Key, Named, routing_bucket, unknown_id
from openmem._model.requests import ListQuery
from openmem._rules.paging import PAGE_BYTES
from openmem._sql.postgres import audit
from openmem._sql.postgres.large import cut, lean, whole
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import RECORD_NAMES, aware, by_id, columns, record_of_row
from openmem._sql.postgres.scope_filter import allowed
from openmem._sql.postgres.view import Parameters, visible
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Stamp
from openmem.errors import InvalidRequestError
from openmem.types import ListOrder, MemoryPage, MemoryRecord

_DATES: Final = {"updated": "updated_at", "valid_from": "valid_from"}

_FOUND_ID: Final = "(select id from found)"


def get(db: Names, named: Named, user_id: str, stamp: Stamp, seen: Patterns | None = None) -> Steps[MemoryRecord]:
    """Read one memory, hidden or not, and enter that in the audit log, in one statement."""
    column, value = ("key", named.name) if isinstance(named, Key) else ("id", named)
    given = Parameters(routing_bucket(user_id), user_id)
    start = len(given.values) + 1
    given.values += audit.entry_given(db, stamp, "get", None, None)
    text = f"""
          select {columns("m")} from {db.memories} m
          where m.bucket = $1 and m.user_id = $2 and m.{column} = {given.add(value)}{given.allow(seen)}
    """
    if not db.distributed:
        text = f"""
        with found as materialized ({text}),
        {audit.read_entry(db, start, "exists(select 1 from found)", "(select scope from found)", _FOUND_ID)}
        select * from found
        """
    rows = yield Query(text, given.values)
    if not rows:
        raise unknown_id(named, "postgres")
    record = record_of_row(rows[0])
    yield from audit.enter(db, user_id, "get", record.id, record.scope, stamp)
    return record


def page(db: Names, query: ListQuery, stamp: Stamp) -> Steps[MemoryPage]:
    """Read a page of what the view allows, in the order that is asked for; the cursor is the place of the last row."""
    view = query.view
    given = Parameters(routing_bucket(view.user_id), view.user_id)
    scope = None if view.scope is None else str(view.scope)
    given.values += audit.entry_given(db, stamp, "list", None, scope)
    conditions = ["m.bucket = $1", "m.user_id = $2", *visible(view, stamp.now, given)]
    for operator, moment in ((">=", query.since), ("<", query.until)):
        if moment is not None:
            conditions.append(f"m.created_at {operator} {given.add(moment)}")
    behind, direction = ("<", "desc") if query.descending else (">", "asc")
    place = ""
    if query.cursor is not None:
        date, id_ = decode_cursor(query.cursor, "list", (str, str), query.binding)
        place = f"{behind} ({given.add(_time(date))}::timestamptz, {given.add(id_)}::text)"
    limit, most = given.add(query.limit + 1), given.add(PAGE_BYTES // 2 // (query.limit + 1))  # of each of two texts
    source = _source(db, query.order, " and ".join(conditions), place, direction, limit)
    date_column = "m.created_at" if query.order == "created" else "m.date"
    rows = yield Query(
        f"""
        {audit.entry_first(db, 3)}
        select {lean("m", most=most)} from {source} order by {date_column} {direction}, m.id {direction} limit {limit}
        """,
        given.values,
    )
    yield from audit.enter(db, view.user_id, "list", None, scope, stamp)
    shown = rows[: cut(rows, RECORD_NAMES, query.limit)]
    records = [record_of_row(row) for row in (yield from whole(db, view, stamp, shown)) if row is not None]
    cursor = None
    if len(shown) < len(rows):
        cursor = encode_cursor("list", _place(shown[-1], query.order), query.binding)
    return MemoryPage.model_construct(items=records, next_cursor=cursor)


def _source(db: Names, order: ListOrder, condition: str, place: str, direction: str, limit: str) -> str:
    """Return where a list reads: by another date than that of storing, which only some have, in two halves.

    Each half comes in order by an index of its own, and is no longer than the page.
    """
    if order == "created":
        beyond = f" and (m.created_at, m.id) {place}" if place else ""
        return f"{db.memories} m where {condition}{beyond}"
    own = _DATES[order]
    halves = []
    for column, there in ((own, "is not null"), ("created_at", "is null")):
        beyond = f" and (m.{column}, m.id) {place}" if place else ""
        halves.append(f"""
            (select m.*, m.{column} as date from {db.memories} m where {condition} and m.{own} {there}{beyond}
             order by m.{column} {direction}, m.id {direction} limit {limit})
        """)
    return f"({' union all '.join(halves)}) as m"


def _place(row: Row, order: ListOrder) -> tuple[str, str]:
    """Return the place of the last row of a page, as `date_of` has it."""
    own = row[RECORD_NAMES.index(_DATES[order])] if order in _DATES else None
    created = row[RECORD_NAMES.index("created_at")]
    return aware(created if own is None else own).isoformat(), row[RECORD_NAMES.index("id")]


def check_all(db: Names, ids: Sequence[str], user_id: str, seen: Patterns | None = None) -> Steps[None]:
    """Raise `NotFoundError` unless the user has a memory of each id that the caller may see."""
    condition, params = allowed(seen, 4)
    rows = yield Query(
        f"select id from {db.memories} m where m.bucket = $1 and {by_id()} and id = any($3::text[]){condition}",
        (routing_bucket(user_id), user_id, list(ids), *params),
    )
    known = {row[0] for row in rows}
    for id_ in ids:
        if id_ not in known:
            raise unknown_id(id_, "postgres")


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = datetime.min
    if time.tzinfo is None:
        raise InvalidRequestError("malformed cursor")
    return time
