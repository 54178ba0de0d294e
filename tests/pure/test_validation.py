"""Arguments of the verbs: what is accepted, and that every refusal names the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.scopes import ScopePattern
from openmem._rules.validation import (
    check_app,
    check_conflict,
    check_content,
    check_id,
    check_ids,
    check_key,
    check_limit,
    check_query,
    check_time,
    check_timeout,
    check_token_budget,
    check_user_id,
    check_version,
    check_window,
    make_audit_query,
    make_list_query,
    make_search_query,
    make_view,
)
from openmem.errors import InvalidRequestError
from openmem.types import UTC

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NO_TEXT: list[object] = ["", "  ", "\t\n", 3, b"text", ["text"], 1.5, True, "a\x00b", "a\ud800b"]
NO_NUMBER: list[object] = ["1", True, False, math.nan, math.inf, -math.inf, Decimal(1), 1j, [1], 10**400]


def refused(check: Callable[[], object], name: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        check()
    assert caught.value.message.startswith(name), caught.value.message
    assert caught.value.code == "invalid_request"
    return caught.value.message


@pytest.mark.parametrize("value", [*NO_TEXT, None, "*", "a*", "a\nb", "a\x7fb", " a", "a ", "\u2003a", "a" * 257])
def test_bad_user_id_is_refused(value: object) -> None:
    refused(lambda: check_user_id(value), "user_id")


@pytest.mark.parametrize("value", ["a", "alice@example.com", "ünï", "a b", "%_'\"", "a" * 256, "用户"])
def test_good_user_id_is_kept(value: str) -> None:
    assert check_user_id(value) == value


@pytest.mark.parametrize("value", [None, "", " "])
def test_missing_user_id_is_said_to_be_required(value: object) -> None:
    message = refused(lambda: check_user_id(value), "user_id is required")
    assert "must be a non-empty string" in message


@pytest.mark.parametrize("value", [*NO_TEXT, None, "x" * 100_001])
def test_bad_content_is_refused(value: object) -> None:
    refused(lambda: check_content(value), "content")


def test_longest_content_is_kept_and_a_longer_one_names_the_limit() -> None:
    assert len(check_content("x" * 100_000)) == 100_000
    assert "100000" in refused(lambda: check_content("x" * 1_000_000), "content")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1))
def test_any_other_text_is_content(text: str) -> None:
    if text.isspace():
        refused(lambda: check_content(text), "content")
    else:
        assert check_content(text) == text


@pytest.mark.parametrize("value", [*NO_TEXT, None, "x" * 10_001])
def test_bad_query_is_refused(value: object) -> None:
    refused(lambda: check_query(value), "query")


@pytest.mark.parametrize("value", [*NO_TEXT, None, "a\nb", "x" * 257])
def test_bad_id_is_refused(value: object) -> None:
    refused(lambda: check_id(value), "id")


@pytest.mark.parametrize("value", [*NO_TEXT, "x" * 257])
def test_bad_key_is_refused(value: object) -> None:
    refused(lambda: check_key(value), "key")


@pytest.mark.parametrize("value", [*NO_TEXT, "a\nb", "x" * 101])
def test_bad_app_is_refused(value: object) -> None:
    refused(lambda: check_app(value), "app")


def test_key_and_app_may_be_absent() -> None:
    assert check_key(None) is None
    assert check_app(None) is None
    assert check_app("cursor") == "cursor"


@pytest.mark.parametrize("value", [*NO_NUMBER, 0, -1, -0.5])
def test_bad_timeout_is_refused(value: object) -> None:
    refused(lambda: check_timeout(value), "timeout")


@pytest.mark.parametrize(("value", "expected"), [(None, None), (1, 1.0), (0.001, 0.001), (np.float32(2), 2.0)])
def test_good_timeout_is_a_float(value: object, expected: float | None) -> None:
    assert check_timeout(value) == expected


@pytest.mark.parametrize("value", [0, -1, 501, True, False, 1.0, "5", None, math.nan, 10**30])
def test_bad_limit_is_refused(value: object) -> None:
    refused(lambda: check_limit(value, 500), "limit")


@pytest.mark.parametrize("value", [1, 500, np.int64(7)])
def test_good_limit_is_an_int(value: int) -> None:
    assert type(check_limit(value, 500)) is int


@pytest.mark.parametrize("value", [0, 1_000_001, "500", None, True])
def test_bad_token_budget_is_refused(value: object) -> None:
    refused(lambda: check_token_budget(value), "token_budget")


@pytest.mark.parametrize("value", [0, 2**31, True, "1"])
def test_bad_version_is_refused(value: object) -> None:
    refused(lambda: check_version(value), "if_version")


@pytest.mark.parametrize("value", ["", "SKIP", "merge", None, 1, ["skip"]])
def test_bad_conflict_is_refused(value: object) -> None:
    refused(lambda: check_conflict(value), "conflict must be one of skip, overwrite, duplicate")


@pytest.mark.parametrize(
    "value",
    [
        NOON.replace(tzinfo=None),
        "2026-01-31T12:00:00",
        "2026-01-31",
        "yesterday",
        "",
        1_700_000_000,
        NOON.date(),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    ],
)
def test_bad_time_is_refused(value: object) -> None:
    refused(lambda: check_time(value, "since"), "since")


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5))),
        "2026-01-31T12:00:00Z",
        "2026-01-31T17:00:00+05:00",
    ],
)
def test_good_time_comes_back_in_utc(value: object) -> None:
    checked = check_time(value, "since")
    assert checked == NOON
    assert checked is not None
    assert checked.tzinfo is UTC


def test_time_of_a_subclass_becomes_a_plain_datetime() -> None:
    class Stamp(datetime):
        pass

    assert type(check_time(Stamp(2026, 1, 31, 12, tzinfo=UTC), "since")) is datetime


@given(st.datetimes(timezones=st.timezones()))
def test_any_aware_time_keeps_its_instant(value: datetime) -> None:
    try:
        checked = check_time(value, "since")
    except InvalidRequestError:
        assert value.year in (1, 9999)
    else:
        assert checked == value.astimezone(UTC)


def test_empty_window_is_refused() -> None:
    refused(lambda: check_window(NOON, NOON), "valid_to must be later than valid_from")
    check_window(NOON, NOON + timedelta(microseconds=1))
    check_window(NOON, None)


def test_ids_are_checked_one_by_one() -> None:
    assert check_ids(["a", "b", "a"]) == ("a", "b")
    refused(lambda: check_ids(["a", ""]), "ids[1]")
    refused(lambda: check_ids("abc"), "ids must be a list")
    refused(lambda: check_ids(["a"] * 3, maximum=2), "ids must have at most 2")


def test_view_holds_what_was_given() -> None:
    view = make_view("u", "a/*", ["x", "y", "x"], "2026-01-31T12:00:00Z", True, True)
    assert view.user_id == "u"
    assert view.scope == ScopePattern("a", True)
    assert view.tags == ("x", "y")
    assert view.as_of == NOON
    assert view.include_superseded
    assert view.include_expired


VIEW_ERRORS: list[tuple[str, object]] = [
    ("scope", "a*"),
    ("scope", ""),
    ("tags", "abc"),
    ("tags", [""]),
    ("tags", ["a"] * 101),
    ("tags", [1]),
    ("tags", {"a": 1}),
    ("as_of", NOON.replace(tzinfo=None)),
    ("include_superseded", 1),
    ("include_expired", "yes"),
]


@pytest.mark.parametrize(("name", "value"), [*VIEW_ERRORS, ("user_id", "*")])
def test_bad_part_of_a_view_is_refused(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"user_id": "u", name: value}
    refused(lambda: make_view(**arguments), name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(error for error in VIEW_ERRORS if error[0] != "tags"),
        ("user_id", None),
        ("tag", ""),
        ("tag", ["a"]),
        ("tag", "x" * 201),
        ("since", "2026-01-31"),
        ("until", 5),
        ("limit", 0),
        ("limit", 501),
    ],
)
def test_bad_part_of_a_list_is_refused(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"user_id": "u", name: value}
    refused(lambda: make_list_query(**arguments), name)


@pytest.mark.parametrize("cursor", ["", 5, b"abc", "A" * 5000, ["a"]])
def test_impossible_cursor_is_malformed(cursor: object) -> None:
    assert refused(lambda: make_list_query("u", cursor=cursor), "malformed cursor") == "malformed cursor"


def test_list_query_holds_what_was_given() -> None:
    query = make_list_query("u", tag="x", since=NOON, until=NOON, limit=500, cursor="abc")
    assert query.view.tags == ("x",)
    assert (query.since, query.until, query.limit, query.cursor) == (NOON, NOON, 500, "abc")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *VIEW_ERRORS,
        ("user_id", ""),
        ("query", " "),
        ("limit", 1_001),
        ("limit", True),
        ("min_score", -0.01),
        ("min_score", 1.01),
        ("min_score", math.nan),
        ("min_score", "0.5"),
        ("mode", "semantic"),
        ("mode", None),
        ("explain", 1),
    ],
)
def test_bad_part_of_a_search_is_refused(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"query": "q", "user_id": "u", name: value}
    refused(lambda: make_search_query(**arguments), name)


def test_search_query_holds_what_was_given() -> None:
    query = make_search_query(
        "q", "u", limit=100, min_score=np.float32(0.5), mode="keyword", explain=True, action="context"
    )
    assert (query.text, query.limit, query.min_score, query.mode) == ("q", 100, 0.5, "keyword")
    assert (query.explain, query.action) == (True, "context")


@pytest.mark.parametrize(
    ("name", "value"),
    [("user_id", "a*"), ("app", ""), ("app", 1), ("since", "now"), ("limit", 1001), ("limit", 0)],
)
def test_bad_part_of_an_audit_is_refused(name: str, value: object) -> None:
    arguments: dict[str, Any] = {"user_id": "u", name: value}
    refused(lambda: make_audit_query(**arguments), name)


def test_audit_query_holds_what_was_given() -> None:
    query = make_audit_query("u", app="cursor", since=NOON, limit=1000)
    assert (query.user_id, query.app, query.since, query.limit) == ("u", "cursor", NOON, 1000)
