"""Trials of an approximate index: it runs beside the exact search, user by user, until it can be relied on.

How much such an index misses depends on the vectors, and cannot be known beforehand: measured with 50,000 rows,
nothing for vectors that vary in few directions, and two thirds for random ones. So the first searches of a user are
exact and say what the index would have found. Only an index that finds enough is used, and it is tried again now
and then.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence
from typing import Final, Literal

from openmem.types import SearchResult

ENOUGH: Final = 0.98
"""Share of the exact answers that an index must find."""
TRIALS: Final = 10
"""Searches over which that share is taken."""
AGAIN: Final = 20
"""Searches by an index that is relied on, up to the next trial."""
PAUSE: Final = 1_000
"""Exact searches after an index has failed, up to the next trial."""

MOST_USERS: Final = 10_000
_SAME: Final = 1e-6

Way = Literal["index", "exact", "trial"]


class Trials:
    """The outcome of the trials of an index, for each user or other key that it is asked for."""

    def __init__(self) -> None:
        self._records: OrderedDict[Hashable, _Record] = OrderedDict()

    def way(self, who: Hashable) -> Way:
        """Return how to search now: by the index, exactly, or exactly with a look at what the index would find."""
        record = self._records.setdefault(who, _Record())
        self._records.move_to_end(who)
        if len(self._records) > MOST_USERS:
            self._records.popitem(last=False)
        return record.way()

    def note(self, who: Hashable, share: float) -> None:
        """Note which share of an exact answer the index found, from 0 to 1."""
        self._records.setdefault(who, _Record()).note(share)


class _Record:
    __slots__ = ("_shares", "_since")

    def __init__(self) -> None:
        self._shares: deque[float] = deque(maxlen=TRIALS)
        self._since = 0

    def way(self) -> Way:
        if len(self._shares) < TRIALS:
            return "trial"
        relied_on = sum(self._shares) >= ENOUGH * TRIALS
        self._since += 1
        if self._since > (AGAIN if relied_on else PAUSE):
            self._since = 0
            if not relied_on:
                self._shares.clear()
            return "trial"
        return "index" if relied_on else "exact"

    def note(self, share: float) -> None:
        self._shares.append(share)


def share_found(found: Sequence[SearchResult], exact: Sequence[SearchResult]) -> float:
    """Return which share of an exact answer an index found; another memory that is as near counts as found."""
    if not exact:
        return 1.0
    worst = exact[-1].score - _SAME
    return min(1.0, sum(result.score >= worst for result in found) / len(exact))
