"""A word that ends with a digit is its own stem, which is found without the stemmer."""

from __future__ import annotations

import random

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
    made = ["".join(drawn.choices(LETTERS + "0123456789", k=drawn.randint(1, 12))) for _ in range(2_000)]
    words = [word + digit for word in (*BEGINNINGS, *made) for digit in ("0", "7")]
    stemmer = english_stemmer()

    assert [word for word in words if stemmer.stemWord(word) != word] == []
    assert [word for word in words if stem(word) != word] == []
