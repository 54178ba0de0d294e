from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._retrieval.ranking import (
    AT_ONCE,
    FEW,
    FREQUENT_FROM,
    K1,
    B,
    Parts,
    Postings,
    best,
    bm25,
    clean_query,
    cosine,
    cosine_of,
    frequent_terms,
    top,
)


def _postings(term: str, found: dict[int, int]) -> Postings:
    positions = np.array(sorted(found), dtype=np.int64)
    return Postings(term, positions, np.array([found[int(p)] for p in positions], dtype=np.float32))


def _all(count: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.ones(count, dtype=np.bool_)


def test_bm25_is_the_formula_as_a_share_of_every_known_word_once() -> None:
    lengths = np.array([4, 8, 12], dtype=np.int64)
    unknown = _postings("cocoa", {})
    scores = bm25([_postings("tea", {0: 2}), _postings("milk", {0: 1, 1: 1}), unknown], lengths, _all(3))
    idf = {"tea": math.log(1 + 2.5 / 1.5), "milk": math.log(1 + 1.5 / 2.5)}

    def part(term: str, frequency: int, length: int) -> float:
        return idf[term] * frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * length / 8))

    best = sum(idf.values())
    assert scores[0] == pytest.approx((part("tea", 2, 4) + part("milk", 1, 4)) / best, rel=1e-5)
    assert scores[1] == pytest.approx(part("milk", 1, 8) / best, rel=1e-5)
    assert scores[2] == 0


def test_a_row_of_mean_length_with_each_known_word_once_scores_one() -> None:
    lengths = np.array([5, 5], dtype=np.int64)
    postings = [_postings("tea", {0: 1, 1: 1}), _postings("milk", {0: 1}), _postings("cocoa", {})]
    assert bm25(postings, lengths, _all(2))[0] == pytest.approx(1.0)


def test_hidden_rows_have_no_score_and_do_not_move_those_of_the_others() -> None:
    lengths = np.array([5, 5, 500], dtype=np.int64)
    alone = bm25([_postings("tea", {0: 1})], lengths[:2], _all(2))
    hidden = bm25([_postings("tea", {0: 1, 2: 9})], lengths, np.array([True, True, False]))
    assert hidden[:2] == pytest.approx(alone)
    assert hidden[2] == 0


def test_bm25_without_rows_or_terms_is_zero() -> None:
    assert bm25([], np.array([3], dtype=np.int64), _all(1)).tolist() == [0.0]
    assert bm25([], np.array([], dtype=np.int64), _all(0)).tolist() == []


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 30), st.data())
def test_top_is_sorted_within_the_candidates_and_newest_first_among_equals(
    values: list[int], limit: int, data: st.DataObject
) -> None:
    flags = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    scores = np.array([value / 10 for value in values], dtype=np.float32)
    rids = np.arange(100, 100 + len(values), dtype=np.int64)
    chosen = top(scores, np.array(flags), rids, limit, None).tolist()
    expected = sorted((i for i, flag in enumerate(flags) if flag), key=lambda i: (-values[i], -i))[:limit]
    assert chosen == expected


def test_top_leaves_out_what_scores_below_the_minimum() -> None:
    scores = np.array([0.2, 0.5, 0.9], dtype=np.float32)
    assert top(scores, _all(3), np.arange(3), 10, 0.5).tolist() == [2, 1]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=40),
    st.integers(1, 40),
    st.none() | st.integers(0, 10),
)
def test_best_of_few_rows_is_what_top_finds(rows: list[tuple[int, int]], limit: int, least: int | None) -> None:
    scores = np.array([score / 10 for score, _ in rows], dtype=np.float32)
    times = np.array([time for _, time in rows], dtype=np.int64)
    min_score = None if least is None else least / 10
    expected = top(scores, _all(len(rows)), times, limit, min_score).tolist()
    assert best(scores.tolist(), lambda positions: [rows[at][1] for at in positions], limit, min_score) == expected


