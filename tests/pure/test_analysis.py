from __future__ import annotations

import unicodedata

import pytest
import snowballstemmer
from hypothesis import given
from hypothesis import strategies as st

from openmem._retrieval import analysis
from openmem._retrieval.analysis import MAX_TERM_LENGTH, STOP_WORDS, stem, terms_of, words_of


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


def folded_without_bounds(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


MARKS = ["\u0300", "\u0316", "\u0344", "\u0f73", "\uff9e", "\u3099", "\u0345", "\u0591"]


@given(st.lists(st.one_of(st.text(max_size=3), st.sampled_from([mark * 40 for mark in MARKS] + MARKS))).map("".join))
def test_bounded_runs_of_marks_leave_the_words_as_they_are(text: str) -> None:
    assert analysis._fold(text) == folded_without_bounds(text)


@given(
    st.text("aeybdglinotuvzs", min_size=MAX_TERM_LENGTH, max_size=3 * MAX_TERM_LENGTH),
    st.sampled_from(["ational", "ing", "iveness", "y"]),
)
def test_words_that_are_not_stemmed_would_have_begun_the_same(word: str, end: str) -> None:
    stemmed = snowballstemmer.stemmer("english").stemWord(word + end)
    assert stem(word + end) == stemmed[:MAX_TERM_LENGTH]


def test_no_word_longer_than_a_term_is_kept_and_the_kept_ones_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # Words of 99,000 letters stayed in the process, whose memories were erased long ago.
    monkeypatch.setattr(analysis, "_stems", {})
    monkeypatch.setattr(analysis, "_letters", 0)
    terms_of(" ".join("z" * length for length in range(1, 300)) + " " + "é" * 50_000)
    assert max(map(len, analysis._stems)) == MAX_TERM_LENGTH
    monkeypatch.setattr(analysis, "_LETTERS_KEPT", 1_000)
    for number in range(1_000):
        stem(f"q{number:03}")
        assert sum(map(len, analysis._stems)) <= 1_000 + MAX_TERM_LENGTH


def test_stem_is_the_same_when_a_word_comes_again() -> None:
    for word in ("preferences", "z" * MAX_TERM_LENGTH, "2023", "東京"):
        assert stem(word) == stem(word) == stem(word)
    assert stem("unheardofness") == stem("unheardofness") == "unheardof"


def test_possessives_and_runs_of_two_scripts_are_taken_apart() -> None:
    assert words_of("Caroline's dogs' bowls") == ["caroline", "dogs", "bowls"]
    assert words_of("Zoë’s café") == ["zoe", "cafe"]
    assert words_of("iPhone東京タワーx") == ["iphone", "東京", "京タ", "タワ", "ワー", "x"]
    assert words_of("a_b-c") == ["a", "b", "c"]
