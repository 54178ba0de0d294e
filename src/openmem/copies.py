"""Finds search results that say the same thing, so that a prompt does not pay for it twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from openmem.types import MemoryRecord, SearchResult

MIN_JACCARD: Final = 0.9
# Beyond this length one changed word would vanish among the others: only equal texts are copies.
MAX_COMPARED: Final = 4_000

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")
# Amounts, and signs that tell C++ from C# or one emoji from another.
_EXACT: Final = re.compile(r"(?:(?<!\S)-)?\d+(?:[.,:/-]\d+)*|[^\w\s.,;:!?'’\"()…–—-]")
_FILLER: Final = re.compile("an?|the|this|that|my|his|her|its|our|their|your|i|it|user")
# A text with one of these is no copy of a text without it, however alike the rest.
_TELLING: Final = re.compile(
    r"""not|no|never|none|nobody|nothing|neither|nor|without|cannot|\w+n't|stopped|quit|dislikes|hates|former(ly)?
    |(mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october
    |november|december|today|yesterday|tomorrow|morning|evening|night|first|second|third|last|next|one|two|three
    |four|five|six|seven|eight|nine|ten|eleven|twelve""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    order: tuple[str, ...]
    terms: frozenset[str]
    telling: frozenset[str]
    exact: tuple[str, ...]


def fold_copies(results: Sequence[SearchResult]) -> list[SearchResult]:
    """Return the results without near copies, best score first.

    Two results are near copies when nine tenths of their words are the same, in the same order, with the
    same amounts, dates and signs, and when the words that differ are no names, negations or days.

    Args:
        results: Search results in any order.

    Returns:
        Of every group of copies the newest one, with its own score.
    """
    ranked = [(result, _fingerprint(result.memory.content)) for result in sorted(results, key=lambda item: -item.score)]
    frequency = Counter(term for _, mark in ranked for term in mark.terms)
    kept: list[tuple[SearchResult, _Fingerprint]] = []
    places: dict[str, list[int]] = {}  # by word of `_prefix`: where in `kept` it occurs
    for result, mark in ranked:
        prefix = _prefix(mark.terms, frequency)
        near = sorted({place for term in prefix for place in places.get(term, ())})
        twin = next((place for place in near if _alike(mark, kept[place][1])), None)
        if twin is None:
            twin = len(kept)
            kept.append((result, mark))
        elif _age_key(result.memory) > _age_key(kept[twin][0].memory):
            kept[twin] = (result, mark)
        else:
            continue
        for term in prefix:
            places.setdefault(term, []).append(twin)
    return sorted((result for result, _ in kept), key=lambda item: -item.score)


def _prefix(terms: frozenset[str], frequency: Mapping[str, int]) -> list[str]:
    # Sets of which nine tenths are common share one of the first n // 10 + 1 terms in any one order (prefix
    # filtering; Chaudhuri, Ganti, Kaushik 2006). With the rarest first, few sets are left to compare.
    return sorted(terms, key=lambda term: (frequency[term], term))[: len(terms) // 10 + 1]


def _fingerprint(text: str) -> _Fingerprint:
    words = _WORD.findall(text) if len(text) <= MAX_COMPARED else []
    if not words:
        return _Fingerprint((text,), frozenset((text,)), frozenset((text,)), ())
    terms = dict.fromkeys(_folded(word) for word in words)
    order = tuple(term for term in terms if not _is_filler(term))
    names = {_folded(word) for word in words if not word.islower()}
    telling = frozenset(term for term in order if term in names or _is_telling(term))
    return _Fingerprint(order, frozenset(terms), telling, tuple(_EXACT.findall(text)))


@lru_cache(maxsize=8192)
def _is_filler(term: str) -> bool:
    return _FILLER.fullmatch(term) is not None


@lru_cache(maxsize=8192)
def _is_telling(term: str) -> bool:
    return _TELLING.fullmatch(term) is not None


def _folded(word: str) -> str:
    return word.casefold().replace("’", "'")


def _alike(one: _Fingerprint, other: _Fingerprint) -> bool:
    if one.exact != other.exact:
        return False
    common = one.terms & other.terms
    if len(common) < MIN_JACCARD * len(one.terms | other.terms):
        return False
    different = one.terms ^ other.terms
    if not (different.isdisjoint(one.telling) and different.isdisjoint(other.telling)):
        return False
    return [term for term in one.order if term in common] == [term for term in other.order if term in common]


def _age_key(memory: MemoryRecord) -> tuple[datetime, datetime]:
    return memory.valid_from or memory.created_at, memory.created_at
