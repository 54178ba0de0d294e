from __future__ import annotations

from typing import Any

import pytest

from openmem._text.shortened import shortened


@pytest.mark.parametrize("value", ["a" * 200, [1, 2, 3, 4, 5], 7, None, {"a": "b" * 500}])
def test_short_value_is_shown_as_it_is(value: Any) -> None:
    assert shortened(value) is value


def test_long_text_and_list_are_cut_and_say_their_size() -> None:
    assert repr(shortened("a" * 1_201)) == f"{'a' * 200!r}… (1,201 characters)"
    assert repr(shortened(list("abcdef"))) == "['a', 'b', 'c', 'd', 'e', … (6 in all)]"
