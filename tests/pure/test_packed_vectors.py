"""A vector that goes to Postgres is sent as the package `pgvector` sends it."""

from __future__ import annotations

import numpy as np
import pytest
from pgvector import HalfVector, Vector

from openmem._sql.postgres.rows import Row32
from openmem._sql.postgres.schema import MAX_HALF, MAX_PLAIN
from openmem._sql.postgres.vectors import PackedVector, as_vector

ROWS = (
    np.array([1.5, -2.0, 0.1], dtype=np.float32),
    np.zeros(1, dtype=np.float32),
    np.arange(20, dtype=np.float32)[::2],
    np.array([np.finfo(np.float32).max, np.finfo(np.float32).tiny, -0.0], dtype=np.float32),
)


@pytest.mark.parametrize("row", ROWS)
def test_packed_vector_is_sent_as_a_plain_one(row: Row32) -> None:
    packed = PackedVector(row)
    assert packed.to_binary() == Vector(row).to_binary()
    assert packed == Vector(row) == packed
    assert (packed.to_list(), packed.dimensions(), repr(packed)) == (row.tolist(), len(row), repr(Vector(row)))


@pytest.mark.parametrize(
    ("length", "kind"), [(MAX_PLAIN, PackedVector), (MAX_PLAIN + 1, HalfVector), (MAX_HALF + 1, PackedVector)]
)
def test_vectors_of_middle_length_are_sent_in_half_precision(length: int, kind: type) -> None:
    assert type(as_vector(np.ones(length, dtype=np.float32))) is kind
