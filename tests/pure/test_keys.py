"""Secrets and ids: their form, and what compares equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.keys import hash_of, id_of_secret, is_key_id, is_secret_of, new_key_id, new_secret


@given(st.integers(0, 2**62 - 1), st.binary(min_size=32, max_size=32))
def test_secret_holds_its_id(number: int, token: bytes) -> None:
    key_id = new_key_id(number)
    secret = new_secret(key_id, token)
    assert is_key_id(key_id)
    assert len(secret) == 60
    assert id_of_secret(secret) == key_id
    assert is_secret_of(secret, hash_of(secret))


@given(st.sets(st.integers(0, 2**62 - 1), min_size=2, max_size=2), st.binary(min_size=32, max_size=32))
def test_other_numbers_make_other_ids_and_hashes(numbers: set[int], token: bytes) -> None:
    one, two = (new_secret(new_key_id(number), token) for number in numbers)
    assert one != two
    assert not is_secret_of(one, hash_of(two))


@pytest.mark.parametrize("stored", [None, "", "0" * 64, "omp"])
def test_nothing_is_the_secret_of_what_is_no_hash(stored: str | None) -> None:
    assert not is_secret_of(new_secret("0" * 12, bytes(32)), stored)


@given(st.text())
def test_no_other_text_is_taken_for_a_secret(text: str) -> None:
    assert id_of_secret(text) is None
