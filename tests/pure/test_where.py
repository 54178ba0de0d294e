"""Filters on metadata: what is refused by name, and which memories fulfil one."""

from __future__ import annotations

import enum
import json
from typing import Any

import pytest

from openmem._model.where import (
    MAX_BYTES,
    MAX_CHOICES,
    MAX_CONDITIONS,
    MAX_LEVELS,
    MAX_PARTS,
    matches,
    parse_where,
)
from openmem.errors import InvalidRequestError

METADATA = {
    "lang": "py",
    "n": 9,
    "half": 0.5,
    "yes": True,
    "none": None,
    "list": [1, 2],
    "in": {"deep": {"er": 1}, "a.b": 2, "$c": 3},
    "in.deep": "out of reach",
}

HOLDING = [
    {"lang": "py"},
    {"lang": "py", "n": {"$gt": 8}},
    {"n": {"$gte": 9, "$lt": 10}},
    {"n": 9.0},
    {"half": {"$lt": 1}},
    {"yes": True},
    {"none": None},
    {"none": {"$exists": True}},
    {"none": {"$ne": 1}},
    {"in.deep.er": 1},
    {"in.$c": 3},
    {"missing": {"$exists": False}},
    {"list": {"$exists": True}},
    {"list": {"$ne": 1}},
    {"list": {"$nin": [1, 2]}},
    {"in": {"$ne": None}},
    {"n": {"$in": [1, "9", 9]}},
    {"n": {"$nin": []}},
    {"n": {"$not": {"$gt": 9}}},
    {"missing": {"$not": {"$gt": 9}}},
    {"$not": {"missing": 1}},
    {"$or": [{"n": 1}, {"lang": "py"}]},
    {"$and": []},
    {"$and": [{}, {"n": 9}]},
    {"lang": {"$gt": "p", "$lt": "pz"}},
]

FAILING = [
    {"lang": "Py"},
    {"lang": "py", "n": {"$gt": 9}},
    {"yes": 1},
    {"n": True},
    {"n": "9"},
    {"none": {"$exists": False}},
    {"missing": None},
    {"missing": {"$ne": 1}},
    {"missing": {"$nin": [1]}},
    {"missing.deeper": {"$ne": 1}},
    {"missing": {"$exists": True}},
    {"list": 1},
    {"list.0": 1},
    {"list": {"$in": [1]}},
    {"in.a.b": 2},
    {"n": {"$in": []}},
    {"n": {"$gt": "1"}},
    {"lang": {"$gt": 1}},
    {"yes": {"$gte": True}},
    {"none": {"$lte": None}},
    {"$or": []},
    {"$not": {}},
    {"$not": {"$or": [{"n": 9}, {"n": 8}]}},
]

REFUSED = [
    ([], "where must be a mapping of conditions, not list"),
    ("lang = 1", "where must be a mapping of conditions, not str"),
    ({1: 2}, "where must have texts as names, not int"),
    ({"": 1}, "empty name"),
    ({"a..b": 1}, "empty name"),
    ({"a.": 1}, "empty name"),
    ({"a": {}}, "where.a must name an operator"),
    ({"a": {"b": 1}}, "where.a has the member 'b', which is no operator"),
    ({"a": [1]}, "where.a must be a text, a number, True, False or None, not list: give $in"),
    ({"a": {"$eq": {"b": 1}}}, "where.a.$eq must be a text, a number, True, False or None, not dict"),
    ({"a": {"$gt": [1]}}, "where.a.$gt must be"),
    ({"a": {"$in": 1}}, "where.a.$in must be a list of values, not int"),
    ({"a": {"$in": "abc"}}, "where.a.$in must be a list of values, not str"),
    ({"a": {"$in": [[1]]}}, r"where.a.$in\[0\] must be"),
    ({"a": {"$exists": 1}}, "where.a.$exists must be True or False, not int"),
    ({"a": {"$gtt": 1}}, "where.a has the unknown operator '$gtt': did you mean '$gt'"),
    ({"a": {"$regex": "x"}}, "where.a has the unknown operator '$regex'"),
    ({"a": {"$or": []}}, "where.a has the operator $or where it is not allowed"),
    ({"$gt": 1}, "where has the operator $gt where it is not allowed"),
    ({"$nor": []}, "where has the unknown operator '$nor'"),
    ({"$and": {}}, "where.$and must be a list of filters, not dict"),
    ({"$or": [1]}, r"where.$or\[0\] must be a mapping of conditions, not int"),
    ({"$not": []}, "where.$not must be a mapping of conditions, not list"),
    ({"a": {"$not": 1}}, "where.a.$not must be a mapping of operators, not int"),
    ({"a": float("nan")}, "where.a must be finite"),
    ({"a": {"$lt": float("inf")}}, "where.a.$lt must be finite"),
    ({"a": 10**1000}, "where.a must have at most 1,000 digits"),
    ({"a": "x\0"}, "where.a must not contain NUL"),
    ({"a\ud800": 1}, "where must not have NUL or lone surrogates in a name"),
    ({"a": b"x"}, "where.a must be a text, a number, True, False or None, not bytes"),
    ({".".join("a" * (MAX_PARTS + 1)): 1}, "a path of 9 names"),
    ({"a": {"$in": [*range(MAX_CHOICES + 1)]}}, "at most 1,000 values"),
    ({f"a{n}": n for n in range(MAX_CONDITIONS + 1)}, "at most 100 conditions"),
    ({"$or": [{}] * MAX_CONDITIONS}, "at most 100 conditions"),
    ({"a": "x" * MAX_BYTES}, "at most 65,536 bytes"),
]


