"""JSON in the body of a request: what is wrong with it is said, and nothing is guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openmem._protocol.json_bodies import (
    as_whole,
    check_json_type,
    check_lines_type,
    parse_object,
    refuse_unknown,
    text_member,
)
from openmem._protocol.refusals import UnsupportedMediaError
from openmem.errors import InvalidRequestError, OMPError


def refusal(call: Callable[[], Any], kind: type[OMPError] = InvalidRequestError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return caught.value.message


def test_object_is_read() -> None:
    assert parse_object('{"a": [1, 1.5, null, {"é": true}]}'.encode()) == {"a": [1, 1.5, None, {"é": True}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\xff", "the body must be UTF-8"),
        (b"{", "the body is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"[1]", "the body must be a JSON object"),
        (b"7", "the body must be a JSON object"),
        (b'{"a": 1, "a": 2}', "the body names a member of an object twice"),
        (b'{"b": {"a": 1, "a": 2}}', "the body names a member of an object twice"),
        (b'{"a": NaN}', "the body is not JSON: NaN is no JSON value"),
        (b'{"a": -Infinity}', "the body is not JSON: -Infinity is no JSON value"),
        (b'{"a":' * 100_000, "the body is nested too deeply"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "the body holds a number that is too long"),
    ],
)
def test_body_that_is_no_object_says_why(body: bytes, message: str) -> None:
    assert refusal(lambda: parse_object(body)) == message


@pytest.mark.parametrize(
    "kind",
    [
        *(
            None,
            "",
            "application/json",
            "Application/JSON ",
            "application/problem+json",
            "application/json; charset=UTF-8",
        ),
        *('application/json; charset="utf8"; q=1', "application/json;charset=us-ascii", "application/json; q=1"),
    ],
)
def test_body_may_be_said_to_be_json_or_nothing(kind: str | None) -> None:
    check_json_type(kind, None)
    check_json_type(kind, " Identity ")


@pytest.mark.parametrize(
    ("kind", "encoding", "message"),
    [
        ("text/plain", None, "the body must be application/json"),
        ("text/x+json", None, "the body must be application/json"),
        ("application/xml", None, "the body must be application/json"),
        ("application/json", "gzip", "the body must not be compressed"),
        ("application/json; charset=latin-1", None, "the body must be UTF-8"),
    ],
)
def test_body_of_another_type_is_refused(kind: str, encoding: str | None, message: str) -> None:
    assert refusal(lambda: check_json_type(kind, encoding), UnsupportedMediaError) == message


def test_lines_may_be_said_to_be_lines() -> None:
    for kind in ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", None):
        check_lines_type(kind, None)
    wrong = "the body must be application/x-ndjson"
    assert refusal(lambda: check_lines_type("text/plain", None), UnsupportedMediaError) == wrong
    assert refusal(lambda: check_lines_type(None, "br"), UnsupportedMediaError) == "the body must not be compressed"


def test_unknown_member_is_named_with_what_may_be_meant() -> None:
    known = frozenset({"user_id", "ids"})
    refuse_unknown({"ids": 1, "user_id": 2}, known)
    assert refusal(lambda: refuse_unknown({"userid": 1}, known)) == "'userid' is unknown: did you mean 'user_id'?"
    assert refusal(lambda: refuse_unknown({"zebra": 1}, known)) == (
        "'zebra' is unknown: the body may hold ids, user_id"
    )


def test_member_that_must_be_a_text_is_one_or_missing() -> None:
    assert text_member({"a": "x"}, "a") == "x"
    assert text_member({"a": None}, "a") is text_member({}, "a") is None
    assert refusal(lambda: text_member({"a": 7}, "a")) == "a must be a string, not int"


def test_whole_number_may_be_written_with_a_point() -> None:
    assert (as_whole(1.0), type(as_whole(1.0))) == (1, int)
    assert (as_whole(1.5), as_whole("1.0"), as_whole(True)) == (1.5, "1.0", True)
