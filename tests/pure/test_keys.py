"""Secrets and ids: their form, and what compares equal."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.access import Access
from openmem._model.keys import (
    KeyInfo,
    check_grants,
    hash_of,
    id_of_secret,
    is_key_id,
    is_secret_of,
    new_key_id,
    new_secret,
)
from openmem._model.scopes import parse_grant
from openmem.errors import InvalidRequestError
from openmem.types import UTC


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


NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
READ = parse_grant("read:coding/*")


def test_id_of_a_key_is_its_number_in_base_36_lowest_first() -> None:
    assert new_key_id(0) == "0" * 12
    assert new_key_id(35 + 36 * 10) == "za" + "0" * 10
    assert new_key_id(36**11) == "0" * 11 + "1"
    assert new_secret("0" * 12, bytes(32)) == "omp_" + "0" * 12 + "_" + "A" * 43


def test_hash_of_a_secret_is_the_one_that_stores_hold() -> None:
    assert hash_of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert not is_key_id("0" * 11)
    assert not is_key_id("A" * 12)
    assert not is_key_id(7)
    assert id_of_secret(7) is None


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"expires_at": NOW + timedelta(microseconds=1)}, "active"),
        ({"expires_at": NOW}, "expired"),
        ({"revoked_at": NOW + timedelta(days=1)}, "revoked"),
        ({"revoked_at": NOW, "expires_at": NOW}, "revoked"),
    ],
)
def test_key_is_active_until_it_expires_or_is_revoked(fields: dict[str, Any], state: str) -> None:
    key = KeyInfo("0" * 12, "chat", "ann", (READ,), NOW, **fields)
    assert key.state(NOW) == state
    assert key.access == Access("ann", (READ,))


def test_grants_are_given_as_texts_or_objects_without_repetitions() -> None:
    assert check_grants(["read:coding/*", READ, "admin:*"]) == (READ, parse_grant("admin:*"))
    assert len(check_grants([f"read:s{number}" for number in range(100)])) == 100


@pytest.mark.parametrize(
    ("grants", "message"),
    [
        ("read:*", "grants must be a list, not str"),
        ({"read:*"}, "grants must be a list, not set"),
        ([], "grants must have 1 to 100 entries, such as read:coding/*"),
        (["read:*"] * 101, "grants must have 1 to 100 entries, such as read:coding/*"),
        (["read:*", "read"], "grants[1] must have the form verb:scope, such as read:coding/*"),
    ],
)
def test_grants_that_are_none_are_refused(grants: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_grants(grants)
    assert caught.value.message == message