def test_times_are_asked_only_where_scores_that_may_be_chosen_are_equal() -> None:
    asked: list[list[int]] = []

    def times(positions: list[int]) -> list[int]:
        asked.append([*positions])
        return positions

    assert best([0.25, 0.5, 0.75, 0.25], times, 2, None) == [2, 1]
    assert asked == []
    assert best([0.25, 0.5, 0.75, 0.25], times, 3, None) == [2, 1, 3]
    assert asked == [[2, 1, 0, 3]]


def test_a_total_is_the_weighted_mean_and_not_cut() -> None:
    parts = Parts(
        {"vector": np.array([1.0, 0.0], dtype=np.float32), "keyword": np.array([0.5, 2.0], dtype=np.float32)},
        {"vector": 0.6, "keyword": 0.2},
    )
    assert parts.total().tolist() == pytest.approx([0.875, 0.5])
    assert parts.explain(0) == {
        "vector": {"value": 1.0, "weight": 0.6},
        "keyword": {"value": 0.5, "weight": 0.2},
    }


def test_cosine_is_never_negative() -> None:
    matrix = np.array([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]], dtype=np.float32)
    assert cosine(matrix, np.array([1.0, 0.0], dtype=np.float32)).tolist() == pytest.approx([1.0, 0.0, 0.6])


@pytest.mark.parametrize(
    ("query", "names", "frequent", "cleaned"),
    [
        ("When did Caroline go hiking?", {"carolin"}, set(), "go hiking?"),
        ("What is Caroline's favourite tea", {"carolin"}, set(), "favourite tea"),
        ("pnpm or npm", set(), set(), "pnpm or npm"),
        ("the user prefers tea", set(), {"user"}, "the prefers tea"),
        ("How many cats does she have", set(), set(), "cats does she have"),
        ("Caroline", {"carolin"}, set(), "Caroline"),
        ("Where was she?", set(), set(), "Where was she?"),
    ],
)
def test_a_query_loses_names_frequent_words_and_leading_question_words(
    query: str, names: set[str], frequent: set[str], cleaned: str
) -> None:
    assert clean_query(query, frozenset(names), frozenset(frequent)) == cleaned


@given(st.text(min_size=1))
def test_a_cleaned_query_is_never_blank_unless_the_query_is(query: str) -> None:
    cleaned = clean_query(query, frozenset(), frozenset())
    assert bool(cleaned.strip()) == bool(query.strip())


def test_a_term_is_frequent_from_a_fifth_of_enough_visible_rows() -> None:
    count = FREQUENT_FROM + 5
    often = _postings("often", dict.fromkeys(range(6), 1))
    rare = _postings("rare", dict.fromkeys(range(5), 1))
    assert frequent_terms([often, rare], _all(count)) == {"often"}
    assert frequent_terms([often], _all(FREQUENT_FROM - 1)) == frozenset()


def test_short_rows_are_measured_by_their_mean_length() -> None:
    rows = np.array([1, 1, 1], dtype=np.int64)
    scores = bm25([_postings("tea", {0: 1})], rows, _all(3))
    assert scores.tolist() == pytest.approx([1.0, 0.0, 0.0])  # a row of mean length with the word once
    assert scores.dtype == np.float32


def test_total_is_in_single_precision() -> None:
    parts = Parts({"vector": np.array([0.1, 0.2], dtype=np.float32)}, {"vector": 0.3})
    assert parts.total().dtype == np.float32


@pytest.mark.parametrize("share", [0.0, FEW / 2, FEW * 2, 1.0])
def test_cosine_of_some_rows_is_that_of_all_of_them(share: float) -> None:
    random = np.random.default_rng(5)
    count = int(3 * AT_ONCE / FEW)  # so that a few are more than are taken out at once
    matrix = random.standard_normal((count, 4), dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    wanted = random.random(count) < share
    found = cosine_of(matrix, matrix[0], wanted)
    assert np.allclose(found[wanted], cosine(matrix, matrix[0])[wanted])
    assert found.shape == (count,)
