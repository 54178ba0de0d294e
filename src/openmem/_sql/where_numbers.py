"""Numbers of filters on metadata, so that a store compares them exactly: as JSON spells them, and as bounds."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from openmem._model.where import Scalar

LARGEST: Final = 1.7976931348623157e308
_EXACT: Final = 1e16
"""From here on, JSON writes a float with fewer digits than its value has."""


class Bound(NamedTuple):
    """The least numbers on one side of a comparison: a number of that type is there if it is not below.

    Attributes:
        whole: The least whole number.
        real: The least float, infinity for none.
        above: Whether the numbers from there on fulfil the comparison; if not, those below do.
    """

    whole: int
    real: float
    above: bool


def bound_of(operator: str, operand: float) -> Bound:
    """Return the bound of `$gt`, `$gte`, `$lt` or `$lte` with a number."""
    strict = operator in ("$gt", "$lte")  # whether the number itself lies below the bound
    whole = math.floor(operand) + 1 if strict else math.ceil(operand)
    return Bound(whole, _least_float(operand, strict), operator in ("$gt", "$gte"))


def spellings(operand: float) -> list[str]:
    """Return how JSON may spell a number, as a whole one and as a float."""
    found = [str(int(operand))] if operand == math.floor(operand) else []
    if abs(operand) <= LARGEST and float(operand) == operand:
        found.append(repr(float(operand) + 0.0))
    return [*found, "-0.0"] if not operand else found


def decimal_of(operand: float) -> str:
    """Return a number as a decimal that lies to whole numbers, and to short floats, as the number itself does."""
    return str(int(operand)) if isinstance(operand, int) or abs(operand) >= _EXACT else repr(operand)


def neighbours(number: float, steps: int) -> list[float]:
    """Return a float and those after it."""
    found = [number]
    for _ in range(steps):
        found.append(math.nextafter(found[-1], math.inf))
    return found


def is_number(value: Scalar) -> bool:
    """Return whether a value is a number; a `bool` is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _least_float(operand: float, strict: bool) -> float:
    try:
        nearest = float(operand)
    except OverflowError:
        return math.inf if operand > 0 else -LARGEST
    if nearest > operand or (nearest == operand and not strict):
        return nearest
    return math.nextafter(nearest, math.inf)
