"""Memories and changes are built out of good arguments only."""

from __future__ import annotations

import math
from collections import UserDict
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._rules.drafting import check_extensions, is_large, make_change, make_draft, make_drafts
from openmem.errors import InvalidRequestError
from openmem.types import UNSET, UTC, Memory, MemoryInput, MemorySource

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_draft_holds_what_was_given() -> None:
    draft = make_draft(
        "text",
        "u",
        scope="a/b",
        tags=["x", "y", "x"],
        source={"app": "cursor", "type": "explicit", "ref": "r", "x-more": [1]},
        confidence=np.float32(0.5),
        valid_from="2026-01-31T13:00:00+01:00",
        valid_to=NOON + timedelta(days=1),
        supersedes=["m1", "m2", "m1"],
        key="k",
        extensions={"x-a": {"b": (1, 2)}},
    )
    assert (draft.content, draft.user_id, draft.scope, draft.tags) == ("text", "u", "a/b", ("x", "y"))
    assert draft.source == {"app": "cursor", "type": "explicit", "ref": "r", "x-more": [1]}
    assert type(draft.confidence) is float
    assert draft.valid_from == NOON
    assert (draft.supersedes, draft.key) == (("m1", "m2"), "k")
    assert draft.extensions == {"x-a": {"b": [1, 2]}}
    assert (draft.id, draft.created_at, draft.version) == (None, None, 1)


def test_draft_of_two_arguments_has_no_more() -> None:
    draft = make_draft("text", "u")
    assert (draft.scope, draft.tags, draft.source, draft.confidence, draft.key) == (None,) * 5
    assert (draft.valid_from, draft.valid_to, draft.supersedes, dict(draft.extensions)) == (
        None,
        None,
        None,
        {},
    )


DRAFT_ERRORS: list[tuple[str, object]] = [
    ("content", ""),
    ("content", None),
    ("content", "a\x00"),
    ("content", "\udfff"),
    ("content", "x" * 1_000_000),
    ("user_id", "*"),
    ("user_id", None),
    ("scope", "a/*"),
    ("scope", "a//b"),
    ("scope", 1),
    ("tags", "abc"),
    ("tags", b"abc"),
    ("tags", {"a": 1}),
    ("tags", 5),
    ("tags", ["a"] * 10_000),
    ("tags[1]", ["a", " "]),
    ("tags[0]", ["x" * 201]),
    ("tags[0]", [None]),
    ("source", "cursor"),
    ("source", ["cursor"]),
    ("source.app", {"app": 1}),
    ("source.type", {"type": "guessed"}),
    ("source.ref", {"ref": "\ud800"}),
    ("'typ' is unknown in source: did you mean 'type'?", {"typ": "explicit"}),
    ("'App' is unknown in source: did you mean 'app'?", {"App": "cursor"}),
    ("'5' is unknown in source", {5: 1}),
    ("confidence", 1.0001),
    ("confidence", -1),
    ("confidence", math.nan),
    ("confidence", math.inf),
    ("confidence", True),
    ("confidence", "0.5"),
    ("valid_from", NOON.replace(tzinfo=None)),
    ("valid_to", "2026-01-31T12:00:00"),
    ("supersedes", "mem_1"),
    ("supersedes", ["m"] * 101),
    ("supersedes[0]", [""]),
    ("supersedes[0]", [1]),
    ("key", " "),
    ("key", 1),
]


@pytest.mark.parametrize(("name", "value"), DRAFT_ERRORS)
def test_bad_part_of_a_draft_is_refused_by_name(name: str, value: object) -> None:
    argument = "source" if "source" in name or "unknown" in name else name.partition("[")[0]
    arguments: dict[str, Any] = {"content": "text", "user_id": "u", argument: value}
    with pytest.raises(InvalidRequestError) as caught:
        make_draft(**arguments)
    assert caught.value.message.startswith(name)


def test_window_that_never_opens_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"^valid_to must be later than valid_from"):
        make_draft("text", "u", valid_from=NOON, valid_to=NOON.astimezone(timezone(timedelta(hours=3))))


def test_source_object_is_kept_as_a_plain_dict() -> None:
    source = MemorySource.model_validate({"app": "cursor", "x-page": 3})
    assert make_draft("text", "u", source=source).source == {"app": "cursor", "x-page": 3}


