"""Memory ids carry the time and the user's bucket."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.ids import (
    BUCKETS,
    bucket_of,
    is_made_from,
    is_own_id,
    may_be_of,
    new_memory_id,
    new_memory_ids,
    origin_of,
    routing_bucket,
    substitute_id,
)

USER = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MILLIS = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=9, max_size=9)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@given(USER, MILLIS, ENTROPY)
def test_new_id_is_a_ulid_of_time_bucket_and_entropy(user_id: str, millis: int, entropy: bytes) -> None:
    memory_id = new_memory_id(user_id, millis=millis, entropy=entropy)
    assert len(memory_id) == 30
    value = 0
    for sign in memory_id.removeprefix("mem_"):
        value = value * 32 + ALPHABET.index(sign)
    assert value >> 80 == millis
    assert value >> 68 & 0xFFF == routing_bucket(user_id)
    assert value & (1 << 68) - 1 == int.from_bytes(entropy, "big") >> 4


@given(USER, MILLIS, ENTROPY)
def test_bucket_of_a_new_id_is_that_of_its_user(user_id: str, millis: int, entropy: bytes) -> None:
    memory_id = new_memory_id(user_id, millis=millis, entropy=entropy)
    assert is_own_id(memory_id)
    assert bucket_of(memory_id) == routing_bucket(user_id)


@given(USER, MILLIS, ENTROPY)
def test_origin_of_a_new_id_is_what_it_was_made_of(user_id: str, millis: int, entropy: bytes) -> None:
    memory_id = new_memory_id(user_id, millis=millis, entropy=entropy)
    assert origin_of(memory_id) == (millis, int.from_bytes(entropy, "big") >> 4)


@given(USER, st.integers(1, 50), st.integers(0, 2**71 - 1), st.integers(0, 2**71 - 1))
def test_ids_are_made_from_their_own_start_alone(user_id: str, count: int, start: int, other: int) -> None:
    ids = new_memory_ids([user_id] * count, datetime(2026, 3, 1, tzinfo=UTC), start)
    assert all(is_made_from(memory_id, start) for memory_id in ids)
    assert not is_made_from(ids[-1], start + 16 * count)
    assert abs(other - start) < 1 << 28 or not any(is_made_from(memory_id, other) for memory_id in ids)
    assert not is_made_from("mem_1", start)


@given(USER)
def test_bucket_is_the_start_of_the_hash(user_id: str) -> None:
    assert routing_bucket(user_id) == int(hashlib.sha256(user_id.encode()).hexdigest()[:3], 16) < BUCKETS


def test_bucket_stays_the_same_for_ever() -> None:
    assert [routing_bucket(user) for user in ("alice", "bob", "é")] == [0x2BD, 0x81B, 0x4A9]


@given(MILLIS, MILLIS, ENTROPY, ENTROPY)
def test_ids_of_one_user_sort_by_time(one: int, two: int, first: bytes, second: bytes) -> None:
    older = new_memory_id("u", millis=min(one, two), entropy=first)
    newer = new_memory_id("u", millis=max(one, two), entropy=second)
    assert one == two or older < newer


@pytest.mark.parametrize(
    "foreign",
    [
        "",
        "mem_",
        "mem_abc123",
        "01HF7YAT00SA9MYY9F90SBGGBH",
        "mem_01HF7YAT00SA9MYY9F90SBGGB",
        "mem_01HF7YAT00SA9MYY9F90SBGGBHH",
        "mem_01hf7yat00sa9myy9f90sbggbh",
        "mem_81HF7YAT00SA9MYY9F90SBGGBH",
        "mem_01HF7YAT00SA9MYY9F90SBGGBI",
        "mem_01HF7YAT00SA9MYY9F90SBGGBH\n",
        "mem_01HF7YAT00SA9MYY9F90SBGGB٣",
    ],
)
def test_foreign_id_has_no_bucket(foreign: str) -> None:
    assert not is_own_id(foreign)
    assert bucket_of(foreign) is None


@given(st.text())
def test_any_text_is_judged_without_an_error(text: str) -> None:
    assert is_own_id(text) is (bucket_of(text) is not None)


@pytest.mark.parametrize(("millis", "size"), [(-1, 9), (2**48, 9), (0, 8), (0, 10)])
def test_impossible_parts_are_refused(millis: int, size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        new_memory_id("u", millis=millis, entropy=bytes(size))


def test_ids_of_one_batch_are_distinct_and_in_order() -> None:
    ids = new_memory_ids(["ann"] * 1000, datetime(2026, 1, 2, tzinfo=UTC), 2**71 - 1)
    assert ids == sorted(set(ids))
    assert all(is_own_id(one) and bucket_of(one) == routing_bucket("ann") for one in ids)


def test_id_of_our_own_form_means_users_of_its_bucket_only() -> None:
    memory_id = new_memory_id("ann", millis=1, entropy=bytes(9))
    others = [f"user-{number}" for number in range(20_000)]
    mates = [user for user in others if routing_bucket(user) == routing_bucket("ann")]
    assert mates != []
    assert [user for user in others if may_be_of(memory_id, user)] == mates
    assert may_be_of(memory_id, "ann")
    assert all(may_be_of("note-1", user) for user in others)


def test_substitute_of_an_id_is_the_users_own_and_the_same_each_time() -> None:
    time = datetime(2026, 1, 1, tzinfo=UTC)
    first = substitute_id("note-1", "ann", time)
    assert substitute_id("note-1", "ann", time) == first
    assert bucket_of(first) == routing_bucket("ann")
    assert len({first, substitute_id("note-2", "ann", time), substitute_id("note-1", "bob", time)}) == 3
    assert is_own_id(substitute_id("note-1", "ann", None))
    assert is_own_id(substitute_id("note-1", "ann", datetime(1, 1, 1, tzinfo=UTC)))


def test_ids_of_a_batch_carry_the_time_in_milliseconds_and_count_upwards() -> None:
    now = datetime(2026, 3, 1, 0, 0, 0, 123_999, tzinfo=UTC)
    origins = [origin_of(each) for each in new_memory_ids(["ann", "bob"], now, 16 * 7)]
    assert origins == [(1_772_323_200_123, 7), (1_772_323_200_123, 8)]


@pytest.mark.parametrize(
    ("millis", "size", "message"),
    [
        (0, 8, "entropy must be 9 bytes"),
        (-1, 9, "millis must be from 0 to 2**48 - 1"),
        (1 << 48, 9, "millis must be from 0 to 2**48 - 1"),
    ],
)
def test_impossible_part_is_named(millis: int, size: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        new_memory_id("ann", millis=millis, entropy=bytes(size))
    assert str(caught.value) == message


def test_id_is_made_from_a_start_as_far_as_a_batch_can_reach() -> None:
    def with_bits(bits: int) -> str:
        return new_memory_id("ann", millis=1, entropy=(bits << 4).to_bytes(9, "big"))

    assert is_made_from(with_bits(5), 5 << 4)
    assert is_made_from(with_bits(5 + (1 << 24) - 1), 5 << 4)
    assert not is_made_from(with_bits(5 + (1 << 24)), 5 << 4)
    assert not is_made_from(with_bits(4), 5 << 4)
    assert not is_made_from("other", 0)


def test_substitute_carries_the_time_of_the_memory_or_none() -> None:
    later = datetime(2026, 3, 1, tzinfo=UTC)
    assert (origin_of(substitute_id("a", "ann", later)) or (0, 0))[0] == int(later.timestamp() * 1000)
    assert (origin_of(substitute_id("a", "ann", None)) or (1, 0))[0] == 0
    assert (origin_of(substitute_id("a", "ann", datetime(1950, 1, 1, tzinfo=UTC))) or (1, 0))[0] == 0
    assert len({substitute_id(*names, None) for names in (("a", "ann"), ("a", "bob"), ("b", "ann"))}) == 3
