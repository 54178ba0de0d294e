"""Steps that read the feed of changes on Postgres: the writes in the audit log, ordered so that none is skipped.

Each entry notes the transaction that made it (`xact`, filled in by the database). Transactions get their numbers in
order and end in any order, so what was read yesterday says nothing of a lower number that ends today. Therefore:

1. Only entries of transactions below the horizon are shown, the oldest of this database that still runs when the
   statement begins. All of these have ended, and no later one gets such a number.
2. They are ordered by transaction and, within it, by the id of the entry.
3. Of two writes to one memory, the later one has the higher number: a transaction gets its number with its first lock,
   after it has waited for it. Only one that writes several memories may have waited for another later: it begins
   again if it finds that the memory was written by a higher number (`overtaken`).

4. An erasure of many erases what it sees, and what it does not see comes after it: it waits for the writes that have
   lower numbers, which it might overlook otherwise (`after_older_writes`).

A transaction that runs for long holds the feed up; it never makes it skip.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.feed import ERASURE, ERASURE_OF_MOVED, FeedQuery, expired_cursor, foreign_cursor
from openmem._model.ids import routing_bucket
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import aware
from openmem._sql.steps import Query, Row, Steps
from openmem.errors import ProviderUnavailableError
from openmem.types import Change, ChangePage

WRITES: Final = "action in ('add', 'update', 'delete')"

_KIND: Final = "changes"
_NEXT: Final = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
# Those of other databases are known to write nothing here. One that cannot be told any more counts.
_HORIZON: Final = f"""
    coalesce((
      select min(running.xact) from (
        select x::text::bigint as xact from pg_snapshot_xip(pg_current_snapshot()) as x
      ) as running where not exists(
        select 1 from pg_catalog.pg_stat_activity other
        where other.backend_xid::text::bigint = (running.xact & 4294967295) and other.datname <> current_database()
      )
    ), {_NEXT})
