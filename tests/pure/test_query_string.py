"""Query strings: strict where a value or a name is wrong, silent about parameters that no one here knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from openmem._protocol.query_string import MAX_FIELDS, Parameters
from openmem.errors import InvalidRequestError
from openmem.types import UTC


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    return caught.value.message


def test_values_are_decoded_and_what_is_missing_is_none() -> None:
    got = Parameters(b"q=a+b%C3%A9&tags=x&tags=y&scope=")
    assert (got.text("q"), got.texts("tags"), got.text("scope")) == ("a bé", ["x", "y"], "")
    for query in (b"", b"other=1"):
        empty = Parameters(query)
        assert (empty.text("q"), empty.texts("tags"), empty.number("min_score"), empty.time("since")) == (None,) * 4
        assert (empty.word("mode", "hybrid"), empty.whole("limit", 5), empty.flag("explain")) == ("hybrid", 5, False)


@pytest.mark.parametrize("query", [b"q=%ff", b"q=\xc3\xa9", b"&".join([b"tags=x"] * (MAX_FIELDS + 1))])
def test_query_string_is_of_ascii_and_has_a_limit(query: bytes) -> None:
    message = "the query string must be percent-encoded UTF-8 with at most 200 parameters"
    assert refusal(lambda: Parameters(query)) == message


def test_query_string_may_have_as_many_parameters_as_the_limit_says() -> None:
    assert Parameters(b"&".join([b"tags=x"] * MAX_FIELDS)).texts("tags") == ["x"] * MAX_FIELDS


def test_misspelt_name_is_refused_and_a_foreign_one_is_not() -> None:
    assert refusal(lambda: Parameters(b"userid=ann")) == "the parameter 'userid' is unknown: did you mean 'user_id'?"
    assert Parameters(b"utm_source=mail&user_id=ann").text("user_id") == "ann"


def test_single_value_given_twice_is_refused() -> None:
    got = Parameters(b"q=a&q=b&limit=1&limit=2")
    assert refusal(lambda: got.text("q")) == "q must be given once"
    assert refusal(lambda: got.whole("limit", 5)) == "limit must be given once"


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("-7", -7), ("%2B7", 7), ("9" * 18, 10**18 - 1)])
def test_whole_number_is_read(text: str, number: int) -> None:
    assert Parameters(f"limit={text}".encode()).whole("limit", 5) == number


@pytest.mark.parametrize("text", ["", "1.0", "9" * 19, "1e3", "seven", "%D9%A7"])
def test_text_that_is_no_whole_number_is_refused(text: str) -> None:
    assert refusal(lambda: Parameters(f"limit={text}".encode()).whole("limit", 5)) == "limit must be a whole number"


@pytest.mark.parametrize(("text", "number"), [("0.5", 0.5), (".5", 0.5), ("1.", 1.0), ("-1e-3", -0.001), ("7", 7.0)])
def test_number_is_read(text: str, number: float) -> None:
    assert Parameters(f"min_score={text}".encode()).number("min_score") == number


@pytest.mark.parametrize("text", ["", "nan", "inf", ".", "1e", "1e1000", "1" * 31])
def test_text_that_is_no_number_is_refused(text: str) -> None:
    assert refusal(lambda: Parameters(f"min_score={text}".encode()).number("min_score")) == "min_score must be a number"


@pytest.mark.parametrize(("text", "flag"), [("true", True), ("1", True), ("false", False), ("0", False)])
def test_flag_is_read(text: str, flag: bool) -> None:
    assert Parameters(f"explain={text}".encode()).flag("explain") is flag


def test_text_that_is_no_flag_is_refused() -> None:
    assert refusal(lambda: Parameters(b"explain=yes").flag("explain")) == "explain must be true or false"


@pytest.mark.parametrize("text", ["2026-05-01T12:00:00Z", "2026-05-01T14:00:00%2B02:00", "2026-05-01T14:00:00+02:00"])
def test_time_is_read_also_where_its_plus_became_a_space(text: str) -> None:
    assert Parameters(f"since={text}".encode()).time("since") == datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_time_keeps_its_offset_and_must_be_one() -> None:
    got = Parameters(b"since=2026-05-01T12:00:00+0130").time("since")
    assert got == datetime(2026, 5, 1, 12, tzinfo=timezone(timedelta(hours=1, minutes=30)))
    message = "since must be ISO 8601 text such as 2026-01-31T12:00:00Z"
    assert refusal(lambda: Parameters(b"since=soon").time("since")) == message


def test_text_under_the_name_of_other_requests_is_refused_with_the_right_one() -> None:
    with pytest.raises(InvalidRequestError, match="'query' is unknown: did you mean 'q'"):
        Parameters(b"query=tea").text_named("q", elsewhere="query")
    assert Parameters(b"q=tea&query=milk").text_named("q", elsewhere="query") == "tea"
    assert Parameters(b"").text_named("q", elsewhere="query") is None
