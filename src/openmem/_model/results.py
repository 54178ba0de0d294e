"""Lists that say what lies beyond them."""

from __future__ import annotations

from collections.abc import Iterable

from openmem.types import MemoryRecord, SearchResult


class HistoryPage(list[MemoryRecord]):
    """Earlier states, newest first: a list. `next_cursor` leads to the page after it, and is `None` on the last one."""

    next_cursor: str | None

    def __init__(self, states: Iterable[MemoryRecord] = (), next_cursor: str | None = None) -> None:
        super().__init__(states)
        self.next_cursor = next_cursor


class SearchResults(list[SearchResult]):
    """The best matches, best first: a list. `truncated` says that some were left off, as all would be too large."""

    truncated: bool

    def __init__(self, results: Iterable[SearchResult] = (), *, truncated: bool = False) -> None:
        super().__init__(results)
        self.truncated = truncated
