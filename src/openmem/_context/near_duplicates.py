"""Finds candidates of a context that say the same thing, so that a prompt does not pay for it twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import Final, NamedTuple

from openmem._model.candidates import Candidate, best_first

MIN_JACCARD: Final = 0.9
# Beyond this length one changed word would vanish among the others: only equal texts are copies.
MAX_COMPARED: Final = 4_000
# Bits of words are compared faster than words, but must be made first: that is worth while for long texts and many.
_FEW_WORDS: Final = 100
_FEW_ASKED: Final = 20
_ASCII: Final = [chr(code) for code in range(128)]
_WORDS_ONLY: Final = {ord(sign): sign.lower() if sign.isalnum() or sign in "_'" else " " for sign in _ASCII}

_WORD: Final = re.compile(r"\w+(?:['’]\w+)*")
# Amounts, and signs that tell C++ from C# or one emoji from another.
_EXACT: Final = re.compile(r"(?:(?<!\S)-)?\d+(?:[.,:/-]\d+)*|[^\w\s.,;:!?'’\"()…–—-]")
_FILLERS = "a an the this that my his her its our their your i it user"
_FILLER: Final = frozenset(_FILLERS.split())
# A text with one of these, or with a word in -n't, is no copy of a text without it, however alike the rest.
_TELLING_WORDS = """
    not no never none nobody nothing neither nor without cannot stopped quit dislikes hates former formerly
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december today yesterday tomorrow morning evening night first second third last next
    one two three four five six seven eight nine ten eleven twelve
