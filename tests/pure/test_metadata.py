"""Metadata are checked and copied as JSON has them, and patched as RFC 7396 says."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._rules.drafting import make_change, make_draft, make_drafts
from openmem._rules.metadata import MAX_METADATA, check_metadata, patched, same_json
from openmem.errors import InvalidRequestError
from openmem.types import MemoryInput

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
objects = st.dictionaries(
    texts,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


class Level(IntEnum):
    LOW = 1


@given(value=objects)
def test_copy_is_what_json_gives_back(value: dict[str, Any]) -> None:
    copy = check_metadata(value)
    assert same_json(copy, json.loads(json.dumps(value)))
    assert copy is not value


def test_copy_has_plain_types_only() -> None:
    copy = check_metadata(OrderedDict(a=(1, Level.LOW), b=OrderedDict(c=[1.0, -0.0, 10**30, 1e300])))
    assert repr(copy) == "{'a': [1, 1], 'b': {'c': [1.0, -0.0, " + str(10**30) + ", 1e+300]}}"


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "metadata must be a JSON object, not int"),
        (["a"], "metadata must be a JSON object, not list"),
        ("{}", "metadata must be a JSON object, not str"),
        ({1: 2}, "a name in metadata must be a string, not int"),
        ({"a": [{None: 2}]}, r"a name in metadata.a[0] must be a string, not null"),
        ({"a": [1, {"b c": {"d": math.nan}}]}, "metadata.a[1]['b c'].d must be finite"),
        ({"a": math.inf}, "metadata.a must be finite"),
        ({"a": {1, 2}}, "metadata.a must be a JSON value, not set"),
        ({"a": b"b"}, "metadata.a must be a JSON value, not bytes"),
        ({"a": ["b", "\0"]}, "metadata.a[1] must not contain NUL or lone surrogates"),
        ({"a": {"\ud800": 1}}, "a name in metadata.a must not contain NUL or lone surrogates"),
        ({"a": "\udfff"}, "metadata.a must not contain NUL or lone surrogates"),
        ({"a": 10**4_300}, "metadata.a must have at most 4,200 digits"),
        (nested(9), "metadata must be nested at most 8 levels deep"),
        ({"a": [[[[[[[[]]]]]]]]}, "metadata must be nested at most 8 levels deep"),
        ({"a": "x" * MAX_METADATA}, f"metadata must have at most {MAX_METADATA} bytes of JSON, not 65544"),
        ({"a": [0] * 10_000_000}, f"metadata must have at most {MAX_METADATA} bytes of JSON"),
    ],
)
def test_wrong_metadata_are_refused_with_the_place(value: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_metadata(value)
    assert caught.value.message == said


@pytest.mark.parametrize(
    "letter", [pytest.param("x", id="one byte"), pytest.param("é", id="two"), pytest.param("\x01", id="six")]
)
def test_size_is_that_of_the_json_in_bytes(letter: str) -> None:
    room = MAX_METADATA - len('{"a":""}')
    most = room // len(json.dumps(letter, ensure_ascii=False).encode()[1:-1])
    check_metadata({"a": letter * most})
    with pytest.raises(InvalidRequestError, match="at most 65536 bytes"):
        check_metadata({"a": letter * (most + 1)})


def test_metadata_eight_levels_deep_and_numbers_of_many_digits_are_kept() -> None:
    deep = nested(8) | {"n": -(10**4_000)}
    assert check_metadata(deep) == deep


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # those of RFC 7396, appendix A, whose patch is an object
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        (None, {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_patch_merges_as_the_standard_says(target: Any, patch: Any, result: Any) -> None:
    before = json.dumps(target)
    assert patched(target, patch) == result
    assert json.dumps(target) == before


def test_patch_whose_result_is_too_large_is_refused() -> None:
    half = {"a": "x" * 40_000}
    with pytest.raises(InvalidRequestError, match="metadata must have at most 65536 bytes of JSON, not"):
        patched(half, {"b": "x" * 40_000})


def test_same_json_tells_numbers_apart() -> None:
    assert same_json({"a": [1.0, None]}, {"a": [1.0, None]})
    assert not any(same_json(one, other) for one, other in [(1, 1.0), (1, True), (0.0, -0.0), ({"a": 1}, {"a": 1.0})])


def test_draft_and_change_hold_checked_copies() -> None:
    given = {"a": (1, 2)}
    assert make_draft("tea", "ann", metadata=given).metadata == {"a": [1, 2]}
    assert make_draft("tea", "ann").metadata is None
    assert make_change(metadata=given).fields == {"metadata": {"a": [1, 2]}}
    assert make_change(metadata=None).fields == {"metadata": None}
    assert make_change(metadata_patch={"a": None}).fields == {"metadata_patch": {"a": None}}
    [one, other] = make_drafts(
        [{"content": "tea", "metadata": given}, MemoryInput(content="tea", user_id="ann", metadata={"b": 1})], "ann"
    )
    assert (one.metadata, other.metadata) == ({"a": [1, 2]}, {"b": 1})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metadata": {}, "metadata_patch": {}}, "metadata and metadata_patch exclude each other"),
        ({"metadata_patch": None}, "metadata_patch must be a JSON object, not null"),
        ({"metadata_patch": {"a": math.nan}}, "metadata_patch.a must be finite"),
        ({"metadata": []}, "metadata must be a JSON object, not list"),
    ],
)
def test_wrong_changes_of_metadata_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        make_change(**changes)
    assert caught.value.message == said


def test_item_with_wrong_metadata_is_named() -> None:
    with pytest.raises(InvalidRequestError, match=r"items\[1\]: metadata\.a must be finite"):
        make_drafts([{"content": "tea"}, {"content": "tea", "metadata": {"a": math.nan}}], "ann")


def test_size_is_told_under_the_name_of_the_argument() -> None:
    large = {"a": "x" * 65_536}
    for name in ("metadata", "metadata_patch"):
        with pytest.raises(InvalidRequestError) as caught:
            check_metadata(large, name)
        assert caught.value.message == f"{name} must have at most 65536 bytes of JSON, not 65544"


@given(
    value=st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=3) | st.integers(),
        scalars | st.floats() | st.text(max_size=3) | st.sampled_from([2**63, -(2**63) - 1, 10**5_000, Level.LOW]),
        max_size=3,
    )
)
def test_plain_metadata_are_judged_as_those_with_a_level_below(value: dict[Any, Any]) -> None:
    plain, nested = outcome(value), outcome({**value, "~": {}})
    if isinstance(plain, str):
        assert nested == plain
        return
    assert isinstance(nested, dict)
    del nested["~"]
    assert plain is not value
    assert same_json(plain, nested)
    assert [type(one) for one in plain.values()] == [int if one is Level.LOW else type(one) for one in value.values()]


def outcome(value: dict[Any, Any]) -> dict[str, Any] | str:
    """Return the copy, or what the error says."""
    try:
        return check_metadata(value)
    except InvalidRequestError as error:
        return error.message
