"""Each check returns the clean value, or says what is wrong with which argument."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from openmem._model import checks
from openmem.errors import InvalidRequestError
from openmem.types import UTC

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MANY = [f"id-{number}" for number in range(101)]


class Text(str):
    """A text of a class of its own."""

    __slots__ = ()


class Moment(datetime):
    """A time of a class of its own, as pandas and frozen clocks have."""


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "note must be a string, not int"),
        ("", "note must not be blank"),
        (" \n", "note must not be blank"),
        ("abcdef", "note must have at most 5 characters, not 6"),
        ("a\0", "note must not contain NUL or lone surrogates"),
        ("a\ud800", "note must not contain NUL or lone surrogates"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(value: Any, message: str) -> None:
    assert refusal(lambda: checks.check_text(value, "note", 5)) == message


def test_text_becomes_a_plain_one() -> None:
    assert checks.check_text("a\n b", "note", 5) == "a\n b"
    plain = checks.check_text(Text("abcde"), "note", 5)
    assert (plain, type(plain)) == ("abcde", str)


@pytest.mark.parametrize("sign", ["\x00", "\x1f", "\x7f", "\x9f", "\ud800"])
def test_control_characters_are_refused_where_they_have_no_place(sign: str) -> None:
    assert refusal(lambda: checks.check_text(f"a{sign}", "note", 5, control=False)) == (
        "note must not contain control characters or lone surrogates"
    )
    assert checks.check_text("a b\xa0~", "note", 5, control=False) == "a b\xa0~"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.check_content(None), "content must be a string, not NoneType"),
        (lambda: checks.check_content("c" * 100_001), "content must have at most 100000 characters, not 100001"),
        (lambda: checks.check_query(None), "query must be a string, not NoneType"),
        (lambda: checks.check_query("q" * 10_001), "query must have at most 10000 characters, not 10001"),
        (lambda: checks.check_user_id(None), "user_id is required: user_id must be a non-empty string"),
        (lambda: checks.check_user_id(""), "user_id is required: user_id must be a non-empty string"),
        (lambda: checks.check_user_id("  "), "user_id is required: user_id must be a non-empty string"),
        (lambda: checks.check_user_id(7), "user_id must be a string, not int"),
        (lambda: checks.check_user_id("u" * 257), "user_id must have at most 256 characters, not 257"),
        (lambda: checks.check_user_id("a\n"), "user_id must not contain control characters or lone surrogates"),
        (lambda: checks.check_user_id("a*"), "user_id must name one user: '*' is not allowed"),
        (lambda: checks.check_user_id(" a"), "user_id must not start or end with white space"),
        (lambda: checks.check_user_id("a "), "user_id must not start or end with white space"),
        (lambda: checks.check_owner(""), "user_id is required: user_id must be a non-empty string"),
        (lambda: checks.check_size("é" * 385, "key"), "key must have at most 768 bytes of UTF-8, not 770"),
        (lambda: checks.check_id("i" * 257), "id must have at most 256 characters, not 257"),
        (lambda: checks.check_id("i\x7f", "ids[3]"), "ids[3] must not contain control characters or lone surrogates"),
        (lambda: checks.check_key("k" * 257), "key must have at most 256 characters, not 257"),
        (lambda: checks.check_key("𝄞" * 193), "key must have at most 768 bytes of UTF-8, not 772"),
        (lambda: checks.check_app("a" * 101), "app must have at most 100 characters, not 101"),
        (lambda: checks.check_app("a\n"), "app must not contain control characters or lone surrogates"),
        (lambda: checks.check_instance(7, str, "retry"), "retry must be of the class str, not int"),
        (lambda: checks.check_extra([]), "extra must be a mapping, not list"),
        (lambda: checks.check_number(True, "share"), "share must be a number, not bool"),
        (lambda: checks.check_number("1", "share"), "share must be a number, not str"),
        (lambda: checks.check_number(Decimal(1), "share"), "share must be a number, not Decimal"),
        (lambda: checks.check_number(10**400, "share"), "share must be finite"),
        (lambda: checks.check_number(float("nan"), "share"), "share must be finite"),
        (lambda: checks.check_unit(-0.01, "share"), "share must be between 0 and 1, not -0.01"),
        (lambda: checks.check_unit(1.01, "share"), "share must be between 0 and 1, not 1.01"),
        (lambda: checks.check_unit("1", "share"), "share must be a number, not str"),
        (lambda: checks.check_timeout(0), "timeout must be above 0 seconds, not 0"),
        (lambda: checks.check_timeout(-1.5), "timeout must be above 0 seconds, not -1.5"),
        (lambda: checks.check_timeout("1"), "timeout must be a number, not str"),
        (lambda: checks.check_limit(0, 5), "limit must be between 1 and 5"),
        (lambda: checks.check_limit(6, 5, "size"), "size must be between 1 and 5"),
        (lambda: checks.check_limit(True, 5), "limit must be a whole number, not bool"),
        (lambda: checks.check_limit(1.0, 5), "limit must be a whole number, not float"),
        (lambda: checks.check_token_budget(1_000_001), "token_budget must be between 1 and 1000000"),
        (lambda: checks.check_version(0), "if_version must be between 1 and 2147483647"),
        (lambda: checks.check_version(2**31, "version"), "version must be between 1 and 2147483647"),
        (lambda: checks.check_flag(1, "explain"), "explain must be True or False, not int"),
        (lambda: checks.check_callable(7, "on_progress"), "on_progress must be a function"),
        (
            lambda: checks.check_choice("hybird", ("hybrid", "vector"), "mode"),
            "mode must be one of hybrid, vector: did you mean 'hybrid'?",
        ),
        (lambda: checks.check_choice(7, ("hybrid", "vector"), "mode"), "mode must be one of hybrid, vector"),
        (lambda: checks.check_time(7, "since"), "since must be a datetime or ISO 8601 text, not int"),
        (lambda: checks.check_time("soon", "since"), "since must be ISO 8601 text such as 2026-01-31T12:00:00+00:00"),
        (
            lambda: checks.check_time("2026-05-01T12:00:00", "since"),
            "since must be timezone-aware: give it an offset such as +00:00",
        ),
        (
            lambda: checks.check_time(datetime(2026, 5, 1), "since"),
            "since must be timezone-aware: give it an offset such as +00:00",
        ),
        (
            lambda: checks.check_time("0001-01-01T00:00:00+14:00", "since"),
            "since must lie between the years 1 and 9999 in UTC",
        ),
        (lambda: checks.check_window(NOW, NOW), "valid_to must be later than valid_from"),
        (lambda: checks.check_tags("x"), "tags must be a list of strings, not str"),
        (lambda: checks.check_tags(b"x"), "tags must be a list of strings, not bytes"),
        (lambda: checks.check_tags({"x": 1}), "tags must be a list of strings, not dict"),
        (lambda: checks.check_tags(MANY), "tags must have at most 100 entries, not 101"),
        (lambda: checks.check_tags(["x", "t" * 201]), "tags[1] must have at most 200 characters, not 201"),
        (lambda: checks.check_tags(["x", ""], "labels"), "labels[1] must not be blank"),
        (lambda: checks.check_supersedes(MANY), "supersedes must have at most 100 entries, not 101"),
        (
            lambda: checks.check_supersedes(["a", "b\n"]),
            "supersedes[1] must not contain control characters or lone surrogates",
        ),
        (
            lambda: checks.check_supersedes(["a", "𝄞" * 193]),
            "supersedes[1] must have at most 768 bytes of UTF-8, not 772",
        ),
        (lambda: checks.check_ids(7), "ids must be a list of strings, not int"),
        (lambda: checks.check_ids(["a", 7]), "ids[1] must be a string, not int"),
        (lambda: checks.check_ids(["a"] * 10_001), "ids must have at most 10000 entries, not 10001"),
        (lambda: checks.check_request_id("a" * 65), "request_id must be 1 to 64 letters, digits, '.', '_' or '-'"),
        (lambda: checks.check_request_id(7), "request_id must be 1 to 64 letters, digits, '.', '_' or '-'"),
    ],
)
def test_value_that_is_wrong_is_refused_by_its_name(call: Callable[[], Any], message: str) -> None:
    assert refusal(call) == message


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda: checks.check_content("c" * 100_000), "c" * 100_000),
        (lambda: checks.check_query("q" * 10_000), "q" * 10_000),
        (lambda: checks.check_user_id("u" * 256), "u" * 256),
        (lambda: checks.check_owner(None), None),
        (lambda: checks.check_owner("ann"), "ann"),
        (lambda: checks.check_size("é" * 384, "key"), "é" * 384),
        (lambda: checks.check_size("𝄞" * 192, "key"), "𝄞" * 192),
        (lambda: checks.check_key(None), None),
        (lambda: checks.check_key("k\n" * 128), "k\n" * 128),
        (lambda: checks.check_app(None), None),
        (lambda: checks.check_app("a" * 100), "a" * 100),
        (lambda: checks.check_instance(None, str, "retry"), None),
        (lambda: checks.check_instance("a", str, "retry"), "a"),
        (lambda: checks.check_extra(None), None),
        (lambda: checks.check_extra({"x-a": 1}), {"x-a": 1}),
        (lambda: checks.check_number(Fraction(1, 2), "share"), 0.5),
        (lambda: checks.check_unit(None, "share"), None),
        (lambda: checks.check_unit(0, "share"), 0.0),
        (lambda: checks.check_unit(1, "share"), 1.0),
        (lambda: checks.check_timeout(None), None),
        (lambda: checks.check_timeout(0.5), 0.5),
        (lambda: checks.check_limit(1, 5), 1),
        (lambda: checks.check_limit(5, 5), 5),
        (lambda: checks.check_token_budget(1_000_000), 1_000_000),
        (lambda: checks.check_version(2**31 - 1), 2**31 - 1),
        (lambda: checks.check_flag(False, "explain"), False),
        (lambda: checks.check_choice(Text("vector"), ("hybrid", "vector"), "mode"), "vector"),
        (lambda: checks.check_time(None, "since"), None),
        (lambda: checks.check_time("2026-05-01T14:00:00+02:00", "since"), NOW),
        (lambda: checks.check_time(NOW.astimezone(timezone(timedelta(hours=-3))), "since"), NOW),
        (lambda: checks.check_tags(None), None),
        (lambda: checks.check_tags(["b", "a", "b"]), ("b", "a")),
        (lambda: checks.check_tags(["t" * 200, *MANY[:99]]), ("t" * 200, *MANY[:99])),
        (lambda: checks.check_supersedes(None), None),
        (lambda: checks.check_supersedes(("a", "a", "b")), ("a", "b")),
        (lambda: checks.check_ids(frozenset(["a"])), ("a",)),
        (lambda: checks.check_request_id("A-z_0.9"), "A-z_0.9"),
        (lambda: checks.check_request_id("a" * 64), "a" * 64),
    ],
)
def test_value_that_is_right_is_returned_clean(call: Callable[[], object], wanted: object) -> None:
    got = call()
    assert got == wanted
    assert type(got) is type(wanted)


def test_time_of_another_class_becomes_a_plain_one() -> None:
    got = checks.check_time(Moment(2026, 5, 1, 12, tzinfo=UTC), "since")
    assert (got, type(got)) == (NOW, datetime)


def test_open_window_and_one_that_lasts_pass() -> None:
    checks.check_window(None, NOW)
    checks.check_window(NOW, None)
    checks.check_window(NOW, NOW + timedelta(microseconds=1))
    checks.check_callable(None, "on_progress")
    checks.check_callable(print, "on_progress")
