"""The arguments of the verbs as requests: each lands in its place, and a wrong one is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from openmem._model.requests import AuditQuery, Change, Draft, HistoryQuery, ListQuery, SearchQuery, View
from openmem._model.scopes import parse_pattern
from openmem._rules import drafting
from openmem._rules.drafting import is_large, make_change, make_draft, make_drafts
from openmem._rules.validation import (
    check_conflict,
    make_audit_query,
    make_history_query,
    make_list_query,
    make_search_query,
    make_view,
)
from openmem.errors import InvalidRequestError
from openmem.types import UTC, MemoryInput, MemorySource

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
END = NOW + timedelta(days=1)
ARGUMENTS: dict[str, Any] = {
    "content": "tea",
    "user_id": "ann",
    "scope": "s/t",
    "tags": ["x", "y", "x"],
    "source": {"app": "chat", "type": "explicit", "ref": "r"},
    "confidence": 1,
    "valid_from": NOW.isoformat(),
    "valid_to": END,
    "supersedes": ["o"],
    "key": "k",
}
FULL = Draft(
    content="tea",
    user_id="ann",
    scope="s/t",
    tags=("x", "y"),
    source={"app": "chat", "type": "explicit", "ref": "r"},
    confidence=1.0,
    valid_from=NOW,
    valid_to=END,
    supersedes=("o",),
    key="k",
)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        call()
    return caught.value.message


def test_draft_has_each_argument_in_its_place() -> None:
    assert make_draft(**ARGUMENTS) == FULL
    assert make_draft("tea", "ann") == Draft("tea", "ann")
    own = make_draft("tea", "ann", extensions={"x-a": 1}, members={"later": [1]})
    assert own.extensions == {"x-a": 1, "later": [1]}


def test_item_is_a_mapping_or_an_object_and_may_leave_out_its_user() -> None:
    without_user = {name: value for name, value in ARGUMENTS.items() if name != "user_id"}
    own = {**without_user, "x-a": 1, "later": 2}
    assert make_drafts([ARGUMENTS, own], "ann") == [FULL, make_draft(**ARGUMENTS, members={"x-a": 1, "later": 2})]
    assert make_drafts([MemoryInput(**ARGUMENTS)]) == [FULL]
    assert make_drafts([MemoryInput.model_validate({"content": "tea", "user_id": "bob", "x-a": 1})], "ann") == [
        Draft("tea", "bob", extensions={"x-a": 1})
    ]
    assert make_drafts([{**ARGUMENTS, "source": MemorySource(**ARGUMENTS["source"])}]) == [FULL]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "content must be a string, not NoneType"),
        ({"content": "tea"}, "user_id is required: user_id must be a non-empty string"),
        ({"contnet": "tea", "user_id": "ann"}, "'contnet' is unknown: did you mean 'content'? content is missing"),
        ({"zebra": 1, "apple": 2}, "content must be a string; it is missing, and unknown is 'apple'"),
        (7, "must be a mapping or a MemoryInput, not int"),
        ({**ARGUMENTS, "id": "a"}, "'id' is unknown as an extra field: the store sets it"),
        ({**ARGUMENTS, "taggs": 1}, "'taggs' is unknown: did you mean 'tags'? An extra field may be named 'x-taggs'"),
        ({**ARGUMENTS, "source": 7}, "source must be a MemorySource or a mapping, not int"),
        ({**ARGUMENTS, "source": {"type": "other"}}, "source.type must be one of extracted, explicit, imported"),
        ({**ARGUMENTS, "source": {"app": ""}}, "source.app must not be blank"),
        ({**ARGUMENTS, "source": {"app": "a" * 201}}, "source.app must have at most 200 characters, not 201"),
        ({**ARGUMENTS, "source": {"ref": 7}}, "source.ref must be a string, not int"),
        ({**ARGUMENTS, "valid_to": NOW}, "valid_to must be later than valid_from"),
    ],
)
def test_item_that_is_wrong_is_named_by_its_number(item: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_drafts([ARGUMENTS, item], start=5)
    assert caught.value.message == f"items[6]: {message}"
    assert caught.value.details == {"index": 6}


def test_source_keeps_members_of_its_own() -> None:
    source = {"app": "chat", "page": 3}
    assert make_draft("tea", "ann", source=source).source == source
    assert make_draft("tea", "ann", source={"app": None, "page": 3}).source == {"page": 3}
    assert refusal(lambda: make_draft("tea", "ann", source={"apps": "chat"})) == (
        "'apps' is unknown in source: did you mean 'app'? An extra field may be named 'x-apps'"
    )


def test_change_has_what_is_to_change_and_nothing_else() -> None:
    assert make_change() == Change({})
    given: dict[str, Any] = {
        "content": "new",
        "scope": "s",
        "tags": ["x"],
        "confidence": 0,
        "valid_to": END,
        "supersedes": ["o"],
    }
    assert make_change(**given, if_version=3) == Change(
        {"content": "new", "scope": "s", "tags": ("x",), "confidence": 0.0, "valid_to": END, "supersedes": ("o",)}, 3
    )
    cleared = dict.fromkeys(("scope", "tags", "confidence", "valid_to", "supersedes"))
    assert make_change(**cleared) == Change(cleared)
    own = make_change(extensions={"x-a": None}, members={"later": 1})
    assert own == Change({"extensions": {"x-a": None, "later": 1}})
    assert refusal(lambda: make_change(content=None)) == "content cannot be cleared"
    assert refusal(lambda: make_change(if_version=0)) == "if_version must be between 1 and 2147483647"


@pytest.mark.parametrize(
    ("extensions", "message"),
    [
        ({"x-": 1}, "'x-' is unknown in extensions: no argument or field; your own are named x-…"),
        ({7: 1}, "'7' is unknown in extensions: no argument or field; your own are named x-…"),
        ({"tgas": 1}, "'tgas' is unknown in extensions: did you mean 'tags'? your own are named x-…"),
        ({"x-a": float("nan")}, None),
        ({"x-a": {1}}, None),
        ({"x-a": "\0"}, "'x-a' must not contain NUL or lone surrogates"),
        ({"x-a": "\ud800"}, "'x-a' must not contain NUL or lone surrogates"),
        ({"x-a": "x" * 1_000_000}, "extensions must have at most 1000000 characters of JSON"),
        ({"x-" + "a" * 255: 1}, "the name of an extension must have at most 256 characters, not 257"),
    ],
)
def test_extension_that_cannot_be_kept_is_refused(extensions: dict[Any, Any], message: str | None) -> None:
    said = refusal(lambda: make_draft("tea", "ann", extensions=extensions))
    if message is None:
        assert said.startswith("'x-a' must hold finite JSON values: ")
    else:
        assert said == message


def test_extensions_may_be_nested_so_deep_and_be_so_long() -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    assert make_draft("tea", "ann", extensions={"x-a": nested(64)}).extensions == {"x-a": nested(64)}
    assert refusal(lambda: make_draft("tea", "ann", extensions={"x-a": nested(65)})) == (
        "'x-a' must be nested at most 64 levels deep"
    )
    most = drafting.MAX_EXTENSIONS - 2
    assert make_draft("tea", "ann", extensions={"x-a": "x" * most}).extensions == {"x-a": "x" * most}


@pytest.mark.parametrize("text", ["\\u0000", "a\\\\u0000", "\\"])
def test_backslash_before_u0000_is_no_nul(text: str) -> None:
    assert make_draft("tea", "ann", extensions={"x-a": text}).extensions == {"x-a": text}
    for spoilt in (f"{text}\0", f"\0{text}", f"{text}\\\0"):
        assert "NUL" in refusal(lambda spoilt=spoilt: make_draft("tea", "ann", extensions={"x-a": spoilt}))  # type: ignore[misc]


def test_value_is_large_by_the_number_of_its_parts() -> None:
    most = drafting._MANY_PARTS
    assert not is_large([0] * (most - 1))
    assert is_large([0] * most)
    assert is_large({"a": [[0] * (most // 2)], "b": ((0,) * (most // 2),)})
    assert not is_large("x" * 10 * most, None, 7, [], {})


def test_view_has_each_argument_in_its_place() -> None:
    view = make_view("ann", "s/*", ["x"], NOW, True, True)
    assert view == View("ann", parse_pattern("s/*"), ("x",), NOW, True, True)
    assert make_view("ann") == View("ann")
    for name in ("include_superseded", "include_expired"):
        flag: dict[str, Any] = {name: True}
        assert make_view("ann", **flag) == View("ann", **flag)
        flag[name] = 1
        assert refusal(lambda flag=flag: make_view("ann", **flag)) == f"{name} must be True or False, not int"  # type: ignore[misc]
    assert refusal(lambda: make_view("ann", as_of=7)) == "as_of must be a datetime or ISO 8601 text, not int"


def test_list_has_each_argument_in_its_place() -> None:
    query = make_list_query(
        "ann",
        scope="s",
        tag="x",
        since=NOW,
        until=END,
        limit=500,
        cursor="c",
        as_of=END,
        include_superseded=True,
        include_expired=True,
    )
    assert query == ListQuery(View("ann", parse_pattern("s"), ("x",), END, True, True), NOW, END, 500, "c")
    assert make_list_query("ann") == ListQuery(View("ann"), limit=50)
    assert refusal(lambda: make_list_query("ann", limit=501)) == "limit must be between 1 and 500"
    assert refusal(lambda: make_list_query("ann", tag="t" * 201)) == "tag must have at most 200 characters, not 201"
    assert refusal(lambda: make_list_query("ann", since=7)).startswith("since must be")
    assert refusal(lambda: make_list_query("ann", until=7)).startswith("until must be")


@pytest.mark.parametrize("cursor", ["", 7, "c" * 4_097])
def test_cursor_that_is_none_is_malformed(cursor: Any) -> None:
    assert refusal(lambda: make_list_query("ann", cursor=cursor)) == "malformed cursor"
    assert refusal(lambda: make_history_query("a", None, cursor=cursor)) == "malformed cursor"
    assert make_history_query("a", None, cursor="c" * 4_096).cursor == "c" * 4_096


def test_history_has_each_argument_in_its_place() -> None:
    assert make_history_query("a", "ann", limit=1_000, cursor="c") == HistoryQuery("a", "ann", 1_000, "c")
    assert make_history_query("a", None) == HistoryQuery("a", None, 100, None)
    assert refusal(lambda: make_history_query("a", None, limit=1_001)) == "limit must be between 1 and 1000"


def test_search_has_each_argument_in_its_place() -> None:
    query = make_search_query(
        "tea",
        "ann",
        scope="s",
        limit=100,
        min_score=0.5,
        tags=["x"],
        mode="vector",
        as_of=NOW,
        include_superseded=True,
        include_expired=True,
        explain=True,
        action="context",
    )
    view = View("ann", parse_pattern("s"), ("x",), NOW, True, True)
    assert query == SearchQuery("tea", view, 100, 0.5, "vector", True, "context")
    assert make_search_query("tea", "ann") == SearchQuery("tea", View("ann"), limit=10)
    assert refusal(lambda: make_search_query("tea", "ann", limit=1_001)) == "limit must be between 1 and 1000"
    assert (
        refusal(lambda: make_search_query("tea", "ann", mode="both")) == "mode must be one of hybrid, vector, keyword"
    )
    assert refusal(lambda: make_search_query("tea", "ann", action="zzz")) == "purpose must be one of search, context"
    assert refusal(lambda: make_search_query("tea", "ann", explain=1)) == "explain must be True or False, not int"
    assert refusal(lambda: make_search_query("tea", "ann", min_score=2)) == "min_score must be between 0 and 1, not 2"
    for mode in ("hybrid", "keyword"):
        assert make_search_query("tea", "ann", mode=mode).mode == mode


def test_audit_has_each_argument_in_its_place() -> None:
    assert make_audit_query("ann", app="chat", since=NOW, limit=1_000) == AuditQuery("ann", "chat", NOW, 1_000)
    assert make_audit_query("ann") == AuditQuery("ann", limit=100)
    assert refusal(lambda: make_audit_query("ann", limit=1_001)) == "limit must be between 1 and 1000"
    assert refusal(lambda: make_audit_query("ann", since=7)).startswith("since must be")


def test_conflict_is_one_of_three() -> None:
    assert [check_conflict(each) for each in ("skip", "overwrite", "duplicate")] == ["skip", "overwrite", "duplicate"]
    assert refusal(lambda: check_conflict("zzz")) == "conflict must be one of skip, overwrite, duplicate"


def test_binding_of_a_list_is_all_but_its_size_and_place() -> None:
    view = View("ann", parse_pattern("s"), ("x", "y"), NOW, True, False)
    query = ListQuery(view, NOW, END, 5, "c")
    assert query.binding == ("ann", "s", "x", "y", NOW, END, NOW, True, False)
    seen = ListQuery(View("ann", visible=(parse_pattern("a/*"),)))
    assert seen.binding == ("ann", "None", None, None, None, False, False, ["a/*"])
