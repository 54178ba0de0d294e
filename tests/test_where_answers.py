"""Filters on metadata have the same answers in plain Python, in SQLite and in Postgres."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openmem._model.where import Where, matches, parse_where
from openmem._sql.postgres.values import Json, encode_json
from openmem._sql.postgres.view import Parameters
from openmem._sql.postgres.where import condition as postgres_condition
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.where import condition as sqlite_condition
from openmem.testing.postgres import PostgresServer

Document = dict[str, Any] | None

NAMES = ("a", "b", "$a", 'q"', "b\\", "é\n", "0", "ab", 'q"[0]', " ", "a-b")
WHOLE = (
    0,
    1,
    -1,
    2,
    9,
    10,
    2**53,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    -(2**63) - 1,
    2**64,
    10**30,
    10**30 + 1,
    10**400,
)
REAL = (
    0.0,
    -0.0,
    1.0,
    0.1,
    1.5,
    1e16,
    1e23,
    1e30,
    float(2**53),
    float(2**63),
    float(2**64),
    1e300,
    -1e300,
    5e-324,
    1e-7,
)
TEXTS = (
    "",
    "a",
    "A",
    "b",
    "ab",
    "é",
    "z",
    "🙂",
    "\uffff",
    "1",
    "true",
    "null",
    '"',
    "\\",
    "a\nb",
    "[]",
    '{"a": 1}',
    "%",
    "_",
)


def around(number: float) -> st.SearchStrategy[float]:
    """Return floats close to one, on both sides."""
    return st.integers(-20, 20).map(lambda steps: _moved(number, steps)).filter(math.isfinite)


def _moved(number: float, steps: int) -> float:
    for _ in range(abs(steps)):
        number = math.nextafter(number, math.inf if steps > 0 else -math.inf)
    return number


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(WHOLE),
    st.sampled_from(REAL),
    st.sampled_from(TEXTS),
    st.sampled_from(REAL).flatmap(around),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3),
)
names = st.sampled_from(NAMES)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=3), max_leaves=4
)
documents = st.none() | st.dictionaries(names, values, max_size=4)
paths = st.lists(names, min_size=1, max_size=2).map(".".join).filter(lambda path: not path.startswith("$"))
comparisons = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), scalars),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
)
operators = st.lists(comparisons, min_size=1, max_size=2).map(dict)
conditions = scalars | operators | operators.map(lambda inner: {"$not": inner})
wheres = st.recursive(
    st.dictionaries(paths, conditions, min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda parts: {"$and": parts}),
        st.lists(inner, max_size=2).map(lambda parts: {"$or": parts}),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=3,
)


def in_sqlite(connection: sqlite3.Connection, where: Where, found: list[Document]) -> list[bool]:
    text, params = sqlite_condition(where)
    rows = ", ".join(f"({place}, ?)" for place in range(len(found)))
    statement = f"with m(place, metadata) as (values {rows}) select place, {text} from m order by place"
    return [bool(answer) for _, answer in connection.execute(statement, [*map(dumps, found), *params])]


def in_postgres(connection: psycopg.Connection[Any], where: Where, found: list[Document]) -> list[bool]:
    given_ = Parameters([None if one is None else encode_json(Json(one))[1:].decode() for one in found])
    text = postgres_condition(where, given_)
    statement = f"""
        select {text} from (
          select value::jsonb as metadata, place from unnest($1::text[]) with ordinality as one(value, place)
        ) as m order by place
    """
    with psycopg.RawCursor(connection) as cursor:
        return [answer for (answer,) in cursor.execute(statement.encode(), given_.values)]


@pytest.fixture(scope="module")
def memory_() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def server_(postgres: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    url = postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
    postgres.drop_database(url)


def check(
    memory: sqlite3.Connection, server: psycopg.Connection[Any], given_: Any, found: list[Document]
) -> list[bool]:
    where = parse_where(given_)
    assert where is not None
    expected = [matches(where, one) for one in found]
    assert in_sqlite(memory, where, found) == expected
    assert in_postgres(server, where, found) == expected
    return expected


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(given_=wheres, found=st.lists(documents, min_size=1, max_size=8))
def test_filters_have_the_same_answers_everywhere(
    memory_: sqlite3.Connection, server_: psycopg.Connection[Any], given_: Any, found: list[Document]
) -> None:
    check(memory_, server_, given_, found)


@settings(max_examples=60, deadline=None)
@given(operand=scalars, found=st.lists(scalars, min_size=1, max_size=8))
def test_numbers_and_texts_are_ordered_the_same_everywhere(
    memory_: sqlite3.Connection, server_: psycopg.Connection[Any], operand: Any, found: list[Any]
) -> None:
    rows: list[Document] = [{"a": one, "b": 1e16} if place % 2 else {"a": one} for place, one in enumerate(found)]
    for operator in ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"):
        check(memory_, server_, {"a": {operator: operand}}, rows)


@pytest.mark.parametrize("beside", [{}, {"large": 1e16}], ids=["plain", "spelt"])
def test_numbers_that_are_nearly_the_same_are_told_apart(
    memory_: sqlite3.Connection, server_: psycopg.Connection[Any], beside: dict[str, Any]
) -> None:
    found: list[Document] = [{"n": one, **beside} for one in (*WHOLE, *REAL)]
    for operand in (*WHOLE, *REAL):
        for operator in ("$eq", "$gt", "$gte", "$lt", "$lte"):
            answers = check(memory_, server_, {"n": {operator: operand}}, found)
            assert any(answers) or operator != "$eq"


def test_evaluator_is_that_of_python_for_two_numbers() -> None:
    for one in (*WHOLE, *REAL):
        for other in (*WHOLE, *REAL):
            where = parse_where({"n": {"$gt": other}})
            assert matches(where, {"n": one}) is (one > other)
            where = parse_where({"n": other})
            assert matches(where, json.loads(json.dumps({"n": one}))) is (one == other)


def test_texts_are_compared_by_code_point_whatever_the_collation_of_the_database() -> None:
    """The servers of the tests sort by code point anyway, so an answer would not show it."""
    for operator in ("$gt", "$gte", "$lt", "$lte"):
        where = parse_where({"a": {operator: "b"}})
        assert where is not None
        assert postgres_condition(where, Parameters()).count('collate "C"') == 2  # of plain rows and of others
