"""JSON that programs exchange."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.strict_json import JsonError, is_nested_within, load_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if parts is None else 1 + max(map(depth_of, parts), default=0)


@given(JSON)
def test_json_that_was_written_is_read_again(value: Any) -> None:
    assert load_json(json.dumps(value)) == value


@given(JSON, st.integers(0, 6))
def test_depth_counts_empty_containers_too(value: Any, levels: int) -> None:
    assert is_nested_within(value, levels) == (depth_of(value) <= levels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":1,"a":1}', "names a member of an object twice"),
        ('[{"b":{"a":1,"\\u0061":2}}]', "names a member of an object twice"),
        ("NaN", "is not JSON: NaN"),
        ('{"a":-Infinity}', "is not JSON: -Infinity"),
        ("[" * 100_000 + "]" * 100_000, "is nested too deeply"),
        ("1" * 5_000, "holds a number that is too long"),
        ("", "is not JSON"),
        ("{} {}", "is not JSON"),
    ],
)
def test_json_that_cannot_be_exchanged_is_refused(text: str, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        load_json(text)
