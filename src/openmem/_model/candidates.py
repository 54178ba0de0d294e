"""The candidates of a context: memories that a search found, with no more of each than a context shows or compares."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple

from openmem.types import SearchResult


class Candidate(NamedTuple):
    """A memory that may stand in a context."""

    id: str
    score: float
    content: str
    valid_from: datetime | None
    created_at: datetime

    @property
    def since(self) -> datetime:
        """From when on it holds, if that was said; otherwise when it was stored."""
        return self.valid_from or self.created_at


def candidate_of(result: SearchResult) -> Candidate:
    """Return what a context needs of a search result."""
    memory = result.memory
    return Candidate(memory.id, result.score, memory.content, memory.valid_from, memory.created_at)


def best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return them in the order of their scores; of equal scores, the one given first is first."""
    return sorted(candidates, key=attrgetter("score"), reverse=True)
