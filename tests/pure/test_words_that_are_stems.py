"""A word that ends with no suffix is its own stem, which is found without the stemmer."""

from __future__ import annotations

import random
from itertools import product
from string import ascii_lowercase, digits

import pytest

from openmem._retrieval import analysis
from openmem._retrieval.analysis import stem
from openmem._text.stemming import english_stemmer

LETTERS = "aeiouybcdlnrstz"
BEGINNINGS = (
    "",
    "running",
    "happily",
    "yes",
    "y",
    "gener",
    "communal",
    "skies",
    "dying",
    "news",
    "inning",
    "ly",
    "fies",
)


def test_the_stemmer_leaves_a_word_that_ends_with_a_digit_as_it_is() -> None:
    drawn = random.Random(7)
    made = ["".join(drawn.choices(LETTERS + digits, k=drawn.randint(1, 12))) for _ in range(2_000)]
    words = [word + digit for word in (*BEGINNINGS, *made) for digit in ("0", "7")]
    stemmer = english_stemmer()

    assert [word for word in words if stemmer.stemWord(word) != word] == []
    assert [word for word in words if stem(word) != word] == []


def test_words_of_every_ending_have_the_stem_that_the_stemmer_finds() -> None:
    drawn = random.Random(8)
    endings = ["".join(letters) for letters in product(ascii_lowercase, repeat=2)]
    endings += ["".join(drawn.choices(ascii_lowercase, k=3)) for _ in range(2_000)]
    endings += ["ation", "ator", "ogist", "izer", "alism", "ement", "ful", "ness", "bli", "ies", "ied", "ingly"]
    words = [beginning + ending for ending in endings for beginning in ("", "gener", "cannib", "relat")]
    stemmer = english_stemmer()

    assert [word for word in words if stem(word) != stemmer.stemWord(word)] == []


def test_the_stemmer_is_not_asked_for_a_word_without_a_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "english_stemmer", lambda: pytest.fail("it was asked"))
    monkeypatch.setattr(analysis, "_stems", {})

    assert [stem(word) for word in ("lisbon", "bread", "walk", "2026")] == ["lisbon", "bread", "walk", "2026"]