@pytest.mark.parametrize(
    "extensions",
    [
        {"y": 1},
        {"x-": 1},
        {"X-a": 1},
        {"": 1},
        {1: 1},
        {"x-a\n": 1},
        {"x-\ud800": 1},
        {"x-" + "a" * 300: 1},
        {"x-a": object()},
        {"x-a": {1, 2}},
        {"x-a": math.nan},
        {"x-a": {"b": [math.inf]}},
        {"x-a": b"bytes"},
        {"x-a": "\ud800"},
        {"x-a": {"b\x00": 1}},
        {"x-a": ["\\\x00"]},
        {"x-a": nested(65)},
        {"x-a": nested(100_000)},
        {"x-a": "y" * 1_000_001},
        {"x-a": "y" * 600_000, "x-b": "y" * 600_000},
        {"x-a": NOON},
    ],
)
def test_bad_extension_is_refused(extensions: dict[Any, object]) -> None:
    with pytest.raises(InvalidRequestError):
        make_draft("text", "u", extensions=extensions)


def test_unknown_argument_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequestError, match=r"^'priority' is unknown .* x-…"):
        make_draft("text", "u", extensions={"priority": 1})


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3).map("x-{}".format),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            lambda inner: st.lists(inner) | st.dictionaries(st.text("\\u0a"), inner),
            max_leaves=8,
        ),
    )
)
def test_extensions_come_back_as_they_were(extensions: dict[str, Any]) -> None:
    assert check_extensions(extensions) == extensions


def test_extension_with_a_written_escape_is_kept() -> None:
    assert check_extensions({"x-a": "\\u0000"}) == {"x-a": "\\u0000"}


@pytest.mark.parametrize("before", ["", "\\", "\\\\", "\\u0000", "é\\"])
@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {text: 1}, lambda text: [1, {"a": [text]}]])
def test_extension_with_nul_or_a_lone_surrogate_is_refused_whatever_stands_before_it(before: str, wrap: Any) -> None:
    for bad in ("\x00", "\x00\x00", "\ud800", "é\udfff"):
        with pytest.raises(InvalidRequestError, match="NUL or lone surrogates"):
            check_extensions({"x-a": wrap(before + bad)})
    assert check_extensions({"x-a": wrap(before + "u0000")}) == {"x-a": wrap(before + "u0000")}


def test_extensions_do_not_change_with_the_callers_object() -> None:
    given_value = {"x-a": [1]}
    draft = make_draft("text", "u", extensions=given_value)
    given_value["x-a"].append(2)
    assert draft.extensions == {"x-a": [1]}


def test_items_may_be_mappings_or_objects() -> None:
    items = [
        {"content": "one", "x-a": 1},
        UserDict({"content": "two", "user_id": "other"}),
        MemoryInput.model_validate({"content": "three", "user_id": "u", "tags": ["t"], "x-a": 2}),
        MemoryInput(content="four", user_id="u", source=MemorySource(app="cursor"), valid_from=NOON),
    ]
    one, two, three, four = make_drafts(items, "u")
    assert (one.content, one.user_id, one.extensions) == ("one", "u", {"x-a": 1})
    assert (two.content, two.user_id) == ("two", "other")
    assert (three.tags, three.extensions) == (("t",), {"x-a": 2})
    assert (four.source, four.valid_from) == ({"app": "cursor"}, NOON)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({}, "content must be a string"),
        ({"content": " "}, "content must not be blank"),
        ({"content": "x", "user_id": "*"}, "user_id"),
        ({"content": "x", "scoope": 1}, "'scoope' is unknown: did you mean 'scope'?"),
        ({"content": "x", "user": "u"}, "'user' is unknown: did you mean 'user_id'?"),
        ({"contnt": "x"}, "'contnt' is unknown: did you mean 'content'?"),
        ({"content": "x", "X-a": 1}, "'X-a' is unknown: did you mean 'x-a'?"),
        ({"content": "x", "__proto__": {}}, "'__proto__' is unknown in extensions: no name"),
        ({"note": "x"}, "content must be a string; it is missing, and unknown is 'note'"),
        ({"content": "x", "timeout": 1}, "'timeout' is unknown as"),
        ({"content": "x", 5: 1}, "'5' is unknown"),
        ({"content": "x", "x-a": object()}, "'x-a' must hold"),
        ({"content": "x", "id": "mem_1"}, "'id' is unknown"),
        ("text", "must be a mapping"),
        (None, "must be a mapping"),
        (Memory(id="m", content="x", user_id="u", created_at=NOON), "must be a mapping"),
        (MemoryInput.model_construct(content=5, user_id="u"), "content must be a string"),
    ],
)
def test_bad_item_is_refused_by_its_index(item: object, reason: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_drafts([{"content": "good"}, item], "u")
    assert caught.value.message.startswith(f"items[1]: {reason}")
    assert caught.value.details == {"index": 1}


def test_items_without_a_user_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"^items\[0\]: user_id is required"):
        make_drafts([{"content": "x"}])
    with pytest.raises(InvalidRequestError, match=r"^user_id"):
        make_drafts([], "*")


