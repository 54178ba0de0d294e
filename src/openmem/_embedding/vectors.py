"""From what an embedder returned to rows that a store can keep: float32, finite, of length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from operator import countOf
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmem.errors import ProviderError

Rows = NDArray[np.float32]

_SAFE = (1e-12, 1e12)
_FLOAT32 = np.dtype(np.float32)
_NUMPY_NUMBERS = (np.floating, np.integer)


def unit_rows(raw: Any, *, count: int, dim: int | None, model: str) -> Rows:
    """Check the vectors of an embedder and scale each to length 1.

    Args:
        raw: A matrix, or a sequence of sequences of numbers. It is not changed.
        count: How many vectors there must be.
        dim: How many numbers each must have; `None` accepts any length, the same for all.
        model: Name for the error message.

    Returns:
        A new matrix of shape (count, dim). A vector of zeros stays as it is.

    Raises:
        ProviderError: Number, length or values are wrong.
    """
    rows = raw if isinstance(raw, np.ndarray) else _stack(raw, model)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise _wrong(model, "did not return one list of numbers per text")
    height, width = rows.shape
    if height != count:
        raise _wrong(model, f"returned {height} vectors for {count} texts")
    if width != (dim or width) or width == 0:
        raise _wrong(model, f"returned vectors of {width} numbers, but its dim is {dim}")
    if count == 1 and rows.dtype is _FLOAT32:  # a query or an `add`: with plain numbers it takes a third of the time
        row = rows[0]
        length = math.sqrt(row.dot(row))
        if _SAFE[0] < length < _SAFE[1]:
            unit: NDArray[Any] = rows / length
            return unit
    elif rows.dtype == _FLOAT32:
        lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
        if ((lengths > _SAFE[0]) & (lengths < _SAFE[1])).all():
            return np.ascontiguousarray(rows / lengths[:, None])
    # In double precision, or the squares of very large or small numbers would be lost.
    exact = rows.astype(np.float64, order="C")
    if not np.isfinite(exact).all():
        raise _wrong(model, "returned numbers that are not finite")
    largest = np.abs(exact).max(axis=1, keepdims=True, initial=0.0)
    exact /= np.where(largest > 0.0, largest, 1.0)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    exact /= np.where(lengths > 0.0, lengths, 1.0)
    return exact.astype(np.float32)


def join_rows(parts: Sequence[Rows], *, dim: int | None, model: str) -> Rows:
    """Return the rows of all parts below each other; no parts give an empty matrix.

    Raises:
        ProviderError: The parts differ in length of their vectors.
    """
    if not parts:
        return np.zeros((0, dim or 0), np.float32)
    if len({part.shape[1] for part in parts}) > 1:
        raise _wrong(model, "returned vectors of different lengths")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _stack(raw: Any, model: str) -> NDArray[Any]:
    if isinstance(raw, str | bytes) or not isinstance(raw, Sequence):
        raise _wrong(model, "did not return one list of numbers per text")
    try:
        # Row by row, so that a thread converting thousands of rows lets others run in between.
        rows = [_row(row) for row in raw]
    except (TypeError, ValueError, OverflowError):
        raise _wrong(model, "did not return one list of numbers per text") from None
    if len({row.shape for row in rows}) > 1:
        raise _wrong(model, "returned vectors of different lengths")
    if len(rows) == 1:
        return rows[0][np.newaxis]
    return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def _row(row: Any) -> NDArray[Any]:
    """Return a vector. Only numbers are numbers: no flag, and no text that looks like one."""
    if isinstance(row, list | tuple):
        if countOf(map(type, row), float) == len(row):  # as nearly always: packed, they take half of the time
            with suppress(OverflowError):  # one is too large
                return np.frombuffer(pack(f"{len(row)}f", *row), np.float32)
        elif not all(kind is float or kind is int or issubclass(kind, _NUMPY_NUMBERS) for kind in set(map(type, row))):
            raise TypeError("not a number")
    elif np.asarray(row).dtype.kind not in "fiu":
        raise TypeError("not a number")
    with np.errstate(over="ignore"):  # what becomes infinite is refused with the rest
        return np.asarray(row, dtype=np.float32)


def _wrong(model: str, what: str) -> ProviderError:
    return ProviderError(f"the embedder {model!r} {what}", provider=model)
