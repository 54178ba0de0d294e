"""The estimate of tokens follows its rules, whatever way it is computed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._context import tokens
from openmem._context.tokens import estimate, estimate_tokens, least_tokens

TEXTS = st.one_of(st.text(), st.text(st.characters(max_codepoint=127)), st.text("aB7 -.\n", max_size=60))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        (" \n\t", 0),
        ("tea", 1),
        ("memories", 1),
        ("memoriesx", 2),
        ("2023", 2),
        ("a.b", 4),
        ("日本語", 3),
        ("éé", 1),
        ("😀", 2),
        ("٣", 1),
    ],
)
def test_estimate_follows_its_rules(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@given(st.text(), st.text())
def test_estimate_of_a_whole_is_no_more_than_that_of_its_lines(one: str, two: str) -> None:
    assert estimate_tokens(f"{one}\n{two}") <= estimate_tokens(one) + estimate_tokens(two)


@given(TEXTS, TEXTS)
def test_lines_cost_what_each_costs(one: str, two: str) -> None:
    assert estimate(f"{one}\n{two}") == estimate(one) + estimate(two)


@given(TEXTS)
def test_estimate_is_the_sum_of_its_pieces(text: str) -> None:
    assert estimate(text) == sum(map(tokens._piece_cost, tokens._PIECE.findall(text)))


@pytest.mark.parametrize(("text", "least"), [("tea", 1), ("likes green tea", 3), ("tee für zwei", 1.5), ("é", 0.5)])
def test_least_is_a_token_for_each_word_and_half_of_one_in_other_scripts(text: str, least: float) -> None:
    assert least_tokens(text) == least
    assert least_tokens(text) <= estimate(text)
