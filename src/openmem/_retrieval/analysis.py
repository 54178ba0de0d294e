"""Words out of text: the terms that the keyword index holds and that queries look up.

Content words, lower-cased, without accents, stemmed (English Snowball); runs of Chinese, Japanese and Korean as
pairs of characters, since those scripts do not separate words. The index stores what this module returns, so a
change here needs a migration that rebuilds the index.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Final

from openmem._text.normalization import normalized
from openmem._text.stemming import english_stemmer

STOP_WORDS: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "for",
        "if",
        "in",
        "into",
        "is",
        "it",
        "no",
        "not",
        "of",
        "on",
        "or",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "will",
        "with",
        "what",
        "when",
        "where",
        "who",
        "whom",
        "which",
        "why",
        "how",
        "did",
        "do",
        "does",
        "has",
        "have",
        "had",
        "i",
        "you",
        "he",
        "she",
        "his",
        "her",
        "him",
        "my",
        "your",
        "me",
        "we",
        "our",
        "us",
        "its",
        "from",
        "about",
        "been",
        "being",
        "were",
        "would",
        "could",
        "should",
        "can",
        "may",
        "might",
        "am",
        "so",
        "than",
        "too",
        "very",
        "just",
        "also",
        "any",
        "some",
    ]
)
MAX_TERM_LENGTH: Final = 64

_POSSESSIVE = re.compile(r"['’]s\b|['’]")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_CJK: Final = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
# No suffix is as long as what lies between the two, so of a longer word the stemmer cannot change the beginning.
_LONGEST_STEMMED: Final = 2 * MAX_TERM_LENGTH
# A word that ends with none of these is its own stem: the stemmer, which works letter by letter, need not be asked.
_STEMMED_ENDINGS: Final = (
    *("e", "i", "l", "s", "y", "ed", "er", "ic"),
    *("ant", "ent", "ing", "ion", "ism", "ist", "ator"),
)
_STEMS_KEPT: Final = 100_000
_LETTERS_KEPT: Final = 2_000_000

_stems: dict[str, str] = {}
_letters = 0


def terms_of(text: str, tags: Iterable[str] = ()) -> list[str]:
    """Return the terms of a text and its tags, in order, with repetitions.

    Text that holds stop words only keeps them, so that it can be found at all.
    """
    words = words_of(text)
    for tag in tags:
        words += words_of(tag)
    known = _stems.get  # most words were met before: a call for each would take longer than all the rest
    return [known(word) or stem(word) for word in [word for word in words if word not in STOP_WORDS] or words]


def words_of(text: str) -> list[str]:
    """Return the lower-cased words of a text, neither stemmed nor filtered."""
    if text.isascii():
        return _ASCII_WORD.findall(_POSSESSIVE.sub("", text.lower()) if "'" in text else text.lower())
    words: list[str] = []
    for run, word in _runs().findall(_POSSESSIVE.sub("", _fold(text))):
        words += _pairs(run) if run else (word,)
    return words


@cache
def _runs() -> re.Pattern[str]:
    # Compiling ranges of this size takes as long as a search: a command that meets ASCII only does without.
    return re.compile(rf"([{_CJK}]+)|([^\W_{_CJK}]+)")


def stem(word: str) -> str:
    """Return the stem of a lower-cased word; equal words always have equal stems.

    The stems of the words met last are kept for all users of the process: up to 100,000 words of 2,000,000 letters
    together, none of more than 64.
    """
    known = _stems.get(word)
    if known is not None:
        return known
    if len(word) > _LONGEST_STEMMED:
        return word[:MAX_TERM_LENGTH]
    found = english_stemmer().stemWord(word) if word.endswith(_STEMMED_ENDINGS) and word.isascii() else word
    found = found[:MAX_TERM_LENGTH]
    if len(word) <= MAX_TERM_LENGTH:
        _keep(word, found)
    return found


def _keep(word: str, found: str) -> None:
    global _letters
    if len(_stems) >= _STEMS_KEPT or _letters >= _LETTERS_KEPT:
        _stems.clear()
        _letters = 0
    _stems[word] = found
    _letters += len(word)


def _fold(text: str) -> str:
    decomposed = normalized("NFKD", text.casefold())
    return normalized("NFC", "".join(c for c in decomposed if not unicodedata.combining(c)))


def _pairs(run: str) -> list[str]:
    return [run[i : i + 2] for i in range(len(run) - 1)] or [run]
