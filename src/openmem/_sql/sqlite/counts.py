"""Counts of scopes that were read, kept for those who ask again: valid as long as the user's rows stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

from openmem._rules.overview import Counts

MOST_SCOPES: Final = 100_000
"""Scopes of all users that are kept at most."""


class KeptCounts(NamedTuple):
    """The counts of a user's scopes: of which version of the rows, and the time at which they were judged."""

    version: tuple[int, int]
    at: int
    counts: Mapping[str | None, Counts]


class CountsCache:
    """The counts of the users who asked last.

    Only such are kept as no later time changes: nothing of the user's begins or ends after they were judged.

    Args:
        new_lock: Makes a mutex.
    """

    def __init__(self, new_lock: Callable[[], AbstractContextManager[Any]]) -> None:
        self._lock = new_lock()
        self._kept: dict[str, KeptCounts] = {}
        self._scopes = 0

    def find(self, user_id: str, version: tuple[int, int], at: int) -> Mapping[str | None, Counts] | None:
        """Return the counts of this version of a user's rows, if they are kept and held at this time."""
        kept = self._kept.get(user_id)
        return kept.counts if kept is not None and kept.version == version and kept.at <= at else None

    def keep(self, user_id: str, version: tuple[int, int], at: int, counts: Mapping[str | None, Counts]) -> None:
        """Keep counts, and forget the oldest of others until there is room."""
        with self._lock:
            self._drop(user_id)
            self._kept[user_id] = KeptCounts(version, at, counts)
            self._scopes += len(counts)
            while self._scopes > MOST_SCOPES:
                self._drop(next(iter(self._kept)))

    def forget(self, user_id: str) -> None:
        """Drop what is kept of a user."""
        with self._lock:
            self._drop(user_id)

    def _drop(self, user_id: str) -> None:
        kept = self._kept.pop(user_id, None)
        self._scopes -= 0 if kept is None else len(kept.counts)
