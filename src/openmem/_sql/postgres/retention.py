"""Steps that remove old audit entries and old versions on Postgres, some at a time and bucket by bucket.

No transaction waits for a row that another one holds: a caller is never held up for long, and never in a circle.
The oldest versions go first, since a step back needs the newer ones: whenever it stops, what is left is right. The
clock is that of the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from openmem._sql.postgres.feed import WRITES
from openmem._sql.postgres.names import Names
from openmem._sql.steps import Many, Query, Steps

AT_ONCE: Final = 500
"""Rows that a transaction removes."""

_OLD: Final = "bucket = $1 and at < now() - make_interval(secs => $2::double precision)"


class _Trimmed(NamedTuple):
    id: str
    last: int  # the newest version that goes
    following: int | None  # the oldest that stays
    began: datetime


def due(db: Names, bucket: int, seconds: float | None, versions: int | None) -> Steps[tuple[bool, bool]]:
    """Return whether a bucket has entries that are older than that, and memories with more versions; one round trip."""
    rows = yield Query(
        f"""
        select exists(select 1 from {db.audit} where {_OLD}),
          exists(select 1 from {db.versions} where bucket = $1 group by id having count(*) > $3::bigint)
        """,
        (bucket, seconds, versions),
    )
    return bool(rows[0][0]), bool(rows[0][1])


def drop_entries(db: Names, bucket: int, seconds: float) -> Steps[int]:
    """Remove up to `AT_ONCE` entries that are older than that; return how many. For a transaction."""
    rows = yield Query(
        f"select id, case when {WRITES} then xact end from {db.audit} where {_OLD} limit {AT_ONCE} "
        "for update skip locked",
        (bucket, seconds),
    )
    lost = max((row[1] for row in rows if row[1] is not None), default=None)
    if lost is not None:
        yield Query(
            f"insert into {db.feed}(bucket, lost) values($1, $2) "
            "on conflict (bucket) do update set lost = greatest(feed.lost, excluded.lost)",
            (bucket, lost),
        )
    if rows:
        yield Query(
            f"delete from {db.audit} where bucket = $1 and id = any($2::text[])", (bucket, [row[0] for row in rows])
        )
    return len(rows)


def trim(db: Names, bucket: int, versions: int) -> Steps[tuple[int, bool]]:
    """Remove up to `AT_ONCE` versions, the oldest of memories that have more than `versions`. For a transaction.

    Returns:
        How many were removed, and whether more may be left: beyond these, or because other transactions held some.
    """
    rows = yield Query(
        f"""
        select id, version, replaced_at, began, following from (
          select id, version, replaced_at, began,
            row_number() over (partition by id order by version desc) as age,
            lead(version) over (partition by id order by version) as following
          from {db.versions} where bucket = $1
        ) as aged where age > $2::bigint order by id, version limit {AT_ONCE}
        """,
        (bucket, versions),
    )
    if not rows:
        return 0, False
    ids = sorted({row[0] for row in rows})
    locked = yield Query(
        f"""
        select id, version from {db.versions} where bucket = $1 and id = any($2::text[]) for update skip locked
        """,
        (bucket, ids),
    )
    held = {(row[0], row[1]) for row in locked}
    busy = {row[0] for row in rows if (row[0], row[1]) not in held or (row[4] and (row[0], row[4]) not in held)}
    free = [row for row in rows if row[0] not in busy]
    yield from _drop(db, bucket, _trimmed(free))
    return len(free), len(rows) == AT_ONCE or bool(busy)


def _trimmed(rows: Sequence[Any]) -> list[_Trimmed]:
    found: dict[str, _Trimmed] = {}
    for id_, version, replaced_at, began, following in rows:
        times = [replaced_at, *([began] if began is not None else []), *([found[id_].began] if id_ in found else [])]
        found[id_] = _Trimmed(id_, version, following, max(times))
    return [*found.values()]


def _drop(db: Names, bucket: int, trimmed: Sequence[_Trimmed]) -> Steps[None]:
    yield Many(
        f"delete from {db.versions} where bucket = $1 and id = $2 and version <= $3",
        [(bucket, one.id, one.last) for one in trimmed],
    )
    yield Many(
        f"update {db.versions} set began = $4 where bucket = $1 and id = $2 and version = $3",
        [(bucket, one.id, one.following, one.began) for one in trimmed if one.following is not None],
    )


def count_entries(db: Names, bucket: int, seconds: float) -> Steps[int]:
    """Count the entries that are older than that."""
    rows = yield Query(f"select count(*) from {db.audit} where {_OLD}", (bucket, seconds))
    return int(rows[0][0])


def count_versions(db: Names, bucket: int, versions: int) -> Steps[int]:
    """Count the versions that are more than a number for each memory."""
    rows = yield Query(
        f"""
        select coalesce(sum(found - $2::bigint), 0) from (
          select count(*) as found from {db.versions} where bucket = $1 group by id
        ) as counted where found > $2::bigint
        """,
        (bucket, versions),
    )
    return int(rows[0][0])
