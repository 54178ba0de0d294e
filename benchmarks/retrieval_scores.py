"""Measures of the quality of a ranking: the usual ones, each a mean over questions."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence, Set
from dataclasses import dataclass, fields

DEPTH = 50


@dataclass(frozen=True, slots=True)
class Scores:
    """Measures of one question, or their means over many, in percent."""

    recall_5: float
    recall_10: float
    hit_10: float
    mrr: float
    ndcg_10: float


def score(found: Sequence[Hashable], wanted: Set[Hashable]) -> Scores:
    """Measure one answer.

    Args:
        found: What was found, best first; what stands after place 50 does not count.
        wanted: What should have been found; at least one.
    """
    places = [place for place, item in enumerate(found[:DEPTH], 1) if item in wanted]
    return Scores(
        recall_5=100 * _among(places, 5) / len(wanted),
        recall_10=100 * _among(places, 10) / len(wanted),
        hit_10=100.0 if _among(places, 10) else 0.0,
        mrr=100 / places[0] if places else 0.0,
        ndcg_10=100 * _gain(p for p in places if p <= 10) / _gain(range(1, min(len(wanted), 10) + 1)),
    )


def mean(scores: Sequence[Scores]) -> Scores:
    """Return the mean of each measure."""
    return Scores(*(sum(getattr(one, f.name) for one in scores) / len(scores) for f in fields(Scores)))


def _among(places: Sequence[int], first: int) -> int:
    return sum(place <= first for place in places)


def _gain(places: Iterable[int]) -> float:
    return sum(1 / math.log2(place + 1) for place in places)
