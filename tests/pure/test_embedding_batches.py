from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._embedding.batches import (
    batches,
    cut_text,
    is_too_much,
    mark_cut,
    marked,
    other_length,
    shortest_first,
    vectors_of_reply,
)
from openmem._model.requests import Draft
from openmem.errors import OMPError, ProviderError


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
    with pytest.raises(ProviderError, match=complaint) as caught:
        vectors_of_reply(reply, 2, "s")
    assert caught.value.provider == "s"
    assert caught.value.message.startswith("s answered ")


def test_text_is_cut_by_characters_and_by_bytes_and_no_character_in_two() -> None:
    assert cut_text("abcdef", 4, 100) == "abcd"
    assert cut_text("abcdef", 100, 4) == "abcd"
    assert cut_text("éé", 100, 3) == "é"
    assert cut_text("éé", 100, 4) == "éé"
    assert cut_text("\ud800b", 100, 100) == "\ud800b"
    assert cut_text("\ud800bc", 100, 2) == "?b"


@pytest.mark.parametrize(
    ("status", "message", "is_so"),
    [
        (413, "no", True),
        (400, "maximum context length is 8192 tokens", True),
        (422, "Too MANY inputs", True),
        (422, "the model is wrong", False),
        (401, "too many", False),
        (500, "too large", False),
        (None, "too large", False),
    ],
)
def test_refusal_for_length_is_told_from_others(status: int | None, message: str, is_so: bool) -> None:
    details = None if status is None else {"status": status}
    assert is_too_much(OMPError(message, details=details)) is is_so


CUT = {"x-openmem": {"embedding_truncated": True}}


@pytest.mark.parametrize(
    ("extensions", "cut", "result"),
    [
        ({"x-a": 1}, True, {"x-a": 1, **CUT}),
        ({"x-a": 1}, False, {"x-a": 1}),
        (CUT, False, {}),
        ({"x-openmem": {"embedding_truncated": True, "b": 2}}, False, {"x-openmem": {"b": 2}}),
        ({"x-openmem": {"b": 2}}, True, {"x-openmem": {"b": 2, "embedding_truncated": True}}),
        ({"x-openmem": 7}, False, {"x-openmem": 7}),
        ({"x-openmem": 7}, True, CUT),
        ({"x-openmem": {}}, False, {}),
    ],
)
def test_mark_of_a_cut_text_comes_and_goes(extensions: dict[str, Any], cut: bool, result: dict[str, Any]) -> None:
    assert marked(extensions, cut) == result


def test_drafts_are_marked_where_their_text_was_cut_and_nowhere_else() -> None:
    plain, other, before = (Draft("t", "ann", extensions=each) for each in ({}, {"x-openmem": {"b": 2}}, CUT))
    drafts = [plain, other, before]
    assert mark_cut([plain], ()) == [plain]
    assert [draft.extensions for draft in mark_cut(drafts, {0})] == [CUT, {"x-openmem": {"b": 2}}, {}]
    assert [draft.extensions for draft in mark_cut(drafts, ())] == [{}, {"x-openmem": {"b": 2}}, {}]
    assert [draft.extensions for draft in mark_cut([plain, plain], {1})] == [{}, CUT]
    assert plain.extensions == {}
    assert before.extensions == CUT


def test_vectors_of_another_length_say_what_can_be_done() -> None:
    assert other_length("mini", 8, 4).message == (
        "embedder: model 'mini' has 8 dimensions, but this store's vectors of it have 4: open the store "
        "with dimensions 4, or move it to 8 with reembed()"
    )
