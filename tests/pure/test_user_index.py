from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.scopes import parse_pattern
from openmem._retrieval import user_index as columns
from openmem._retrieval.user_index import (
    ENTRY_BYTES,
    OPEN_END,
    OPEN_START,
    Columns,
    UserCache,
    UserEntry,
    Vectors,
    matrix_of,
    parse_integers,
    table_of,
    unique_counts,
    words_of_tag,
)


def _columns(
    *rows: tuple[int, ...], scopes: dict[int, str] | None = None, tags: dict[str, list[int]] | None = None
) -> Columns:
    arrays = {tag: np.array(rids, dtype=np.int64) for tag, rids in (tags or {}).items()}
    words = {tag: words_of_tag(tag) for tag in arrays}
    return Columns((0, 1), table_of(rows), scopes or {}, arrays, words)


def _row(
    rid: int, created: int = 0, start: int = OPEN_START, end: int = OPEN_END, gone: int = OPEN_END, scope: int = 0
) -> tuple[int, ...]:
    return (rid, created, start, end, gone, scope, 0, 5)


def _visible(columns: Columns, **given: Any) -> list[bool]:
    defaults: dict[str, Any] = {
        "now": 100,
        "as_of": None,
        "scope": None,
        "tags": (),
        "include_superseded": False,
        "include_expired": False,
    }
    return [bool(flag) for flag in columns.visible(**(defaults | given))]


def test_a_window_is_open_at_its_start_and_closed_at_its_end() -> None:
    columns = _columns(_row(1, start=100), _row(2, start=101), _row(3, end=100), _row(4, end=101))
    assert _visible(columns) == [True, False, False, True]
    assert _visible(columns, include_expired=True) == [True] * 4


def test_a_superseded_row_is_hidden_from_the_moment_its_successor_counts() -> None:
    columns = _columns(_row(1, gone=100), _row(2, gone=101), _row(3))
    assert _visible(columns) == [False, True, True]
    assert _visible(columns, include_superseded=True) == [True] * 3


def test_the_past_shows_what_was_there_and_held_then() -> None:
    columns = _columns(
        _row(1, created=50), _row(2, created=90), _row(3, created=90, start=10), _row(4, created=5, gone=60)
    )
    assert _visible(columns, as_of=59) == [True, False, True, True]
    assert _visible(columns, as_of=60) == [True, False, True, False]


def test_scopes_and_tags_are_part_of_the_mask() -> None:
    columns = _columns(
        _row(1, scope=7), _row(2, scope=8), _row(3), scopes={7: "a/b", 8: "a%b"}, tags={"x": [1, 3], "y": [3]}
    )
    assert _visible(columns, scope=parse_pattern("a/*")) == [True, False, False]
    assert _visible(columns, scope=parse_pattern("a%b")) == [False, True, False]
    assert _visible(columns, scope=parse_pattern("*")) == [True, True, True]
    assert _visible(columns, tags=("x",)) == [True, False, True]
    assert _visible(columns, tags=("x", "y")) == [False, False, True]
    assert _visible(columns, tags=("unknown",)) == [False] * 3


def test_rows_that_are_not_there_are_left_out_when_located() -> None:
    columns = _columns(_row(10), _row(20), _row(30))
    positions, known = columns.locate(np.array([5, 20, 25, 30, 99], dtype=np.int64))
    assert positions.tolist() == [1, 2]
    assert known.tolist() == [False, True, False, True, False]
    empty, none = _columns().locate(np.array([1], dtype=np.int64))
    assert (empty.tolist(), none.tolist()) == ([], [False])


def test_a_tag_is_named_when_all_its_words_are() -> None:
    columns = _columns(_row(1), tags={"New York": [1], "tea": [1], "?!": [1]})
    assert columns.tags_named(words_of_tag("flights to new york")) == ["New York"]
    assert columns.tags_named(words_of_tag("york teas")) == ["tea"]


@given(st.lists(st.integers(0, 2**62)))
def test_numbers_come_out_of_a_json_array_in_order(values: list[int]) -> None:
    assert parse_integers(json.dumps(values)).tolist() == sorted(values)


@given(st.lists(st.integers(0, 5)))
def test_runs_are_the_distinct_values_and_their_counts(values: list[int]) -> None:
    values.sort()
    found, counts = unique_counts(np.array(values, dtype=np.int64))
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {value: values.count(value) for value in values}


def test_growing_vectors_leaves_an_older_snapshot_as_it_was() -> None:
    first = Vectors((0, 1), np.array([1]), np.ones((1, 2), dtype=np.float32), 1)
    second = first.grown((0, 2), np.array([2, 3]), np.zeros((2, 2), dtype=np.float32))
    same = second.grown((0, 3), np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.float32))
    third = second.grown((0, 3), np.array([4]), np.full((1, 2), 5, dtype=np.float32))
    assert same.matrix.tolist() == second.matrix.tolist()
    assert first.matrix.tolist() == [[1, 1]]
    assert second.matrix.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert third.matrix.tolist() == [[1, 1], [0, 0], [0, 0], [5, 5]]


def test_the_cache_forgets_the_user_who_searched_longest_ago() -> None:
    cache = UserCache(ENTRY_BYTES + 1_000, nullcontext)
    for user_no in (1, 2, 3):
        cache.entry(user_no).columns = _columns(*(_row(rid) for rid in range(10)))
        cache.trim(user_no)
    kept = cache.entry(3).columns
    assert kept is not None
    assert cache.entry(1).columns is None


class CountedEntry(UserEntry):
    """An entry that says when it is measured."""

    asked: ClassVar[list[int]] = []

    @property
    def nbytes(self) -> int:
        self.asked.append(1)
        return super().nbytes