def test_change_holds_only_what_was_given() -> None:
    assert make_change().fields == {}
    assert make_change(content="new", if_version=3).fields == {"content": "new"}
    assert make_change(if_version=3).if_version == 3
    assert make_change(scope="a", tags=["x"], confidence=1, valid_to=NOON, supersedes=["m"]).fields == {
        "scope": "a",
        "tags": ("x",),
        "confidence": 1.0,
        "valid_to": NOON,
        "supersedes": ("m",),
    }


def test_none_clears_all_but_the_content() -> None:
    names = ("scope", "tags", "confidence", "valid_to", "supersedes")
    assert make_change(**dict.fromkeys(names)).fields == dict.fromkeys(names)
    with pytest.raises(InvalidRequestError, match=r"^content cannot be cleared"):
        make_change(content=None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content", ""),
        ("scope", "a/*"),
        ("tags", "abc"),
        ("confidence", 2),
        ("valid_to", "tomorrow"),
        ("supersedes", [""]),
        ("if_version", 0),
        ("if_version", True),
        ("if_version", UNSET),
    ],
)
def test_bad_part_of_a_change_is_refused_by_name(name: str, value: object) -> None:
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(InvalidRequestError, match=f"^{name}"):
        make_change(**arguments)


@pytest.mark.parametrize(
    ("values", "large"),
    [
        ((None, {}, {"x-a": "b" * 100_000}), False),
        (({"x-a": ["b"] * 1_990},), False),
        (({"x-a": ["b"] * 2_001},), True),
        (({f"x-{number}": number for number in range(2_001)},), True),
        (({"x-a": [{}] * 2_001},), True),
        (({"x-a": [[1] * 50] * 50},), True),
        (({"x-a": {"b": {"c": [1] * 2_001}}},), True),
        (tuple({"x-a": [1] * 30} for _ in range(100)), True),
    ],
)
def test_values_of_many_parts_are_told_from_long_ones(values: tuple[object, ...], large: bool) -> None:
    """A value of many parts takes long to check, however deep they lie; a long text does not."""
    assert is_large(*values) is large


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ({}, (False, None)),
        ({"if_absent": False}, (False, None)),
        ({"if_absent": None, "if_version": None}, (False, None)),
        ({"key": "k", "if_absent": True}, (True, None)),
        ({"key": "k", "if_absent": False, "if_version": 3}, (False, 3)),
    ],
)
def test_terms_of_a_key_are_those_given(given: dict[str, Any], terms: tuple[bool, int | None]) -> None:
    draft = make_draft("tea", "ann", **given)
    assert (draft.if_absent, draft.if_version, draft.index) == (*terms, None)
    items = [{"content": "milk"}, {"content": "tea", **given}]
    [plain, item] = make_drafts(items, "ann", 7)
    assert (item.if_absent, item.if_version) == terms
    assert (plain.index, item.index) == (None, 8 if any(terms) else None)  # asked for by errors only


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"if_absent": True}, "if_absent needs a key"),
        ({"if_version": 2}, "if_version needs a key"),
        ({"key": "k", "if_absent": True, "if_version": 2}, "if_absent and if_version exclude each other"),
        ({"key": "k", "if_absent": 1}, "if_absent must be True or False"),
        ({"key": "k", "if_version": 0}, "if_version must be between 1"),
        ({"key": "k", "if_version": True}, "if_version must be a whole number"),
    ],
)
def test_terms_that_say_nothing_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{reason}"):
        make_draft("tea", "ann", **given)
    with pytest.raises(InvalidRequestError, match=rf"^items\[0\]: {reason}"):
        make_drafts([{"content": "tea", **given}], "ann")


def test_flag_and_user_are_named_where_they_are_wrong() -> None:
    for refused in (lambda: make_draft("text", "u", searchable="no"), lambda: make_change(searchable="no")):
        with pytest.raises(InvalidRequestError, match=r"^searchable must be"):
            refused()
    assert make_change(searchable=False).fields == {"searchable": False}
    assert make_draft("text", "u", searchable=False).searchable is False
    with pytest.raises(InvalidRequestError, match=r"^user_id "):
        make_draft("text", "\u0153" * 257)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("contnet", "items[0]: 'contnet' is unknown: did you mean 'content'? content is missing"),
        ("zebra", "items[0]: content must be a string; it is missing, and unknown is 'zebra'"),
    ],
)
def test_item_without_a_text_is_told_so(name: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_drafts([{name: "tea"}], "u")
    assert caught.value.message == message
