"""Steps that read everything out of Postgres, page by page, and take records of other stores in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import BUCKETS, routing_bucket
from openmem._sql.postgres.feed import overtaken
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.pages import page_of, page_text
from openmem._sql.postgres.rows import Row32, by_id, record_of_row, select_where
from openmem._sql.postgres.write import insert, put
from openmem._sql.steps import Query, Row, Steps
from openmem._sql.writing import Incoming, Model, Stamp, settle_conflict, split_import, with_free_id
from openmem.errors import InvalidRequestError
from openmem.types import ImportConflict, ImportReport, MemoryRecord


def export_page(
    db: Names, user_id: str | None, cursor: str | None, limit: int
) -> Steps[tuple[list[MemoryRecord], str | None]]:
    """Read the next records by bucket and id, hidden ones too."""
    bucket, id_ = decode_cursor(cursor, "export", (int, str), [user_id]) if cursor is not None else (-1, "")
    if not -1 <= bucket < BUCKETS:
        raise InvalidRequestError("malformed cursor")
    condition, params = "(m.bucket, m.id) > ($1, $2)", [bucket, id_, limit + 1]
    if user_id is not None:
        # So that a page is read in the order of the index of ids, not picked from all memories of the user, sorted.
        condition, params = f"m.bucket = $1 and {by_id('m.user_id')} and m.id > $4", [routing_bucket(user_id), user_id]
        params += [limit + 1, id_]
    rows = yield Query(page_text(f"{db.memories} m where {condition}", "m.bucket, m.id", "$3"), params)
    found, more = page_of(rows, limit)
    following = None
    if more:
        following = encode_cursor("export", [int(found[-1][0]), found[-1][1]], [user_id])
    return [record_of_row(row) for row in found], following


def known(db: Names, user_id: str, ids: Sequence[str]) -> Steps[set[str]]:
    """Return which ids a user has stored already."""
    rows = yield Query(
        f"select id from {db.memories} where bucket = $1 and {by_id()} and id = any($3::text[])",
        (routing_bucket(user_id), user_id, list(ids)),
    )
    return {row[0] for row in rows}


def take_in(
    db: Names,
    items: Sequence[Incoming[Row32]],
    spare_ids: Sequence[str],
    conflict: ImportConflict,
    model: Model | None,
    stamp: Stamp,
) -> Steps[ImportReport]:
    """Store records of one user under their own ids: all of them, or none.

    A record conflicts when the user has a memory of the same id or key. A record whose id another user of the same
    bucket has gets another one, the same each time; `spare_ids` are used for duplicates.
    """
    report = ImportReport()
    user_id = items[0].draft.user_id
    fresh, conflicting = yield from _split(db, user_id, list(zip(items, spare_ids, strict=True)))
    yield from insert(db, fresh, model, stamp)
    report.imported += len(fresh)
    for number, (item, spare) in enumerate(conflicting):
        entry = replace(stamp, entry_id=f"{stamp.entry_id}c{number:05d}")
        store, overwrite = partial(_insert, db, model, entry), partial(_overwrite, db, model, entry)
        yield from settle_conflict(item, spare, conflict, report, store, overwrite)
    return report


def _split(
    db: Names, user_id: str, items: Sequence[tuple[Incoming[Row32], str]]
) -> Steps[tuple[list[Incoming[Row32]], list[tuple[Incoming[Row32], str]]]]:
    rows = yield from _alike(db, user_id, items)
    taken = {row[1] for row in rows if row[0] != user_id}
    if taken:
        items = [(with_free_id(item) if item.id in taken else item, spare) for item, spare in items]
        rows = yield from _alike(db, user_id, items)
    mine = [row for row in rows if row[0] == user_id]
    return split_import(items, {row[1] for row in mine}, {row[2] for row in mine if row[2] is not None})


def _alike(db: Names, user_id: str, items: Sequence[tuple[Incoming[Row32], str]]) -> Steps[Sequence[Row]]:
    """Read the memories of the bucket that have an id of the items, or a key of the user's."""
    keys = [item.draft.key for item, _ in items if item.draft.key is not None]
    return (
        yield Query(
            f"""
            select user_id, id, key from {db.memories}
            where bucket = $1 and (id = any($3::text[]) or (user_id = $2 and key = any($4::text[])))
            """,
            (routing_bucket(user_id), user_id, [item.id for item, _ in items], keys),
        )
    )


def _insert(db: Names, model: Model | None, stamp: Stamp, item: Incoming[Row32]) -> Steps[list[MemoryRecord]]:
    return insert(db, [item], model, stamp)


def _overwrite(db: Names, model: Model | None, stamp: Stamp, item: Incoming[Row32]) -> Steps[bool]:
    user_id = item.draft.user_id
    found = yield from select_where(
        db,
        user_id,
        "(m.id = $3 or m.key = $4::text) order by (m.id = $3) desc limit 1",
        (item.id, item.draft.key),
        "for update",
    )
    if not found:  # it was erased a moment ago
        return False
    yield Query(
        f"update {db.memories} set key = null where bucket = $1 and user_id = $2 and key = $3::text and id <> $4",
        (routing_bucket(user_id), user_id, item.draft.key, found[0].id),
    )
    yield from overtaken(db, user_id, found[0].id)
    yield from put(db, found[0], item, model, stamp, "update")
    return True