@pytest.mark.parametrize("where", HOLDING, ids=json.dumps)
def test_filter_that_holds_is_fulfilled(where: dict[str, Any]) -> None:
    assert matches(parse_where(where), METADATA)
    assert not matches(parse_where({"$not": where}), METADATA)


@pytest.mark.parametrize("where", FAILING, ids=json.dumps)
def test_filter_that_does_not_hold_is_not_fulfilled(where: dict[str, Any]) -> None:
    assert not matches(parse_where(where), METADATA)
    assert matches(parse_where({"$not": where}), METADATA)


@pytest.mark.parametrize(("where", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_wrong_filter_is_refused_by_the_place_of_what_is_wrong(where: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message.replace("$", r"\$")):
        parse_where(where)


def nested(levels: int) -> dict[str, Any]:
    where: dict[str, Any] = {"n": 9}
    for _ in range(levels):
        where = {"$and": [where]}
    return where


def test_groups_lie_as_deep_as_is_said_and_no_deeper() -> None:
    assert matches(parse_where(nested(MAX_LEVELS)), METADATA)
    with pytest.raises(InvalidRequestError, match="at most 8 levels"):
        parse_where(nested(MAX_LEVELS + 1))


def test_filter_within_itself_is_refused() -> None:
    where: dict[str, Any] = {}
    where["$and"] = [where]
    with pytest.raises(InvalidRequestError, match="at most 8 levels"):
        parse_where(where)
    inner: dict[str, Any] = {}
    inner["$not"] = inner
    with pytest.raises(InvalidRequestError, match="at most 8 levels"):
        parse_where({"a": inner})


def test_no_filter_and_an_empty_one_are_fulfilled_by_everything() -> None:
    assert parse_where(None) is None
    assert parse_where({}) is None
    assert matches(None, None)


def test_memory_without_metadata_misses_every_member() -> None:
    assert matches(parse_where({"a": {"$exists": False}}), None)
    assert not matches(parse_where({"a": {"$ne": 1}}), None)


def test_filter_is_the_same_after_a_way_as_text() -> None:
    where = parse_where(
        {"a": {"$in": ("x", 1, 1.0, None, True)}, "$or": [{"b": 10**30}, {"c": {"$not": {"$lt": -0.0}}}]}
    )
    assert where is not None
    again = parse_where(json.loads(where.text))
    assert again == where
    assert hash(again) == hash(where)
    assert again is not None
    assert again.json == where.json


def test_one_and_true_are_not_the_same_filter() -> None:
    assert len({parse_where({"a": 1}), parse_where({"a": True}), parse_where({"a": 1.0})}) == 3


class Color(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


def test_values_of_other_classes_become_plain_ones() -> None:
    where = parse_where({"a": {"$in": [Color.RED, Size.BIG]}})
    assert where is not None
    assert where.text == '{"a":{"$in":["red",3]}}'
