from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from openmem._embedding.vectors import join_rows, unit_rows
from openmem.errors import ProviderError


def rows(raw: Any, count: int = 2, dim: int | None = 2) -> Any:
    return unit_rows(raw, count=count, dim=dim, model="m")


@pytest.mark.parametrize(
    "raw",
    [
        [[3.0, 4.0], [0.0, -2.0]],
        ((3, 4), (0, -2)),
        [np.array([3.0, 4.0]), np.array([0.0, -2.0])],
        np.array([[3.0, 4.0], [0.0, -2.0]], np.float32),
        np.array([[3.0, 4.0], [0.0, -2.0]], np.float16),
        np.array([[3, 4], [0, -2]]),
        np.array([[3.0, 0.0], [4.0, -2.0]]).T,
    ],
)
def test_every_accepted_form_becomes_float32_rows_of_length_one(raw: Any) -> None:
    made = rows(raw)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_allclose(made, [[0.6, 0.8], [0.0, -1.0]], rtol=1e-6)


def test_zero_vector_stays_zero() -> None:
    np.testing.assert_array_equal(rows([[0.0, 0.0], [0.0, 5.0]]), [[0.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_very_small_and_very_large_vectors_get_length_one(size: float) -> None:
    made = rows(np.array([[size, size], [size, 0.0]], np.float32))
    np.testing.assert_allclose(made, [[math.sqrt(0.5)] * 2, [1.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_vectors_in_double_precision_get_length_one(size: float) -> None:
    made = rows(np.array([[size, size], [size, 0.0]]))
    np.testing.assert_allclose(made, [[math.sqrt(0.5)] * 2, [1.0, 0.0]], rtol=1e-6)


def test_matrix_of_the_embedder_is_not_changed() -> None:
    own = np.array([[3.0, 4.0], [0.0, 1.0]], np.float32)
    made = rows(own)
    made[:] = 9.0
    np.testing.assert_array_equal(own, np.array([[3.0, 4.0], [0.0, 1.0]], np.float32))


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (None, "did not return one list of numbers per text"),
        ("ab", "did not return one list of numbers per text"),
        (3, "did not return one list of numbers per text"),
        ([1.0, 2.0], "did not return one list of numbers per text"),
        ([["a", "b"], ["c", "d"]], "did not return one list of numbers per text"),
        ([[None, 1.0], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([["1.0", "2.0"], ["3.0", "4.0"]], "did not return one list of numbers per text"),
        ([[1.0, "2.0"], [3.0, 4.0]], "did not return one list of numbers per text"),
        ([[True, False], [True, True]], "did not return one list of numbers per text"),
        ([[True, 1.0], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([[np.True_, 1.0], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([[1.0, b"2"], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([[1.0, 1j], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([[1.0, Decimal(1)], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([np.array([True, False]), np.array([True, True])], "did not return one list of numbers per text"),
        ([np.array(["1", "2"]), np.array(["1", "2"])], "did not return one list of numbers per text"),
        (np.array([[True, False], [True, True]]), "did not return one list of numbers per text"),
        ([[1.0, 10**400], [1.0, 1.0]], "did not return one list of numbers per text"),
        ([[1.0, 1e300], [1.0, 1.0]], "returned numbers that are not finite"),
        (np.zeros(2), "did not return one list of numbers per text"),
        (np.zeros((2, 2, 2)), "did not return one list of numbers per text"),
        (np.array([["a", "b"], ["c", "d"]]), "did not return one list of numbers per text"),
        (np.array([[None, 1], [1, 1]], dtype=object), "did not return one list of numbers per text"),
        ([[1.0, 2.0]], "returned 1 vectors for 2 texts"),
        (np.ones((3, 2)), "returned 3 vectors for 2 texts"),
        ([], "returned 0 vectors for 2 texts"),
        ([[1.0], [2.0]], "returned vectors of 1 numbers, but its dim is 2"),
        (np.ones((2, 3)), "returned vectors of 3 numbers, but its dim is 2"),
        ([[1.0, 2.0], [1.0]], "returned vectors of different lengths"),
        ([[1.0, math.nan], [1.0, 1.0]], "returned numbers that are not finite"),
        (np.array([[1.0, math.inf], [1.0, 1.0]]), "returned numbers that are not finite"),
    ],
)
def test_unusable_vectors_are_a_clear_error(raw: Any, complaint: str) -> None:
    with pytest.raises(ProviderError) as caught:
        rows(raw)
    assert caught.value.message == f"the embedder 'm' {complaint}"


def test_unknown_dim_takes_what_comes_but_not_nothing() -> None:
    assert rows([[1.0, 0.0, 0.0]] * 2, dim=None).shape == (2, 3)
    with pytest.raises(ProviderError):
        rows([[], []], dim=None)


def test_parts_are_joined_in_order() -> None:
    one, two = rows([[1, 0], [0, 1]]), rows([[0, -1], [-1, 0]])
    assert join_rows([one, two], dim=2, model="m").tolist() == [[1, 0], [0, 1], [0, -1], [-1, 0]]
    assert join_rows([], dim=7, model="m").shape == (0, 7)
    with pytest.raises(ProviderError, match="different lengths"):
        join_rows([one, rows([[1, 0, 0]] * 2, dim=3)], dim=None, model="m")


def test_single_part_is_handed_on_without_a_copy() -> None:
    one = rows([[1, 0], [0, 1]])
    assert join_rows([one], dim=2, model="m") is one
    assert join_rows([], dim=None, model="m").shape == (0, 0)
    assert join_rows([], dim=2, model="m").dtype == np.float32


def test_single_vector_in_single_precision_gets_length_one() -> None:
    own = np.array([[3.0, 4.0]], np.float32)
    made = unit_rows(own, count=1, dim=2, model="m")
    np.testing.assert_allclose(made, [[0.6, 0.8]], rtol=1e-6)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(own, np.array([[3.0, 4.0]], np.float32))
    zero = unit_rows(np.zeros((1, 2), np.float32), count=1, dim=2, model="m")
    assert zero.tolist() == [[0.0, 0.0]]
    tiny = unit_rows(np.array([[0.0, 1e-20]], np.float32), count=1, dim=2, model="m")
    assert tiny.tolist() == [[0.0, 1.0]]
    with pytest.raises(ProviderError, match=r"^the embedder 'm' returned numbers that are not finite$"):
        unit_rows(np.array([[0.0, np.nan]], np.float32), count=1, dim=2, model="m")


def test_embedder_is_named_as_the_one_who_failed() -> None:
    with pytest.raises(ProviderError) as caught:
        unit_rows([[1.0]], count=1, dim=2, model="m")
    assert (caught.value.provider, caught.value.message) == (
        "m",
        "the embedder 'm' returned vectors of 1 numbers, but its dim is 2",
    )


def test_no_vectors_for_no_texts_are_an_empty_matrix() -> None:
    assert unit_rows([], count=0, dim=None, model="m").shape == (0, 1)
