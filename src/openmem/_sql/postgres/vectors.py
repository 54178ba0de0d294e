"""Vectors as parameters of statements. What is read are the vectors of the package `pgvector`. Pure."""

from __future__ import annotations

import struct
from array import array
from typing import Final

from pgvector import HalfVector, Vector

from openmem._sql.postgres.rows import Row32
from openmem._sql.postgres.schema import vector_column

_DIMENSIONS: Final = struct.Struct(">HH")  # and zero


class PackedVector(Vector):
    """A vector that is packed at once: a plain `Vector` is copied three times on its way, which an `add` notices.

    Args:
        row: The numbers, in one dimension.
    """

    def __init__(self, row: Row32) -> None:
        self._packed = _DIMENSIONS.pack(len(row), 0) + row.astype(">f4").tobytes()

    def to_binary(self) -> bytes:
        """Return the form in which it is sent."""
        return self._packed

    @property
    def _value(self) -> array[float]:  # type: ignore[override]
        # For all else that a vector does, which nothing does on the way to the server.
        return Vector.from_binary(self._packed)._value


def as_vector(vector: Row32) -> Vector | HalfVector:
    """Return a vector in the precision in which it is kept."""
    return HalfVector(vector) if vector_column(len(vector)) == "embedding_half" else PackedVector(vector)
