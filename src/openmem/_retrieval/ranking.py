"""Ranks memories by their fit to a query: cleaned query, BM25, cosine and hints from tags and dates, fused by score.

The sources of the rules: BM25 as Robertson and Zaragoza give it (k1 = 1.2, b = 0.75); score fusion instead of
rank fusion, and embedding the query without names and frequent words, as measured on conversation data
(see docs/ranking.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from openmem._retrieval.analysis import STOP_WORDS, stem, words_of

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

K1: Final = 1.2
B: Final = 0.75
FREQUENT_SHARE: Final = 0.2
FREQUENT_FROM: Final = 20
FEW: Final = 0.15
"""The share of the rows up to which it is quicker to take those that are wanted out of the matrix than to take all."""
AT_ONCE: Final = 2_000  # rows that are taken out, which then still are in the processor's cache

_LEADING = re.compile(
    r"(?:when|what|where|who|whom|which|why|how(?: many| much| long| often)?|did|does|do|is|are|was|were|has|have|had|"
    r"would|could|will|can)\b\s*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each part. A part that plays no role in a query is left out of the sum.

    Tags and dates are hints: enough to choose among memories that fit, too little to lift one that does not.
    """

    vector: float = 0.5
    keyword: float = 0.3
    tag: float = 0.1
    date: float = 0.2


class Postings(NamedTuple):
    """The occurrences of one term: positions among the user's rows, and how often in each."""

    term: str
    positions: Ints
    frequencies: Floats


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a score, each an array over all rows, and their weights. A part without a role is missing."""

    values: dict[str, Floats]
    weights: dict[str, float]

    def total(self) -> Floats:
        """Return the weighted mean of the parts. It can pass 1, to tell two excellent rows apart."""
        whole = sum(self.weights.values())
        score = sum(self.values[name] * np.float32(weight / whole) for name, weight in self.weights.items())
        return np.asarray(score, dtype=np.float32)

    def explain(self, position: int) -> dict[str, Any]:
        """Return the parts of one row's score."""
        return {
            name: {"value": round(float(values[position]), 6), "weight": self.weights[name]}
            for name, values in self.values.items()
        }


def bm25(postings: Sequence[Postings], lengths: Ints, visible: Mask) -> Floats:
    """Return BM25 over the visible rows, as a share of what a row of mean length with every word once would have.

    Only words that occur somewhere count in that whole, and a row that repeats them can pass 1. Document
    frequencies and the mean length are those of the visible rows alone: what a view hides must not move the order
    of what it shows.
    """
    scores = np.zeros(len(lengths), dtype=np.float32)
    count = int(visible.sum())
    if not count:
        return scores
    norm = K1 * (1 - B + B * lengths / max(float(lengths[visible].mean()), 1.0))
    best = 0.0
    for _, positions, frequencies in postings:
        shown = int(visible[positions].sum())
        if not shown:
            continue
        idf = float(np.log1p((count - shown + 0.5) / (shown + 0.5)))
        best += idf
        scores[positions] += idf * frequencies * (K1 + 1) / (frequencies + norm[positions])
    scores[~visible] = 0.0
    return scores / np.float32(best) if best else scores


def top(scores: Floats, candidates: Mask, rids: Ints, limit: int, min_score: float | None) -> Ints:
    """Return the positions of the best candidates, best first; of equals, the newest row first."""
    positions = np.flatnonzero(candidates)
    if min_score is not None:
        positions = positions[scores[positions] >= min_score]
    if len(positions) > 4 * limit:
        cut = np.partition(scores[positions], len(positions) - limit)[len(positions) - limit]
        positions = positions[scores[positions] >= cut]
    order = np.lexsort((-rids[positions], -scores[positions]))
    chosen: Ints = positions[order[:limit]]
    return chosen


def best(
    scores: list[float], times: Callable[[list[int]], list[int]], limit: int, min_score: float | None
) -> list[int]:
    """Return what `top` does where all of up to a hundred rows are candidates: without numpy that takes half the time.

    Args:
        scores: The scores, each exactly a float32.
        times: Returns the time of each row at some positions; asked only where scores are equal.
        limit: How many positions.
        min_score: The lowest score.
    """
    order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
    if min_score is not None:
        least = float(np.float32(min_score))
        order = [position for position in order if scores[position] >= least]
    if len(order) > limit:
        cut = scores[order[limit - 1]]
        order = [position for position in order if scores[position] >= cut]
    if len({scores[position] for position in order}) < len(order):
        time_of = dict(zip(order, times(order), strict=True))
        order.sort(key=lambda position: (-scores[position], -time_of[position]))
    return order[:limit]


def cosine(matrix: Floats, query: Floats) -> Floats:
    """Return max(0, cosine) of each row with the query; all are unit vectors.

    einsum, not `@`: it does not wake BLAS threads, which cost more than the product when cores are shared.
    """
    similarity: Floats = np.maximum(np.einsum("ij,j->i", matrix, query), np.float32(0.0))
    return similarity


def cosine_of(matrix: Floats, query: Floats, wanted: Mask) -> Floats:
    """Return the same of the rows that are wanted, and 0 for others if most of them are not."""
    rows = np.flatnonzero(wanted)
    if len(rows) > FEW * len(wanted):
        return cosine(matrix, query)
    found = np.zeros(len(wanted), dtype=np.float32)
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        found[some] = cosine(matrix[some], query)
    return found


def clean_query(query: str, names: frozenset[str], frequent: frozenset[str]) -> str:
    """Return the query without names of tags, without stems found everywhere, and without leading question words.

    Args:
        query: The text as asked.
        names: Stems of the words that name a tag.
        frequent: Stems that more than `FREQUENT_SHARE` of the memories hold.

    Returns:
        What is left, or the query itself if nothing is.
    """
    dropped = names | frequent
    kept = _WORD.sub(lambda match: "" if _is_dropped(match.group(), dropped) else match.group(), query)
    kept = " ".join(kept.split())
    start, leading = 0, _LEADING.match(kept)
    while leading and _WORD.search(kept, leading.end()):
        start, leading = leading.end(), _LEADING.match(kept, leading.end())
    kept = kept[start:]
    return kept if any(word not in STOP_WORDS for word in words_of(kept)) else query


def frequent_terms(postings: Sequence[Postings], visible: Mask) -> frozenset[str]:
    """Return the terms that occur in more than `FREQUENT_SHARE` of the visible rows."""
    count = int(visible.sum())
    if count < FREQUENT_FROM:
        return frozenset()
    return frozenset(p.term for p in postings if int(visible[p.positions].sum()) > FREQUENT_SHARE * count)


def _is_dropped(word: str, dropped: frozenset[str]) -> bool:
    return any(stem(part) in dropped for part in words_of(word))
