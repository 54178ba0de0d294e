"""Steps that judge a filter on metadata over all of a user's rows, by columns that the cache keeps."""

from __future__ import annotations

from typing import Final

import numpy as np

from openmem._model.where import Path, Where, comparisons_of
from openmem._retrieval.metadata_columns import MAX_SPELLING, Ints, Mask, MetadataColumn, judge
from openmem._retrieval.user_index import Columns, UserCache, UserEntry, parse_integers
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.schema import first_rid, last_rid
from openmem._sql.sqlite.snapshot import UserState
from openmem._sql.sqlite.where import condition, spelling
from openmem._sql.steps import Query, Steps

MAX_COLUMNS: Final = 16
"""Members of whose metadata a user's entry keeps columns."""
MAX_PATHS: Final = 4
"""Members in a filter: to make columns of more, for one filter, would take longer than to read the rows once."""


def where_mask(state: UserState, columns: Columns, cache: UserCache, where: Where) -> Steps[Mask]:
    """Return which of the user's rows fulfil a filter.

    Args:
        state: The user.
        columns: The rows.
        cache: Keeps columns of metadata.
        where: The filter.
    """
    count, paths = len(columns), dict.fromkeys(node.path for node in comparisons_of(where.root))
    if len(paths) > MAX_PATHS:
        return columns.mask_of((yield from _fulfilling(state, where, None)))
    entry = cache.entry(state.user_no)
    with entry.lock:
        found: dict[Path, MetadataColumn] = {}
        for path in paths:
            found[path] = yield from _column(state, columns, entry, path)
        mask = judge(where.root, count, found)
        long = np.unique(np.concatenate([column.long for column in found.values()])) if found else _NO_ROWS
    cache.trim(state.user_no)
    long = long[long < count]
    if len(long):
        mask[long] = False
        mask |= columns.mask_of((yield from _fulfilling(state, where, columns.column("rid")[long])))
    return mask


def _column(state: UserState, columns: Columns, entry: UserEntry, path: Path) -> Steps[MetadataColumn]:
    """Return a column of the rows as this transaction sees them, or of more rows behind them."""
    known = entry.metadata.get(path)
    if known is not None and known.epoch == state.epoch and known.newest >= state.newest:
        return known
    if known is None or known.epoch != state.epoch:
        newer = known is not None and known.epoch > state.epoch  # another reader sees a later state
        known = MetadataColumn(state.epoch, first_rid(state.user_no) - 1)
        if not newer:
            while len(entry.metadata) >= MAX_COLUMNS:
                entry.metadata.pop(next(iter(entry.metadata)))
            entry.metadata[path] = known
    text, params = spelling(path, MAX_SPELLING + 1)
    rows = yield Query(
        f"select m.rid, {text} from memories m where m.rid > ? and m.rid <= ? and m.metadata is not null order by 1",
        [*params, known.newest, last_rid(state.user_no)],
    )
    there = [row for row in rows if row[1] is not None]
    # A memory that no search is to find is in the store, and in no column.
    positions, columned = columns.locate(np.array([row[0] for row in there], dtype=np.int64))
    spellings = [row[1] for row, has in zip(there, columned.tolist(), strict=True) if has]
    known.grow(state.newest, len(columns), positions, spellings)
    return known


def _fulfilling(state: UserState, where: Where, rids: Ints | None) -> Steps[Ints]:
    """Return which rows fulfil a filter: of some, or of all of the user's."""
    text, params = condition(where)
    source = "m.rid between ? and ?"
    given: list[object] = [first_rid(state.user_no), last_rid(state.user_no)]
    if rids is not None:
        source, given = "m.rid in (select value from json_each(?))", [dumps(rids.tolist())]
    rows = yield Query(f"select json_group_array(m.rid) from memories m where {source} and {text}", [*given, *params])
    return parse_integers(rows[0][0])


_NO_ROWS: Final = np.zeros(0, dtype=np.int64)