"""
_OWN: Final = "pg_current_xact_id()::text::bigint"
COLLISION: Final = "40001"
_LOOKS: Final = 2
"""Times that a page looks again where it finds nothing and a transaction seems to run."""
_ROUNDS: Final = 20
"""Statements for a page, of whose rows the caller may see few."""


def page(db: Names, query: FeedQuery) -> Steps[ChangePage]:
    """Read the changes behind a cursor, of one user or of all."""
    given = None if query.cursor is None else decode_cursor(query.cursor, _KIND, (int, str, int), query.binding)
    items: list[Change] = []
    place, shown, has_more, looks = given, None, True, _LOOKS
    for _ in range(_ROUNDS):
        wanted = query.limit - len(items)
        xact, id_, bucket = place or (None, "", 0)
        whose = (bucket,) if query.user_id is None else (routing_bucket(query.user_id), query.user_id)
        rows = yield Query(_text(db, of_all=query.user_id is None), (xact, id_, wanted + 1, *whose))
        horizon, upcoming, lost = rows[0][:3]
        if place is not None and place[0] > upcoming:
            raise foreign_cursor()
        if place is not None and place[0] <= lost:
            raise expired_cursor()
        found = [row[3:] for row in rows if row[3] is not None]
        if not found and horizon < upcoming and looks:
            looks -= 1  # what held the feed up may have ended while it was looked at: the next snapshot knows
            continue
        has_more = len(found) > wanted
        found = found[:wanted]
        if has_more:
            place = found[-1][0], found[-1][1], found[-1][2]
        else:  # a transaction of another database that ends just now may count for a moment: never back for that
            end = (max(horizon, lost + 1), "", 0)
            place = end if place is None else max(end, place)
        seen = [row for row in found if query.visible is None or query.shows(*row[7:9])]
        items += [_change_of(query, row) for row in seen]
        shown = (seen[-1][0], seen[-1][1], seen[-1][2]) if seen else shown
        if not has_more or len(items) == query.limit:
            break
    if query.visible is not None and not has_more:
        # What is hidden moves the cursor no more than it shows: who may see little learns nothing of the rest.
        place = shown or given or (lost + 1, "", 0)
    cursor = encode_cursor(_KIND, place or (0, "", 0), query.binding)
    return ChangePage.model_construct(items=items, next_cursor=cursor, has_more=has_more)


@lru_cache(maxsize=64)
def _text(db: Names, *, of_all: bool) -> str:
    if of_all:
        whose, which, note = "", "", "/* unrouted: the feed of all users */"
        order, given = "a.xact, a.id, a.bucket", "coalesce($1::bigint, known.lost + 1), $2::text, $4::smallint"
    else:
        whose, which, note = "a.bucket = $4 and a.user_id = $5 and", " where bucket = $4", ""
        order, given = "a.xact, a.id", "coalesce($1::bigint, known.lost + 1), $2::text"
    lost = f"select max(lost) from {db.feed}{which}"
    return f"""
        with known as materialized (
          select {_HORIZON} as horizon, {_NEXT} as upcoming, coalesce(({lost}), 0) as lost
        )
        select known.horizon, known.upcoming, known.lost, found.* from known left join lateral (
          select a.xact, a.id, a.bucket, a.user_id, a.at, a.app, a.action, a.memory_id, a.scope, a.version
          from {db.audit} a
          where {whose} a.{WRITES} and a.xact < known.horizon
            and ({order}) > ({given})
            and (a.memory_id is not null or a.version <= {ERASURE})
          order by {order} limit $3
        ) as found on true order by found.xact, found.id, found.bucket {note}
    """


def overtaken(db: Names, user_id: str, id_: str) -> Steps[None]:
    """Refuse to write a memory that a transaction of a higher number has written. For one that holds its lock.

    Raises:
        ProviderUnavailableError: It was. The transaction is to be run again.
    """
    rows = yield Query(
        f"""
        select ((m.xmin::text::bigint - {_OWN}) & 4294967295)
          between 1 and (({_NEXT} - {_OWN}) & 4294967295)
        from {db.memories} m where m.bucket = $1 and m.id = $2
        """,
        (routing_bucket(user_id), id_),
    )
    if rows and rows[0][0]:
        raise ProviderUnavailableError(
            "another transaction has written the same memory meanwhile",
            provider="postgres",
            details={"sqlstate": COLLISION},
        )


def after_older_writes(db: Names) -> Steps[None]:
    """Wait for all writes whose transactions have lower numbers. For a transaction that has locked no row yet."""
    yield Query(f"select {_OWN}")
    rows = yield Query(
        """
        select l.virtualtransaction from pg_catalog.pg_locks l
        join pg_catalog.pg_database d on d.oid = l.database and d.datname = current_database()
        where l.relation = $1::text::regclass and l.mode = 'RowExclusiveLock' and l.granted
          and l.pid <> pg_backend_pid()
        """,
        (db.memories,),
    )
    running = [row[0] for row in rows]
    while running:
        rows = yield Query(
            """
            select l.virtualtransaction from pg_catalog.pg_locks l, pg_sleep(0.002)
            where l.locktype = 'virtualxid' and l.granted and l.virtualtransaction = any($1::text[])
            """,
            (running,),
        )
        running = [row[0] for row in rows]


def _change_of(query: FeedQuery, row: Row) -> Change:
    xact, id_, bucket, user_id, at, app, action, memory_id, scope, version = row
    return Change.model_construct(
        action=action if memory_id is not None else "delete_all",
        user_id=user_id,
        memory_id=memory_id,
        scope=scope,
        version=version if memory_id is not None else None,
        moved=True if memory_id is None and version == ERASURE_OF_MOVED else None,
        timestamp=aware(at),
        app=app,
        cursor=encode_cursor(_KIND, (xact, id_, bucket), query.binding),
    )
