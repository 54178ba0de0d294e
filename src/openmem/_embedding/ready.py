"""Vectors that the caller brings: checked, scaled to length 1, and compared with those that they will stand among."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from openmem._model.checks import MAX_TAG, check_text
from openmem._model.requests import GivenVector
from openmem._text.misspellings import closest, did_you_mean, shown
from openmem.errors import InvalidRequestError

MAX_NUMBERS: Final = 16_000
"""The most numbers that a vector of pgvector has."""

_MEMBERS: Final = ("model", "vector")


def check_embedding(value: object) -> GivenVector:
    """Return a vector that a caller gave, scaled to length 1.

    Args:
        value: A mapping with `model`, the name of the model, and `vector`, 1 to 16,000 finite numbers, not all zero.

    Raises:
        InvalidRequestError: It is something else; the message names the member.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"embedding must be an object with model and vector, not {_kind(value)}")
    for name in value:
        if name not in _MEMBERS:
            meant = did_you_mean(closest(str(name), _MEMBERS)) or ": it has model and vector"
            raise InvalidRequestError(f"{shown(name)} is unknown in embedding{meant}")
    model = check_text(value.get("model"), "embedding.model", MAX_TAG, control=False)
    return GivenVector(model, _unit_row(value.get("vector")))


def agreed_model(
    vectors: Iterable[GivenVector], model: str | None = None, dim: int | None = None
) -> tuple[str, int] | None:
    """Return the one model of some vectors, and how many numbers each has; `None` if there are no vectors.

    Args:
        vectors: The vectors.
        model: The embedder's model, where there is an embedder.
        dim: How many numbers its vectors have, where that is known.

    Raises:
        InvalidRequestError: They are of different models, or of another one than the embedder's.
    """
    agreed = None if model is None or dim is None else (model, dim)
    for vector in vectors:
        expected = model if agreed is None else agreed[0]
        if expected is not None and vector.model != expected:
            whose = "the embedder's model" if model is not None else "the model of the others"
            raise InvalidRequestError(f"embedding.model is {vector.model!r}, and {whose} is {expected!r}")
        if agreed is not None and vector.dim != agreed[1]:
            raise InvalidRequestError(
                f"embedding.vector has {vector.dim} numbers, and vectors of {agreed[0]!r} have {agreed[1]} here"
            )
        agreed = (vector.model, vector.dim)
    return agreed


def other_model(given: str, known: str) -> InvalidRequestError:
    """Return the error for a vector of a second model in a store that no embedder keeps to one."""
    return InvalidRequestError(
        f"embedding.model is {given!r}, and the store has vectors of {known!r}: without an embedder it takes those of "
        "one model"
    )


def _unit_row(value: object) -> Any:
    import numpy as np  # here: who gives no vector needs none

    if isinstance(value, np.ndarray):
        row = value
        if row.ndim != 1 or row.dtype.kind not in "fiu":
            raise InvalidRequestError("embedding.vector must be a list of numbers")
    elif isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise InvalidRequestError(f"embedding.vector must be a list of numbers, not {_kind(value)}")
    if not 1 <= len(value) <= MAX_NUMBERS:
        raise InvalidRequestError(f"embedding.vector must have 1 to {MAX_NUMBERS} numbers, not {len(value)}")
    if not isinstance(value, np.ndarray):
        for place, number in enumerate(value):
            if type(number) is not float and (isinstance(number, bool) or not isinstance(number, int | float)):
                raise InvalidRequestError(f"embedding.vector[{place}] must be a number, not {_kind(number)}")
    try:
        row = np.asarray(value, dtype=np.float64)
    except OverflowError:
        raise InvalidRequestError("embedding.vector must hold finite numbers") from None
    if not np.isfinite(row).all():
        raise InvalidRequestError("embedding.vector must hold finite numbers")
    largest = np.abs(row).max()
    if largest == 0.0:
        raise InvalidRequestError("embedding.vector must not be all zeros: it has no direction")
    row = row / largest
    return (row / np.linalg.norm(row)).astype(np.float32)


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
