"""Filters on metadata answer alike as conditions of the embedded store and in Python."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._model.where import matches, parse_where
from openmem._sql.sqlite.rows import dumps
from openmem._sql.sqlite.where import condition
from tests.pure.sqlite_steps.database import Database

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 9, 10, -10, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30, -(10**30), 10**400),
    *(0.0, -0.0, 0.1, 1.0, 1.5, -1.5, 1e16, 1e23, 1e300, -1e300, 5e-324, 9.5, 2.0**63, float(2**53)),
)
OTHERS: tuple[Any, ...] = ("", "a", "b", "1", "true", "é", '"', "\\", None, True, False, [], [1], {}, {"b": 1})
SCALARS = tuple(one for one in OTHERS if not isinstance(one, (list, dict)))
NAMES = ("a", 'q"', "b\\", "é", "0", "a-b")


def answers(db: Database, filters: list[Any], documents: list[Any]) -> list[list[bool]]:
    """Return for each filter which documents fulfil it, by the store."""
    db.connection.execute("create table m(n integer primary key, metadata text)")
    texts = [(None if one is None else dumps(one),) for one in documents]
    db.connection.executemany("insert into m(metadata) values(?)", texts)
    found = []
    for one in filters:
        where = parse_where(one)
        assert where is not None
        text, params = condition(where)
        found.append([bool(row[0]) for row in db.rows(f"select {text} from m order by n", *params)])
    return found


def expected(filters: list[Any], documents: list[Any]) -> list[list[bool]]:
    return [[matches(parse_where(one), document) for document in documents] for one in filters]


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte", "$eq", "$ne"])
def test_values_are_compared_alike(db: Database, operator: str) -> None:
    operands = [*NUMBERS, *(SCALARS if operator in ("$eq", "$ne") else ("", "a", "b", "é"))]
    filters = [{"a": {operator: operand}} for operand in operands]
    documents = [None, {}, *({"a": value} for value in (*NUMBERS, *OTHERS))]
    assert answers(db, filters, documents) == expected(filters, documents)


def test_lists_of_values_and_members_are_looked_for_alike(db: Database) -> None:
    lists = [[1], [1, "a"], [None, True], [0.1, False, ""], ["b", 2**64]]
    filters: list[Any] = [{"a": {operator: one}} for one in lists for operator in ("$in", "$nin")]
    filters += [{"a": {"$exists": True}}, {"a": {"$exists": False}}, {"a.b": 1}, {"a.b": {"$exists": False}}]
    documents = [None, {}, {"b": 1}, *({"a": value} for value in (*NUMBERS, *OTHERS))]
    assert answers(db, filters, documents) == expected(filters, documents)


def test_filters_are_joined_alike(db: Database) -> None:
    one, other = {"a": 1}, {"b": {"$gt": 1}}
    filters: list[Any] = [
        *({"$and": [one, other]}, {"$or": [one, other]}, {"$not": one}, {"$not": {"$or": [one, other]}}),
        *({**one, **other}, {"b": {"$gt": 1, "$lt": 3}}, {"$or": [{"$not": one}, {"$and": [other, one]}]}),
    ]
    documents = [None, {}, *({"a": a, "b": b} for a in (1, 2, None) for b in (1, 2, 3))]
    assert answers(db, filters, documents) == expected(filters, documents)


def test_names_are_those_of_the_document(db: Database) -> None:
    filters: list[Any] = [{name: 1} for name in NAMES]
    documents = [{name: 1} for name in NAMES] + [{'q"': 2, "a": 1}, {"b\\": 1, 'q"': 1}]
    assert answers(db, filters, documents) == expected(filters, documents)
