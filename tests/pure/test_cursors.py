"""Cursors survive the journey and nothing else passes for one."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.cursors import MAX_CURSOR, CursorTrail, decode_cursor, encode_cursor
from openmem.errors import InvalidRequestError, ProviderError

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
PART = st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1))
BINDING = ("user", "coding/*", None, True)
TYPES = (int, str)


def forged(body: object) -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refuse(text: object, kind: str = "list", types: Any = TYPES, binding: Any = BINDING) -> None:
    with pytest.raises(InvalidRequestError, match=r"^malformed cursor$"):
        decode_cursor(text, kind, types, binding)


@given(st.lists(PART, min_size=1, max_size=4))
def test_position_comes_back_as_it_was(position: list[str | int]) -> None:
    cursor = encode_cursor("list", position, BINDING)
    assert decode_cursor(cursor, "list", [type(part) for part in position], BINDING) == tuple(position)


def test_cursor_is_bounded_and_safe_in_a_url() -> None:
    cursor = encode_cursor("list", ("\U0001f600" * 256, -(2**63), "\U0001f600" * 256), BINDING)
    assert len(cursor) <= MAX_CURSOR
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    with pytest.raises(ValueError, match="at most"):
        encode_cursor("list", ("x" * 4000,), BINDING)


def test_cursor_says_nothing_about_the_query() -> None:
    cursor = encode_cursor("list", (1, "id"), ("alice@example.com", "health"))
    body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    assert b"alice" not in body
    assert b"health" not in body


@pytest.mark.parametrize("binding", [("other", *BINDING[1:]), BINDING[:3], (), ("user", "coding/*", None, 1)])
def test_cursor_of_another_query_is_refused(binding: tuple[object, ...]) -> None:
    refuse(encode_cursor("list", (1, "id"), BINDING), binding=binding)


def test_cursor_of_another_kind_or_shape_is_refused() -> None:
    cursor = encode_cursor("list", (1, "id"), BINDING)
    refuse(cursor, kind="export")
    refuse(cursor, types=(str, str))
    refuse(cursor, types=(int,))
    refuse(cursor, types=(int, str, str))


@given(st.one_of(st.text(), st.binary(), st.integers(), st.none(), st.lists(st.text())))
def test_junk_is_refused(junk: object) -> None:
    refuse(junk)


@given(st.text("ABCDabcd0123-_=+/ \n", max_size=60))
def test_junk_that_looks_like_base_64_is_refused(junk: str) -> None:
    refuse(junk)


JSON_VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just(1), st.just("list")),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(JSON_VALUE)
def test_any_json_is_refused(value: object) -> None:
    refuse(forged(value))


@given(st.binary())
def test_any_bytes_are_refused(body: bytes) -> None:
    refuse(forged(body))


@given(st.data())
def test_changed_cursor_is_refused(data: st.DataObject) -> None:
    cursor = encode_cursor("list", (1_700_000_000_000, "mem_1"), BINDING)
    place = data.draw(st.integers(0, len(cursor) - 1))
    sign = data.draw(st.characters())
    changed = cursor[:place] + sign + cursor[place + 1 :]
    with suppress(InvalidRequestError):
        position = decode_cursor(changed, "list", TYPES, BINDING)
        assert encode_cursor("list", position, BINDING) == changed


@pytest.mark.parametrize("extra", ["=", "==", "A", " ", "\n", "\x00", "é"])
def test_second_spelling_of_a_cursor_is_refused(extra: str) -> None:
    cursor = encode_cursor("list", (1, "id"), BINDING)
    refuse(cursor + extra)
    refuse(extra + cursor)


@pytest.mark.parametrize("part", [True, 1.0, 2**63, None, [1], {}, "\ud800", "\x00"])
def test_forged_position_is_refused(part: object) -> None:
    digest = json.loads(base64.urlsafe_b64decode(encode_cursor("list", (1, "id"), BINDING) + "=="))[2]
    for types in ((int, str), (str, str)):
        refuse(forged([1, "list", digest, part, "id"]), types=types)


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None])
def test_other_version_is_refused(version: object) -> None:
    digest = json.loads(base64.urlsafe_b64decode(encode_cursor("list", (1, "id"), BINDING) + "=="))[2]
    refuse(forged([version, "list", digest, 1, "id"]))


def test_deeply_nested_or_huge_junk_is_refused() -> None:
    refuse(forged(b"[" * 1500))
    refuse(forged(b"1" * 1400))
    refuse("A" * 10_000_000)


def test_cursor_that_comes_again_is_an_error_of_the_provider() -> None:
    trail = CursorTrail()
    assert [trail.follow(cursor) for cursor in ("a", "b", "\ud800", None, None)] == ["a", "b", "\ud800", None, None]
    for cursor in ("a", "\ud800"):
        with pytest.raises(ProviderError) as caught:
            trail.follow(cursor)
        assert caught.value.message == "the provider gave a cursor again that has led to a page already"
    assert CursorTrail().follow("a") == "a"


def test_cursor_has_a_longest_form() -> None:
    with pytest.raises(ValueError, match=r"^a cursor has at most 4096 characters$"):
        encode_cursor("list", ("a" * 4_000,), BINDING)