"""
_TELLING: Final = frozenset(_TELLING_WORDS.split())


class _Fingerprint(NamedTuple):
    """The words of a text: those without fillers, in order; all; the telling ones; amounts and signs."""

    order: tuple[str, ...]
    terms: frozenset[str]
    telling: frozenset[str]
    exact: tuple[str, ...]


class _Bag(NamedTuple):
    """The words of a text: how many, and those that may occur in another, as bits of their numbers."""

    size: int
    shared: int

    def overlaps(self, other: _Bag) -> bool:
        """Return whether nine tenths of all words of both are words of either."""
        common = (self.shared & other.shared).bit_count()
        return common >= MIN_JACCARD * (self.size + other.size - common)


class _Mark(NamedTuple):
    """A fingerprint in numbers of words. `alone` says that a telling word of it occurs in no other text."""

    bag: _Bag
    order: tuple[int, ...]
    telling: int
    alone: bool
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
    deduplicator = Deduplicator(candidates)
    return [candidate for rank, candidate in enumerate(deduplicator.ranked) if deduplicator.keeps(rank)]


class Deduplicator:
    """Near copies among candidates, looked for only around those that are asked about.

    Args:
        candidates: What a search found, in any order.
    """

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.ranked: Final = best_first(candidates)
        self._verdicts: dict[int, bool] = {}
        # By their texts: where there are copies, many are the same to the letter.
        self._bags: dict[str, _Bag] = {}
        self._marks: dict[str, _Mark] = {}
        self._numbers: dict[str, int] = {}
        self._alike: dict[tuple[int, int], bool] = {}

    def keeps(self, rank: int) -> bool:
        """Return whether the candidate at this position of `ranked` is the newest of its group of copies."""
        if rank not in self._verdicts:
            group = self._related(rank) if self._frequency[self._rarest(rank)[-1]] > 1 else [rank]
            kept = self._newest(group) if len(group) > 1 else group
            self._verdicts.update({member: member in kept for member in group})
        return self._verdicts[rank]

    def is_known_copy(self, rank: int) -> bool:
        """Return whether what was asked so far has shown that the result is not kept."""
        return self._verdicts.get(rank) is False

    def _newest(self, group: Sequence[int]) -> list[int]:
        kept: list[int] = []
        for rank in group:
            twin = next((number for number, other in enumerate(kept) if self._are_alike(rank, other)), None)
            if twin is None:
                kept.append(rank)
            elif _age_key(self.ranked[rank]) > _age_key(self.ranked[kept[twin]]):
                kept[twin] = rank
        return kept

    def _related(self, rank: int) -> list[int]:
        # Copies of copies of copies: nothing else decides which of them stands for all.
        found, asked, waiting = {rank}, set[str](), [rank]
        while waiting:
            member = waiting.pop()
            if self.ranked[member].content in asked:
                continue
            asked.add(self.ranked[member].content)
            new = [other for other in self._near(member, found) if self._are_alike(member, other)]
            found.update(new)
            waiting += new
        return sorted(found)

    def _near(self, rank: int, found: Set[int]) -> list[int]:
        rarest = self._rarest(rank)
        if self._frequency[rarest[-1]] == 1:
            return []
        near = [n for n, theirs in enumerate(self._sets) if n not in found and not theirs.isdisjoint(rarest)]
        words = self._sets[rank]
        if len(words) <= _FEW_WORDS and len(self._verdicts) < _FEW_ASKED:
            return [other for other in near if _overlap(words, self._sets[other])]
        own = self._bag(rank) if near else None
        return [other for other in near if own and own.overlaps(self._bag(other))]

    def _are_alike(self, one: int, other: int) -> bool:
        # Each pair is compared once: of a hundred near copies of thousands of letters that takes most of the time.
        pair = (one, other) if one < other else (other, one)
        known = self._alike.get(pair)
        if known is None:
            known = self._alike[pair] = _alike(self._mark(one), self._mark(other))
        return known

    def _mark(self, rank: int) -> _Mark:
        content = self.ranked[rank].content
        mark = self._marks.get(content)
        if mark is None:
            fingerprint, number = _fingerprint(content), self._number
            order = tuple(number(term) for term in fingerprint.order if self._frequency[term] > 1)
            telling = _bits([number(term) for term in fingerprint.telling if self._frequency[term] > 1])
            alone = any(self._frequency[term] == 1 for term in fingerprint.telling)
            mark = self._marks[content] = _Mark(self._bag(rank), order, telling, alone, fingerprint.exact)
        return mark

    def _bag(self, rank: int) -> _Bag:
        content = self.ranked[rank].content
        bag = self._bags.get(content)
        if bag is None:
            words = self._sets[rank]
            shared = _bits([self._number(word) for word in words if self._frequency[word] > 1])
            bag = self._bags[content] = _Bag(len(words), shared)
        return bag

    def _number(self, word: str) -> int:
        return self._numbers.setdefault(word, len(self._numbers))

    def _rarest(self, rank: int) -> list[str]:
        # Who has nine tenths of n words has one of any n // 10 + 1 of them (prefix filtering; Chaudhuri, Ganti, Kaushik
        # 2006). Of the rarest ones, few others have any.
        words = set(self._words[rank])
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
    order = tuple(term for term in terms if term not in _FILLER)
    names = {_folded(word) for word in words if not word.islower()}
    telling = frozenset(term for term in order if term in names or _is_telling(term))
    return _Fingerprint(order, frozenset(terms), telling, tuple(_EXACT.findall(text)))


def _is_telling(term: str) -> bool:
    return term in _TELLING or (term.endswith("n't") and len(term) > 3 and "'" not in term[:-3])


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


def _alike(one: _Mark, other: _Mark) -> bool:
    if one is other:
        return True
    if one.alone or other.alone or one.exact != other.exact or not one.bag.overlaps(other.bag):
        return False
    different = one.bag.shared ^ other.bag.shared
    if different & (one.telling | other.telling):
        return False
    return _without(one.order, different) == _without(other.order, different)


def _bits(numbers: Sequence[int]) -> int:
    # By bytes: to set one bit after the other in a large number takes as long as the number is large, each time.
    field = bytearray(max(numbers, default=0) // 8 + 1)
    for number in numbers:
        field[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(field, "little")


def _without(order: tuple[int, ...], different: int) -> tuple[int, ...]:
    if not different:
        return order
    field = different.to_bytes((different.bit_length() + 7) // 8, "little")
    most = 8 * len(field)
    return tuple([n for n in order if n >= most or not field[n >> 3] >> (n & 7) & 1])


def _age_key(candidate: Candidate) -> tuple[datetime, datetime]:
    return candidate.since, candidate.created_at
