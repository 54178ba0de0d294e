"""Steps that bring the cached arrays of one user up to date with the file, by the user's counters of changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from openmem._retrieval.user_index import (
    OPEN_END,
    OPEN_START,
    Columns,
    UserCache,
    Vectors,
    matrix_of,
    table_of,
    words_of_tag,
)
from openmem._sql.sqlite.schema import USER_RANGE, first_rid, last_rid
from openmem._sql.steps import Query, Row, Steps

T = TypeVar("T")

_COLUMNS: Final = f"""
    select rid, created_at, coalesce(valid_from, {OPEN_START}), coalesce(valid_to, {OPEN_END}),
           coalesce(superseded_at, {OPEN_END}), coalesce(scope_no, 0), coalesce(model_no, 0), terms
    from memories where rid between ? and ? and searchable order by rid
"""


class UserState(NamedTuple):
    """A user's row: its number, its counters, the time of its newest change, and two times a `rid`: the newest one,
    and the last one that the index of words has seen, which also changes alone: when the index is filled again."""

    user_no: int
    epoch: int
    vector_epoch: int
    clock: int
    newest: int
    indexed: int

    @property
    def version(self) -> tuple[int, int]:
        """The version of the user's rows: it grows with every write."""
        return self.epoch, self.newest

    @property
    def vector_version(self) -> tuple[int, int]:
        """The version of the user's vectors."""
        return self.vector_epoch, self.newest


def user_state(user_id: str) -> Steps[UserState | None]:
    """Read a user's row; `None` for a user who never wrote."""
    rows = yield Query(
        f"""
        select user_no, epoch, vector_epoch, clock, coalesce(
          (select max(rid) from memories where rid {USER_RANGE}), 0), max(indexed, user_no << 32)
        from users where user_id = ?
        """,
        (user_id,),
    )
    return UserState(*rows[0]) if rows else None


def forgetting(user_id: str, cache: UserCache, erasing: Steps[T]) -> Steps[T]:
    """Take the steps that erase memories of a user, and drop what the cache keeps of that user."""
    result = yield from erasing
    state = yield from user_state(user_id)
    if state is not None:
        cache.forget(state.user_no)
    return result


def load_columns(state: UserState, cache: UserCache) -> Steps[Columns]:
    """Return the user's columns as this transaction sees them."""
    entry = cache.entry(state.user_no)
    with entry.lock:
        known = entry.columns
        if known is not None and known.version == state.version and known.indexed == state.indexed:
            return known
        if known is not None and known.version > state.version:
            return (yield from _read_columns(state, None))
        base = known if known is not None and known.version[0] == state.epoch else None
        entry.columns = yield from _read_columns(state, base)
        columns = entry.columns
    cache.trim(state.user_no)
    return columns


def load_vectors(state: UserState, model_no: int, dim: int, cache: UserCache) -> Steps[Vectors]:
    """Return the user's vectors of one model as this transaction sees them."""
    entry = cache.entry(state.user_no)
    with entry.lock:
        known = entry.vectors.get(model_no)
        if known is not None and known.version == state.vector_version:
            return known
        if known is not None and known.version > state.vector_version:
            return (yield from _read_vectors(state, model_no, dim, None))
        base = known if known is not None and known.version[0] == state.vector_epoch else None
        vectors = yield from _read_vectors(state, model_no, dim, base)
        entry.vectors[model_no] = vectors
    cache.trim(state.user_no)
    return vectors


def _read_columns(state: UserState, base: Columns | None) -> Steps[Columns]:
    start = first_rid(state.user_no) if base is None or not len(base) else int(base.column("rid")[-1]) + 1
    bounds = (start, last_rid(state.user_no))
    rows = yield Query(_COLUMNS, bounds)
    scopes = yield Query("select scope_no, path from scopes where user_no = ?", (state.user_no,))
    tags = yield from _read_tags(state.user_no, start, bounds[1], base)
    table = table_of(rows)
    if base is not None:
        table = np.concatenate([base.table, table], axis=1)
    known = base.tag_words if base is not None else {}
    words = {tag: known.get(tag) or words_of_tag(tag) for tag in tags}
    waiting = yield from _read_waiting(state, start, base)
    return Columns(state.version, table, dict(_pairs(scopes)), tags, words, state.indexed, waiting)


def _read_waiting(state: UserState, start: int, base: Columns | None) -> Steps[dict[str, tuple[int, ...]]]:
    grows = base is not None and base.indexed == state.indexed
    waiting = dict(base.waiting) if base is not None and grows else {}
    after = start - 1 if grows else state.indexed
    if state.newest > after:
        rows = yield Query("select rid, words from memories where rid > ? and rid <= ?", (after, state.newest))
        found: dict[str, list[int]] = {}
        for rid, words in rows:
            for word in words.split():
                found.setdefault(word, []).append(rid)
        for word, rids in found.items():
            waiting[word] = waiting.get(word, ()) + tuple(rids)
    return waiting


def _read_tags(user_no: int, start: int, end: int, base: Columns | None) -> Steps[dict[str, Any]]:
    if base is None:
        rows = yield Query("select tag, rid from tags where user_no = ?", (user_no,))
    else:
        rows = yield Query("select tag, rid from tags where rid between ? and ? order by rid", (start, end))
    lists: dict[str, list[int]] = {}
    for tag, rid in rows:
        lists.setdefault(tag, []).append(rid)
    found = dict(base.tags) if base is not None else {}
    for tag, rids in lists.items():
        more = np.array(rids, dtype=np.int64)
        found[tag] = np.concatenate([found[tag], more]) if tag in found else more
    return found


def _read_vectors(state: UserState, model_no: int, dim: int, base: Vectors | None) -> Steps[Vectors]:
    empty = base is None or not base.count
    start = first_rid(state.user_no) if base is None or empty else int(base.rids[-1]) + 1
    rows = yield Query(
        f"select rid, vector from vectors_{model_no} where rid between ? and ? order by rid",
        (start, last_rid(state.user_no)),
    )
    rids = np.array([row[0] for row in rows], dtype=np.int64)
    matrix = matrix_of([row[1] for row in rows], dim)
    if base is not None:
        return base.grown(state.vector_version, rids, matrix)
    return Vectors(state.vector_version, rids, matrix, len(rids))


def _pairs(rows: Sequence[Row]) -> list[tuple[int, str]]:
    return [(row[0], row[1]) for row in rows]
