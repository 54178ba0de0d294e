"""Finds candidates of a context that say the same thing, so that a prompt does not pay for it twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import chain
from typing import Final

from openmem.candidates import Candidate, best_first

MIN_JACCARD: Final = 0.9
# Beyond this length one changed word would vanish among the others: only equal texts are copies.
MAX_COMPARED: Final = 4_000
_ASCII: Final = [chr(code) for code in range(128)]
_WORDS_ONLY: Final = {ord(sign): sign.lower() if sign.isalnum() or sign in "_'" else " " for sign in _ASCII}

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


def fold_copies(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates without near copies, best score first.

    Two of them are near copies when nine tenths of their words are the same, in the same order, with the
    same amounts, dates and signs, and when the words that differ are no names, negations or days.

    Args:
        candidates: What a search found, in any order.

    Returns:
        Of every group of copies the newest one, with its own score. Of equal scores, the one given first is first.
    """
    folding = Folding(candidates)
    return [candidate for place, candidate in enumerate(folding.ranked) if folding.keeps(place)]


class Folding:
    """Near copies among candidates, looked for only around those that are asked about.

    Args:
        candidates: What a search found, in any order.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.ranked: Final = best_first(candidates)
        self._verdicts: dict[int, bool] = {}
        self._marks: dict[str, _Fingerprint] = {}

    def keeps(self, place: int) -> bool:
        """Return whether the candidate at this place of `ranked` is the newest of its group of copies."""
        if place not in self._verdicts:
            group = self._related(place) if self._frequency[self._rarest(place)[-1]] > 1 else [place]
            kept = self._newest(group) if len(group) > 1 else group
            self._verdicts.update({member: member in kept for member in group})
        return self._verdicts[place]

    def is_known_copy(self, place: int) -> bool:
        """Return whether what was asked so far has shown that the result is not kept."""
        return self._verdicts.get(place) is False

    def _newest(self, group: Sequence[int]) -> list[int]:
        kept: list[int] = []
        for place in group:
            mark = self._mark(place)
            twin = next((number for number, other in enumerate(kept) if _alike(mark, self._mark(other))), None)
            if twin is None:
                kept.append(place)
            elif _age_key(self.ranked[place]) > _age_key(self.ranked[kept[twin]]):
                kept[twin] = place
        return kept

    def _related(self, place: int) -> list[int]:
        # Copies of copies of copies: nobody else has a say in who stands for them.
        found, asked, waiting = {place}, set[str](), [place]
        while waiting:
            member = waiting.pop()
            if self.ranked[member].content in asked:
                continue
            asked.add(self.ranked[member].content)
            near = self._near(member)
            if len(near) > 1:
                mark = self._mark(member)
                new = {other for other in near if other not in found and _alike(mark, self._mark(other))}
                found |= new
                waiting += new
        return sorted(found)

    def _mark(self, place: int) -> _Fingerprint:
        # By their text: where there are copies, many are the same to the letter.
        content = self.ranked[place].content
        mark = self._marks.get(content)
        if mark is None:
            mark = self._marks[content] = _fingerprint(content)
        return mark

    def _near(self, place: int) -> list[int]:
        words, rarest = self._sets[place], self._rarest(place)
        if self._frequency[rarest[-1]] == 1:
            return [place]
        near = [other for other, theirs in enumerate(self._sets) if not theirs.isdisjoint(rarest)]
        return [other for other in near if _overlap(words, self._sets[other])]

    def _rarest(self, place: int) -> list[str]:
        # Who has nine tenths of n words has one of any n // 10 + 1 of them (prefix filtering; Chaudhuri, Ganti, Kaushik
        # 2006). Of the rarest ones, few others have any.
        words = set(self._words[place])
        return sorted(words, key=self._frequency.__getitem__)[: len(words) // 10 + 1]

    @cached_property
    def _words(self) -> list[list[str]]:
        known = {content: _words(content) for content in {candidate.content for candidate in self.ranked}}
        return [known[candidate.content] for candidate in self.ranked]

    @cached_property
    def _frequency(self) -> Counter[str]:
        return Counter(chain.from_iterable(self._words))

    @cached_property
    def _sets(self) -> list[frozenset[str]]:
        # Made only once a word is shared: most candidates have no company, and need none of these.
        return [frozenset(words) for words in self._words]


def _fingerprint(text: str) -> _Fingerprint:
    words = _WORD.findall(text) if len(text) <= MAX_COMPARED else []
    if not words:
        return _Fingerprint((text,), frozenset((text,)), frozenset((text,)), (text,))
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


def _words(text: str) -> list[str]:
    if len(text) > MAX_COMPARED:
        return [text]
    if text.isascii():
        line = text.translate(_WORDS_ONLY)
        if "'" in line:  # one that does not stand between two letters is a quotation mark
            line = f" {line} ".replace("''", "  ").replace("' ", " ").replace(" '", " ")
        return line.split() or [text]
    return [_folded(word) for word in _WORD.findall(text)] or [text]


def _folded(text: str) -> str:
    return text.casefold().replace("’", "'")


def _overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= MIN_JACCARD * len(one | other)


def _alike(one: _Fingerprint, other: _Fingerprint) -> bool:
    if one is other:
        return True
    if one.exact != other.exact or not _overlap(one.terms, other.terms):
        return False
    common = one.terms & other.terms
    different = one.terms ^ other.terms
    if not (different.isdisjoint(one.telling) and different.isdisjoint(other.telling)):
        return False
    return [term for term in one.order if term in common] == [term for term in other.order if term in common]


def _age_key(candidate: Candidate) -> tuple[datetime, datetime]:
    return candidate.since, candidate.created_at
