"""Numbers of filters on metadata: their spellings in JSON, and the bounds that comparisons stand for."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from openmem._sql.where_numbers import LARGEST, Bound, bound_of, decimal_of, is_number, neighbours, spellings

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 7, 2**53, 2**53 + 1, -(2**53) - 1, 2**63, 10**30, 10**400, -(10**400)),
    *(0.0, -0.0, 0.5, -0.5, 1.0, 1.5, 1e16, 1e23, -1e300, LARGEST, -LARGEST, 5e-324),
)


@pytest.mark.parametrize(
    ("operand", "found"),
    [
        (0, ["0", "0.0", "-0.0"]),
        (-0.0, ["0", "0.0", "-0.0"]),
        (1, ["1", "1.0"]),
        (1.0, ["1", "1.0"]),
        (0.5, ["0.5"]),
        (-2, ["-2", "-2.0"]),
        (2**53 + 1, ["9007199254740993"]),
        (1e16, ["10000000000000000", "1e+16"]),
        (10**400, [str(10**400)]),
        (LARGEST, [str(int(LARGEST)), "1.7976931348623157e+308"]),
    ],
)
def test_number_is_spelt_as_json_may_spell_it(operand: float, found: list[str]) -> None:
    assert spellings(operand) == found
    assert all(json.loads(text) == operand for text in found)


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
@pytest.mark.parametrize("operand", NUMBERS)
def test_bound_says_what_the_comparison_does(operator: str, operand: float) -> None:
    bound = bound_of(operator, operand)
    compare = {"$gt": "__gt__", "$gte": "__ge__", "$lt": "__lt__", "$lte": "__le__"}[operator]
    near = math.floor(operand)
    for whole in (near - 1, near, near + 1, near + 2):
        assert ((whole >= bound.whole) is bound.above) is _holds(whole, compare, operand)
    close = [1e300, -1e300, 0.0, LARGEST, -LARGEST]
    if abs(operand) <= LARGEST:
        own = float(operand)
        close += [own, math.nextafter(own, -math.inf), math.nextafter(own, math.inf)]
    for real in close:
        if math.isfinite(real):
            assert ((real >= bound.real) is bound.above) is _holds(real, compare, operand)


def _holds(value: float, compare: str, operand: float) -> bool:
    order = (value > operand) - (value < operand)
    return bool(getattr(order, compare)(0))


def test_bound_is_the_least_of_each_type() -> None:
    assert bound_of("$gt", 1) == Bound(2, math.nextafter(1.0, 2.0), True)
    assert bound_of("$gte", 1.5) == Bound(2, 1.5, True)
    assert bound_of("$lt", 1.5) == Bound(2, 1.5, False)
    assert bound_of("$lte", -1.5) == Bound(-1, math.nextafter(-1.5, 0.0), False)
    assert bound_of("$gt", 10**400).real == math.inf
    assert bound_of("$lt", -(10**400)).real == -LARGEST
    assert bound_of("$gte", 2**53 + 1).real == 2.0**53 + 2


def test_decimal_lies_as_the_number_does() -> None:
    assert [decimal_of(one) for one in (1, 1.5, 10**30, 1e16, 1e23, -1e16, 9e15)] == [
        *("1", "1.5", str(10**30), "10000000000000000", str(int(1e23)), "-10000000000000000", "9000000000000000.0"),
    ]


def test_neighbours_follow_one_another() -> None:
    assert neighbours(1.0, 0) == [1.0]
    first, second, third = neighbours(1.0, 2)
    assert (first, second, third) == (1.0, math.nextafter(1.0, 2.0), math.nextafter(second, 2.0))


@pytest.mark.parametrize(("value", "number"), [(1, True), (1.5, True), (True, False), ("1", False), (None, False)])
def test_flag_is_no_number(value: Any, number: bool) -> None:
    assert is_number(value) is number
