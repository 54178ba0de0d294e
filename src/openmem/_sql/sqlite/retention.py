"""Steps that remove old audit entries and old versions, some at a time.

Why so: what is too old is looked for on a snapshot, which holds up no writer, and removed in short transactions that
look again. The oldest versions go first, since a step back needs the newer ones: whenever it stops, what is left is
right. Numbers of entries that went are never given again (`users.expired`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem._sql.sqlite.purge import OVERWRITE, OVERWRITE_CHEAPLY
from openmem._sql.sqlite.rows import dumps
from openmem._sql.steps import Many, Query, Row, Steps

AT_ONCE: Final = 500
"""Rows that a transaction removes."""
LOOKED_AT: Final = 5_000
"""Rows that are looked at on a snapshot."""

_NO_BOUND: Final = 2**62
_CHOSEN: Final = "in (select value from json_each(?))"


def old_entries(after: int, before: int) -> Steps[tuple[list[int], int | None]]:
    """Read which entries behind a place are older than a time, and the next place, if there is more."""
    rows = yield Query(
        "select entry, at < ? from journal where entry > ? order by entry limit ?", (before, after, LOOKED_AT)
    )
    return _old(rows)


def old_adds(after: int, before: int) -> Steps[tuple[list[int], int | None]]:
    """Read which memories behind a `rid` hold an entry that is older than a time, and the next place."""
    rows = yield Query(
        """
        select rid, entry is not null and created_at < ? from memories where rid > ? order by rid limit ?
        """,
        (before, after, LOOKED_AT),
    )
    return _old(rows)


def drop_entries(entries: Sequence[int], before: int) -> Steps[int]:
    """Remove those of some entries that are older than a time; return how many."""
    yield OVERWRITE
    rows = yield Query(
        f"delete from journal where entry {_CHOSEN} and at < ? returning entry", (dumps(list(entries)), before)
    )
    return (yield from _gone(rows))


def clear_adds(rids: Sequence[int], before: int) -> Steps[int]:
    """Take entries that are older than a time out of the rows of memories; return how many."""
    yield OVERWRITE
    # What `returning` shows is the new row, in which the number is gone.
    rows = yield Query(
        f"select entry, rid from memories where rid {_CHOSEN} and entry is not null and created_at < ?",
        (dumps(list(rids)), before),
    )
    yield Query(
        f"update memories set entry = null, app = null, request_id = null where rid {_CHOSEN}",
        (dumps([row[1] for row in rows]),),
    )
    return (yield from _gone(rows))


def with_versions(after: int, versions: int) -> Steps[tuple[list[int], int | None]]:
    """Read which memories behind a `rid` have more earlier versions than that, and the next place."""
    rows = yield Query(
        """
        select rid, count(*) from (select rid from versions where rid > ? order by rid limit ?)
        group by rid order by rid
        """,
        (after, LOOKED_AT),
    )
    if sum(count for _, count in rows) < LOOKED_AT:
        return [rid for rid, count in rows if count > versions], None
    whole = rows[:-1] or rows  # not all rows of the last one were counted
    return [rid for rid, count in whole if count > versions or len(rows) == 1], whole[-1][0]


def trim(rids: Sequence[int], versions: int) -> Steps[tuple[int, int]]:
    """Remove the oldest versions of memories, up to `AT_ONCE` of them.

    Returns:
        How many were removed, and how many of the memories are done.
    """
    removed = 0
    yield OVERWRITE
    for done, rid in enumerate(rids):
        gone = yield from _oldest(rid, versions, AT_ONCE - removed)
        if gone:
            yield from _drop_versions(rid, gone)
        removed += len(gone)
        if removed >= AT_ONCE:
            yield OVERWRITE_CHEAPLY
            return removed, done  # this one is looked at again
    yield OVERWRITE_CHEAPLY
    return removed, len(rids)


def count_entries(before: int) -> Steps[int]:
    """Count the entries that are older than a time."""
    rows = yield Query(
        """
        select (select count(*) from journal where at < ?)
          + (select count(*) from memories where entry is not null and created_at < ?)
        """,
        (before, before),
    )
    return int(rows[0][0])


def count_versions(versions: int) -> Steps[int]:
    """Count the versions that are more than a number for each memory."""
    rows = yield Query(
        "select coalesce(sum(found - ?), 0) from (select count(*) as found from versions group by rid) where found > ?",
        (versions, versions),
    )
    return int(rows[0][0])


def size() -> Steps[int]:
    """Return how many bytes the file has once the write-ahead log is in it."""
    rows = yield Query("select page_count * page_size from pragma_page_count, pragma_page_size")
    return int(rows[0][0])


def _old(rows: Sequence[Row]) -> tuple[list[int], int | None]:
    return [place for place, old in rows if old], rows[-1][0] if len(rows) == LOOKED_AT else None


def _gone(rows: Sequence[Row]) -> Steps[int]:
    last: dict[int, int] = {}
    for row in rows:
        last[row[0] >> 32] = max(row[0], last.get(row[0] >> 32, 0))
    if last:
        yield Query("update feed_state set removals = removals + 1")
        yield Many(
            """
            update users set expired = max(expired, ?), expired_in = (select removals from feed_state)
            where user_no = ?
            """,
            [(entry, user_no) for user_no, entry in last.items()],
        )
    yield OVERWRITE_CHEAPLY
    return len(rows)


def _oldest(rid: int, versions: int, most: int) -> Steps[list[Row]]:
    bound = _NO_BOUND
    if versions:
        kept = yield Query(
            "select version from versions where rid = ? order by version desc limit 1 offset ?", (rid, versions - 1)
        )
        if not kept:
            return []
        bound = kept[0][0]
    return (
        yield Query(
            "select version, replaced_at, began from versions where rid = ? and version < ? order by version limit ?",
            (rid, bound, most),
        )
    )


def _drop_versions(rid: int, gone: Sequence[Row]) -> Steps[None]:
    began = max([replaced_at for _, replaced_at, _ in gone] + [row[2] for row in gone if row[2] is not None])
    yield Query("delete from versions where rid = ? and version <= ?", (rid, gone[-1][0]))
    yield Query(
        "update versions set began = ? where rid = ? and version = (select min(version) from versions where rid = ?)",
        (began, rid, rid),
    )