def test_a_change_of_one_user_does_not_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "UserEntry", CountedEntry)
    monkeypatch.setattr(CountedEntry, "asked", [])
    cache = UserCache(10**9, nullcontext)
    for user_no in range(1_000):
        cache.entry(user_no).columns = _columns(_row(user_no))
        cache.trim(user_no)
    assert len(CountedEntry.asked) == 1_000
    assert cache.nbytes == sum(cache.entry(user_no).nbytes for user_no in range(1_000))


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 40), st.booleans()), max_size=40))
def test_the_cache_knows_its_size_whatever_comes_and_goes(changes: list[tuple[int, int, bool]]) -> None:
    cache = UserCache(6_000, nullcontext)
    for user_no, rows, gone in changes:
        if gone:
            cache.forget(user_no)
        else:
            cache.entry(user_no).columns = _columns(*(_row(rid) for rid in range(rows)))
            cache.trim(user_no)
        kept = [entry.nbytes for entry in cache._entries.values()]
        assert cache.nbytes == sum(kept)
        assert cache.nbytes <= 6_000 or len(kept) == 1


def test_blobs_become_rows_of_single_precision() -> None:
    rows = np.array([[1.5, -2.0], [0.25, 4.0]], dtype="<f4")
    made = matrix_of([row.tobytes() for row in rows], 2)
    assert (made.tolist(), made.dtype) == (rows.tolist(), np.dtype("<f4"))
    assert matrix_of([], 3).shape == (0, 3)


def test_bytes_of_a_snapshot_are_those_of_its_arrays_and_a_little_for_each_name() -> None:
    columns = Columns((0, 1), table_of([_row(1)]), {}, {"x": np.array([1])}, {}, waiting={"tea": (1,), "milk": (1,)})
    assert columns.nbytes == 8 * 8 + (8 + 200) + 2 * 200
    vectors = Vectors((0, 1), np.array([1]), np.ones((4, 2), dtype=np.float32), 1)
    assert vectors.nbytes == 4 * 2 * 4 + 8
    entry = UserEntry(nullcontext(), columns, {1: vectors, 2: vectors})
    assert entry.nbytes == ENTRY_BYTES + columns.nbytes + 2 * vectors.nbytes
    assert UserEntry(nullcontext()).nbytes == ENTRY_BYTES


def test_view_of_some_scopes_shows_memories_without_a_scope_only_where_everything_is_allowed() -> None:
    columns = _columns(_row(1, scope=7), _row(2), scopes={7: "a"})
    assert _visible(columns, allowed=(parse_pattern("a"),)) == [True, False]
    assert _visible(columns, allowed=(parse_pattern("*"),)) == [True, True]
    assert _visible(columns, allowed=()) == [False, False]
    assert _visible(columns, allowed=(parse_pattern("a"),), scope=parse_pattern("b")) == [False, False]


def test_table_has_a_column_for_each_name_also_without_rows() -> None:
    assert table_of([]).shape == (8, 0)
    table = table_of([_row(1, 2, 3, 4, 5, 6), _row(7)])
    assert (table.shape, table.dtype, table.flags.c_contiguous) == ((8, 2), np.dtype(np.int64), True)
    assert Columns((0, 1), table, {}, {}, {}).column("created_at").tolist() == [2, 0]


def test_rows_of_a_tag_are_told_by_their_places() -> None:
    columns = _columns(_row(10), _row(20), tags={"x": [20, 99]})
    assert columns.tagged("x").tolist() == [1]
    assert columns.tagged("other").tolist() == []
    assert columns.tag_mask("x").tolist() == [False, True]
    assert len(columns) == 2


def test_buffer_of_vectors_doubles_and_is_shared_while_there_is_room() -> None:
    first = Vectors((0, 1), np.array([1, 2]), np.ones((2, 2), dtype=np.float32), 2)
    second = first.grown((0, 2), np.array([3]), np.zeros((1, 2), dtype=np.float32))
    assert (second.buffer.shape, second.buffer.dtype) == ((4, 2), np.dtype(np.float32))
    third = second.grown((0, 3), np.array([4]), np.zeros((1, 2), dtype=np.float32))
    assert third.buffer is second.buffer
    assert (third.version, third.rids.tolist(), third.count) == ((0, 3), [1, 2, 3, 4], 4)
    same = third.grown((0, 4), np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.float32))
    assert (same.version, same.rids.tolist(), same.count) == ((0, 4), [1, 2, 3, 4], 4)
    wide = third.grown((0, 5), np.arange(5, 25), np.zeros((20, 2), dtype=np.float32))
    assert wide.buffer.shape == (24, 2)


def test_forgotten_user_takes_no_room_and_one_that_is_unknown_neither() -> None:
    cache = UserCache(10**6, nullcontext)
    cache.entry(1).columns = _columns(_row(1))
    cache.trim(1)
    before = cache.nbytes
    cache.forget(2)
    cache.trim(3)
    assert cache.nbytes == before > 0
    cache.forget(1)
    assert cache.nbytes == 0
    assert cache.entry(1).columns is None


def test_entry_that_is_asked_for_becomes_the_newest() -> None:
    cache = UserCache(2 * ENTRY_BYTES, nullcontext)
    for user_no in (1, 2):
        cache.entry(user_no)
        cache.trim(user_no)
    kept = cache.entry(1)
    cache.entry(3)
    cache.trim(3)
    assert cache.entry(1) is kept
    assert cache.nbytes == 2 * ENTRY_BYTES


def test_tag_is_named_by_exactly_its_words_too() -> None:
    columns = _columns(_row(1), tags={"tea": [1]})
    assert columns.tags_named(words_of_tag("tea")) == ["tea"]


def test_masks_are_of_flags_also_without_rows() -> None:
    assert _columns().locate(np.array([1], dtype=np.int64))[1].dtype == np.bool_
