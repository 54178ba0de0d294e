"""Bounds a page: no more than so many items, and no more than so many bytes of content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from openmem._model.cursors import decode_cursor, encode_cursor
from openmem._model.requests import HistoryQuery
from openmem._model.results import HistoryPage, SearchResults
from openmem._rules.versions import FIXED, size_of
from openmem.types import ListOrder, MemoryRecord, SearchResult

PAGE_BYTES: Final = 8 * 1024 * 1024
"""A page ends before the item with which its contents would be more than this; there is always one, if there is any."""


T = TypeVar("T")


class Truncated(list[T]):
    """Results of a search of which some are left off, as all would be too large."""


def results_of(results: Sequence[SearchResult]) -> SearchResults:
    """Return the results that go on a page, best first."""
    count = fitting([size_of(result.memory) for result in results], len(results))
    cut = isinstance(results, Truncated) or getattr(results, "truncated", False)
    return SearchResults(results[:count], truncated=cut or count < len(results))


def plain_results_of(results: Sequence[SearchResult]) -> SearchResults | None:
    """Return the same at once where no memory has fields of its caller's and all fit, as nearly always; else `None`."""
    memories = [result.memory for result in results]
    if any([one.__pydantic_extra__ or one.metadata for one in memories]):  # noqa: C419 - every search comes here
        return None
    if sum([len(one.content) for one in memories]) + FIXED * len(results) > PAGE_BYTES:
        return None
    return SearchResults(results, truncated=isinstance(results, Truncated) or getattr(results, "truncated", False))


def fitting(sizes: Iterable[int], limit: int) -> int:
    """Return how many of the items go on a page, given the size of each, in their order."""
    if isinstance(sizes, list) and len(sizes) <= limit and sum(sizes) <= PAGE_BYTES:
        return len(sizes)
    count = total = 0
    for size in sizes:
        total += size
        if count == limit or (count and total > PAGE_BYTES):
            break
        count += 1
    return count


def date_of(record: MemoryRecord, order: ListOrder) -> datetime:
    """Return the date of a memory by which a list in this order puts it."""
    if order == "updated":
        return record.updated_at or record.created_at
    return (record.valid_from if order == "valid_from" else None) or record.created_at


def page_of_history(states: Sequence[MemoryRecord], query: HistoryQuery) -> HistoryPage:
    """Return a page of a history of which everything is at hand.

    The cursor names the last state of the page, so one that came meanwhile makes no other come again.

    Raises:
        InvalidRequestError: The cursor is not one of this history.
    """
    binding = ["whole", query.id, query.user_id]
    first = 0
    if query.cursor is not None:
        count, id_, version = decode_cursor(query.cursor, "history", (int, str, int), binding)
        found = [index for index, state in enumerate(states) if (state.id, state.version) == (id_, version)]
        first = found[0] + 1 if found else count
    rest = states[first:]
    count = fitting(map(size_of, rest), query.limit)
    if count == len(rest):
        return HistoryPage(rest)
    last = rest[count - 1]
    cursor = encode_cursor("history", [first + count, last.id, last.version], binding)
    return HistoryPage(rest[:count], cursor)


def highest_so_far(times: Iterable[int]) -> list[int]:
    """Return, for the times of a memory's versions from the oldest on, the highest up to each.

    By these, and not by what a clock said that was set back, a version comes after those before it.
    """
    highest: list[int] = []
    for time in times:
        highest.append(max(time, highest[-1]) if highest else time)
    return highest
