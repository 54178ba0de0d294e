"""A filter that is judged over arrays has the answers of the plain evaluator, however the rows came."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.where import Path, Where, comparisons_of, matches, member, parse_where
from openmem._retrieval.metadata_columns import MAX_SPELLING, MetadataColumn, judge

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 2**63, 2**63 + 1, float(2**63), 10**30, 1e30]),
    st.sampled_from(["", "a", "b", "ab", "é", "🙂", "\uffff", "1"]),
)
documents: st.SearchStrategy[Any] = st.none() | st.dictionaries(
    st.sampled_from(["a", "b"]), scalars | st.just([]) | st.just({}), max_size=2
)
conditions = st.one_of(
    scalars,
    st.dictionaries(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), scalars, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3), min_size=1),
    st.booleans().map(lambda there: {"$exists": there}),
)
plain = st.dictionaries(st.sampled_from(["a", "b"]), conditions, min_size=1)
wheres = plain | st.lists(plain, max_size=3).map(lambda parts: {"$or": parts}) | plain.map(lambda part: {"$not": part})


def spelling(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[: MAX_SPELLING + 1]


def column_of(path: Path, batches: list[list[Any]]) -> MetadataColumn:
    column, count = MetadataColumn(1, 0), 0
    for batch in batches:
        found = [(count + place, member(one or {}, path)) for place, one in enumerate(batch)]
        count += len(batch)
        there = [(place, value) for place, (known, value) in found if known]
        positions = np.array([place for place, _ in there], dtype=np.int64)
        column.grow(count, count, positions, [spelling(value) for _, value in there])
    return column


def judged(where: Where, batches: list[list[Any]]) -> list[bool]:
    columns = {node.path: column_of(node.path, batches) for node in comparisons_of(where.root)}
    count = sum(map(len, batches))
    found: list[bool] = judge(where.root, count, columns).tolist()
    return found


@given(given_=wheres, batches=st.lists(st.lists(documents, max_size=6), min_size=1, max_size=3))
def test_judged_rows_are_those_that_match(given_: Any, batches: list[list[Any]]) -> None:
    where = parse_where(given_)
    assert where is not None
    assert judged(where, batches) == [matches(where, one) for batch in batches for one in batch]


@pytest.mark.parametrize("operator", ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin"])
def test_many_sorted_values_and_few_later_ones_are_judged_alike(operator: str) -> None:
    values: list[Any] = [
        *range(-200, 200),
        *(n / 2 for n in range(300)),
        *map(str, range(200)),
        None,
        True,
        False,
        [],
        {},
    ]
    rows = [{"a": value} for value in values]
    batches: list[list[Any]] = [rows[::2], rows[1::2], [{"a": 0.25}, {"a": "zz"}, {}, None]]
    column = column_of(("a",), batches)
    assert column._sorted < len(column._values)  # both kinds are there
    for operand in (-200, 0, 7.0, 7.25, 10**9, "", "15", "zz", None, True, False):
        where = parse_where({"a": {operator: [operand, 3] if operator in ("$in", "$nin") else operand}})
        assert where is not None
        assert judged(where, batches) == [matches(where, one) for batch in batches for one in batch]


def test_older_snapshot_is_judged_by_a_column_that_has_grown() -> None:
    where = parse_where({"a": {"$ne": 1}})
    assert where is not None
    column = column_of(("a",), [[{"a": 1}, {"a": 2}], [{"a": 3}]])
    assert judge(where.root, 2, {("a",): column}).tolist() == [False, True]


def test_long_value_is_noted_and_not_held() -> None:
    column = column_of(("a",), [[{"a": 1}], [{"a": "x" * MAX_SPELLING}, {"a": 2}]])
    assert column.long.tolist() == [1]
    assert column.nbytes < 2_000


def test_long_object_is_as_good_as_a_short_one() -> None:
    column = column_of(("a",), [[{"a": {"b": "x" * MAX_SPELLING}}, {"a": []}, {"a": [1]}]])
    assert column.long.tolist() == []
    assert len(column) == 2
