"""Steps that read everything out, page by page, and take records of other stores in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.ids import routing_bucket
from openmem._model.timestamps import micros
from openmem._sql.sqlite.rows import dumps, page_of, select_some, select_where
from openmem._sql.sqlite.write import insert, put
from openmem._sql.sqlite.writer import Blob, Writer, close_user, open_user
from openmem._sql.steps import Overfull, Query, Row, Steps
from openmem._sql.writing import Incoming, Model, Stamp, settle_conflict, split_import, with_free_id
from openmem.types import ImportConflict, ImportReport, MemoryRecord

_EARLIEST: Final = -(1 << 63)


def export_page(user_id: str | None, cursor: str | None, limit: int) -> Steps[tuple[list[MemoryRecord], str | None]]:
    """Read the next records, hidden ones too: user by user, the oldest first.

    The cursor holds only what the page has shown: the user, the time and the id of its last record.
    """
    position = (user_id or "", _EARLIEST, "")
    if cursor is not None:
        position = decode_cursor(cursor, "export", (str, int, str), [user_id])
    owner, *place = position
    rows: list[Row] = []
    if cursor is not None or user_id is not None:
        rows = yield from select_some(
            "m.user_no = (select user_no from users where user_id = ?) and (m.created_at, m.id) > (?, ?) "
            "order by m.created_at, m.id",
            (owner, *place),
            limit,
        )
    found, more = page_of(rows, limit)
    if user_id is None and not more:
        others = yield from select_some(
            "u.user_id > ? order by u.user_id, m.created_at, m.id", (owner,), limit - len(rows)
        )
        found, more = page_of(Overfull([*rows, *others]), limit)  # together they may weigh too much for a page
    records = [stored.record for stored in found]
    following = None
    if more:
        last = records[-1]
        following = encode_cursor("export", [last.user_id, micros(last.created_at), last.id], [user_id])
    return records, following


def known(users: Mapping[str, Sequence[str]]) -> Steps[set[tuple[str, str]]]:
    """Return which (user, id) are stored already."""
    found: set[tuple[str, str]] = set()
    for user_id, ids in users.items():
        rows = yield Query(
            """
            select id from memories
            where user_no = (select user_no from users where user_id = ?)
              and id in (select value from json_each(?))
            """,
            (user_id, dumps(list(ids))),
        )
        found |= {(user_id, row[0]) for row in rows}
    return found


def take_in(
    items: Sequence[Incoming[Blob]],
    spare_ids: Sequence[str],
    conflict: ImportConflict,
    model: Model | None,
    stamp: Stamp,
) -> Steps[ImportReport]:
    """Store records under their own ids: all of them, or none.

    A record conflicts when its user has a memory of the same id or key. `spare_ids` are used for duplicates. A record
    whose id another user of the same bucket has gets another one, as on Postgres, where an id is unique in its bucket.
    """
    report = ImportReport()
    for user_id in dict.fromkeys(item.draft.user_id for item in items):
        writer = yield from open_user(user_id, stamp, model)
        mine = [(item, spare) for item, spare in zip(items, spare_ids, strict=True) if item.draft.user_id == user_id]
        fresh, conflicting = yield from _split(writer, mine)
        yield from insert(writer, fresh, model)
        report.imported += len(fresh)
        store, overwrite = partial(_insert, writer, model), partial(_overwrite, writer, model=model)
        for item, spare in conflicting:
            yield from settle_conflict(item, spare, conflict, report, store, overwrite)
        yield from close_user(writer)
    return report


def _split(
    writer: Writer, items: Sequence[tuple[Incoming[Blob], str]]
) -> Steps[tuple[list[Incoming[Blob]], list[tuple[Incoming[Blob], str]]]]:
    items = yield from _with_free_ids(writer, items)
    ids = dumps([item.id for item, _ in items])
    keys = dumps([item.draft.key for item, _ in items if item.draft.key is not None])
    rows = yield Query(
        """
        select id, key from memories where user_no = ? and
          (id in (select value from json_each(?)) or key in (select value from json_each(?)))
        """,
        (writer.user_no, ids, keys),
    )
    return split_import(items, {row[0] for row in rows}, {row[1] for row in rows if row[1] is not None})


def _with_free_ids(
    writer: Writer, items: Sequence[tuple[Incoming[Blob], str]]
) -> Steps[Sequence[tuple[Incoming[Blob], str]]]:
    user_id = items[0][0].draft.user_id
    rows = yield Query(
        """
        select m.id, u.user_id from memories m join users u on u.user_no = m.user_no
        where m.id in (select value from json_each(?)) and m.user_no <> ?
        """,
        (dumps([item.id for item, _ in items]), writer.user_no),
    )
    taken = {row[0] for row in rows if routing_bucket(row[1]) == routing_bucket(user_id)}
    if not taken:
        return items
    return [(with_free_id(item) if item.id in taken else item, spare) for item, spare in items]


def _insert(writer: Writer, model: Model | None, item: Incoming[Blob]) -> Steps[list[MemoryRecord]]:
    return insert(writer, [item], model)


def _overwrite(writer: Writer, item: Incoming[Blob], model: Model | None) -> Steps[bool]:
    found = yield from select_where(
        "m.user_no = ? and (m.id = ? or m.key = ?) order by m.id = ? desc limit 1",
        (writer.user_no, item.id, item.draft.key, item.id),
    )
    if not found:  # the memory with this key was overwritten by a record of this import that has another
        return False
    # The memory may carry a key that a third one holds: that one gives it up.
    yield Query(
        "update memories set key = null where user_no = ? and key = ? and rid <> ?",
        (writer.user_no, item.draft.key, found[0].rid),
    )
    yield from put(writer, found[0], item, model)
    return True
