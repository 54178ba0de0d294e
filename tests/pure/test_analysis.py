from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem.analysis import MAX_TERM_LENGTH, STOP_WORDS, stem, terms_of, words_of


def test_words_of_text_are_lower_cased_stemmed_and_without_stop_words() -> None:
    assert terms_of("The user PREFERS running, and prefers Caroline's tests") == [
        "user",
        "prefer",
        "run",
        "prefer",
        "carolin",
        "test",
    ]


def test_text_of_stop_words_only_keeps_them_so_that_it_can_be_found() -> None:
    assert terms_of("I am who I am") == ["i", "am", "who", "i", "am"]


def test_words_of_tags_count_like_words_of_the_text() -> None:
    assert terms_of("likes tea", ["food/drinks"]) == ["like", "tea", "food", "drink"]


def test_accents_and_case_do_not_matter() -> None:
    assert words_of("Zoë Müller STRASSE") == words_of("zoe muller strasse")


@pytest.mark.parametrize("text", ["東京に住んでいる", "서울에서 일한다", "我喜欢喝茶"])
def test_scripts_without_spaces_share_pairs_with_a_shorter_query(text: str) -> None:
    assert set(terms_of(text[:3])) & set(terms_of(text))


def test_a_single_character_of_such_a_script_is_a_word() -> None:
    assert terms_of("茶") == ["茶"]


def test_a_very_long_word_is_cut_the_same_way_everywhere() -> None:
    word = "x" * 1000
    assert terms_of(word) == ["x" * MAX_TERM_LENGTH]


@given(st.text())
def test_terms_are_plain_tokens_whatever_the_text(text: str) -> None:
    for term in terms_of(text):
        assert term
        assert all(sign.isalnum() or ord(sign) > 127 for sign in term)
        assert not any(sign.isspace() for sign in term)


@given(st.text())
def test_terms_are_the_same_each_time(text: str) -> None:
    assert terms_of(text) == terms_of(text)


def test_stop_words_are_lower_case_words() -> None:
    assert all(words_of(word) == [word] for word in STOP_WORDS)
    assert stem("preferences") == stem("preference")
