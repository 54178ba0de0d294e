from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._embedding.batches import batches, shortest_first, vectors_of_reply
from openmem.errors import ProviderError


@given(st.lists(st.text(max_size=30)), st.integers(1, 8), st.integers(1, 60))
def test_batches_keep_every_text_in_order_and_within_limits(texts: list[str], count: int, chars: int) -> None:
    runs = list(batches(texts, max_count=count, max_chars=chars))
    assert [text for run in runs for text in run] == texts
    for run in runs:
        assert 1 <= len(run) <= count
        assert len(run) == 1 or sum(map(len, run)) <= chars


def test_batches_are_as_full_as_the_limits_allow() -> None:
    assert list(batches(["aa", "b", "cc", "d"], max_count=3, max_chars=3)) == [["aa", "b"], ["cc", "d"]]
    assert list(batches(["a"] * 5, max_count=2, max_chars=99)) == [["a", "a"], ["a", "a"], ["a"]]


def test_shortest_text_comes_first() -> None:
    assert shortest_first(["ccc", "a", "bb", "d"]) == [1, 3, 2, 0]


def test_reply_is_put_in_the_order_of_the_texts() -> None:
    data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
    assert vectors_of_reply({"data": data}, 2, "s") == [[1.0], [2.0]]
    assert vectors_of_reply({"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]}, 2, "s") == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (None, "no embeddings"),
        ([], "no embeddings"),
        ({"data": None}, "no embeddings"),
        ({"data": [{"index": 0, "embedding": [1.0]}]}, "1 embeddings for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1.0]}] * 2}, "two embeddings for one text"),
        ({"data": [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}]}, "cannot be read"),
        ({"data": [{"index": 0, "embedding": [1.0]}, {"index": -1, "embedding": [1.0]}]}, "cannot be read"),
        ({"data": [{"index": 0, "embedding": [1.0]}, {"index": 1}]}, "cannot be read"),
        ({"data": [{"index": 0, "embedding": [1.0]}, 3]}, "cannot be read"),
        ({"data": [{"index": 0, "embedding": [1.0]}, {"index": "1", "embedding": [1.0]}]}, "cannot be read"),
    ],
)
def test_reply_of_another_shape_is_an_error(reply: Any, complaint: str) -> None:
    with pytest.raises(ProviderError, match=complaint):
        vectors_of_reply(reply, 2, "s")
