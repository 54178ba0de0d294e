"""Rows of the embedded store to records, and the statements that read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any, Final, NamedTuple

from openmem._model.timestamps import EPOCH, time_of
from openmem._model.unchecked import record_of_values
from openmem._rules.paging import PAGE_BYTES, fitting
from openmem._sql.steps import Overfull, Query, Row, Steps, Weight
from openmem.types import MemoryRecord

SELECT: Final = """
    select m.rid, m.user_no, m.id, m.content, u.user_id, m.created_at, s.path, m.tags, m.source, m.confidence,
           m.valid_from, m.valid_to, m.supersedes, mo.name, m.updated_at, m.version, m.key, m.extensions,
           m.behind, m.metadata, m.searchable
    from memories m
    join users u on u.user_no = m.user_no
    left join scopes s on s.scope_no = m.scope_no
    left join models mo on mo.model_no = m.model_no
"""


_AT_ONCE: Final = 10  # records of a search, which may have a million characters each
_PAGE: Final = Weight(
    PAGE_BYTES, itemgetter(3, 7, 8, 12, 17, 19)
)  # content, tags, source, supersedes, extensions, metadata
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Stored(NamedTuple):
    """A record and where it lies."""

    rid: int
    user_no: int
    record: MemoryRecord
    behind: int


def stored_of(row: Row) -> Stored:
    """Return the record that a row of `SELECT` holds."""
    # Without slices, and calls for what is missing: a page has hundreds of such values.
    # fmt: off
    (
        rid, user_no, id_, content, user_id, created_at, scope, tags, source, confidence, valid_from, valid_to,
        supersedes, model, updated_at, version, key, extensions, behind, metadata, searchable,
    ) = row
    # fmt: on
    record = record_of_values(
        id_,
        content,
        user_id,
        EPOCH + timedelta(microseconds=created_at),
        scope,
        None if tags is None else json.loads(tags),
        None if source is None else json.loads(source),
        confidence,
        None if valid_from is None else time_of(valid_from),
        None if valid_to is None else time_of(valid_to),
        None if supersedes is None else json.loads(supersedes),
        model,
        None if updated_at is None else time_of(updated_at),
        version,
        key,
        None if extensions is None else json.loads(extensions),
        None if metadata is None else json.loads(metadata),
        searchable != 0,
    )
    return Stored(rid, user_no, record, behind)


def dumps(value: Any) -> str | None:
    """Return a JSON text, or `None` for nothing."""
    return None if value is None else _encode(value)


def select_where(condition: str, params: Sequence[Any]) -> Steps[list[Stored]]:
    """Read the records that fulfil a condition on `m`."""
    rows = yield Query(f"{SELECT} where {condition}", params)
    return [stored_of(row) for row in rows]


def select_some(condition: str, params: Sequence[Any], limit: int) -> Steps[list[Row]]:
    """Read rows that fulfil a condition on `m`: up to one more than `limit`, or as many as are too large for a page."""
    return (yield Query(f"{SELECT} where {condition} limit ?", [*params, limit + 1], _PAGE))


def page_of(rows: Sequence[Row], limit: int) -> tuple[list[Stored], bool]:
    """Return those of the rows that go on a page, and whether some do not."""
    count = min(limit, len(rows))
    if isinstance(rows, Overfull):
        count = fitting([_PAGE.of([row]) for row in rows], limit)
    return [stored_of(row) for row in rows[:count]], count < len(rows)


def select_rids(rids: Sequence[int]) -> Steps[dict[int, MemoryRecord]]:
    """Read records by where they lie, up to those that are too large for a page."""
    found: dict[int, MemoryRecord] = {}
    left = PAGE_BYTES
    for start in range(0, len(rids), _AT_ONCE):
        wanted = [int(rid) for rid in rids[start : start + _AT_ONCE]]
        rows = yield Query(f"{SELECT} where m.rid in (select value from json_each(?))", (dumps(wanted),))
        read = {row[0]: row for row in rows}
        total = _PAGE.of(rows)
        if total <= left:  # nearly always, and counted at once
            left -= total
            found.update([(rid, stored_of(read[rid]).record) for rid in wanted])
            continue
        for rid in wanted:
            left -= _PAGE.of([read[rid]])
            if left < 0 and found:
                return found
            found[rid] = stored_of(read[rid]).record
    return found


def select_contents(rids: Iterable[int]) -> Steps[dict[int, Row]]:
    """Read what a context shows of memories, by where they lie: id, content, start and time of storing."""
    rows = yield Query(
        "select rid, id, content, valid_from, created_at from memories where rid in (select value from json_each(?))",
        (dumps([int(rid) for rid in rids]),),
    )
    return {row[0]: row[1:] for row in rows}
