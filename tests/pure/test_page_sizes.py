"""The size of a page: no more than so many items, and no more than so many bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from openmem._model.requests import HistoryQuery
from openmem._model.results import SearchResults
from openmem._rules.paging import (
    PAGE_BYTES,
    Truncated,
    fitting,
    highest_so_far,
    page_of_history,
    plain_results_of,
    results_of,
)
from openmem._rules.versions import FIXED
from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord, SearchResult

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HALF = PAGE_BYTES // 2


def state(version: int, size: int = 0, **extra: Any) -> MemoryRecord:
    content = "x" * max(1, size - FIXED)
    return MemoryRecord(id="a", content=content, user_id="ann", created_at=NOW, version=version, **extra)


def results(*sizes: int) -> list[SearchResult]:
    return [SearchResult(memory=state(number + 1, size), score=0.5) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "limit", "count"),
    [
        ([], 5, 0),
        ([1, 1, 1], 3, 3),
        ([1, 1, 1], 2, 2),
        ([HALF, HALF], 5, 2),
        ([HALF, HALF + 1], 5, 1),
        ([HALF, HALF, 1], 5, 2),
        ([2 * PAGE_BYTES], 5, 1),
        ([2 * PAGE_BYTES, 1], 5, 1),
        ([1, 2 * PAGE_BYTES, 1], 5, 1),
    ],
)
def test_page_holds_what_fits_and_one_item_at_least(sizes: list[int], limit: int, count: int) -> None:
    assert fitting(sizes, limit) == fitting(iter(sizes), limit) == count


def test_results_that_are_left_off_are_told() -> None:
    small = results(1, 1)
    assert (results_of(small), results_of(small).truncated) == (small, False)
    large = results(HALF, HALF + 1)
    assert (results_of(large), results_of(large).truncated) == (large[:1], True)
    assert results_of(Truncated(small)).truncated
    assert results_of(SearchResults(small, truncated=True)).truncated
    assert not results_of(SearchResults(small)).truncated


def test_plain_results_are_handed_on_at_once_if_all_fit() -> None:
    exact = results(HALF, HALF)
    got = plain_results_of(exact)
    assert (got, getattr(got, "truncated", None)) == (exact, False)
    assert plain_results_of(results(HALF, HALF + 1)) is None
    assert plain_results_of([SearchResult(memory=state(1, **{"x-a": 1}), score=0.5)]) is None
    for cut in (Truncated(exact), SearchResults(exact, truncated=True)):
        assert getattr(plain_results_of(cut), "truncated", None) is True
    assert plain_results_of([]) == []


def test_history_is_led_through_state_by_state() -> None:
    states = [state(version) for version in (5, 4, 3, 2, 1)]
    seen: list[int] = []
    cursor = None
    for size in (2, 2, 1):
        page = page_of_history(states, HistoryQuery("a", "ann", 2, cursor))
        assert len(page) == size
        seen += [one.version for one in page]
        cursor = page.next_cursor
    assert seen == [5, 4, 3, 2, 1]
    assert cursor is None
    assert page_of_history(states, HistoryQuery("a", "ann", 5)).next_cursor is None
    assert page_of_history([], HistoryQuery("a", "ann")) == []


def test_history_goes_on_behind_the_last_state_whatever_came_or_went() -> None:
    states = [state(version) for version in (5, 4, 3, 2, 1)]
    cursor = page_of_history(states, HistoryQuery("a", "ann", 2)).next_cursor
    query = HistoryQuery("a", "ann", 2, cursor)
    assert [one.version for one in page_of_history([state(6), *states], query)] == [3, 2]
    gone = [states[0], *states[2:]]  # the one that the cursor names: then its place counts
    assert [one.version for one in page_of_history(gone, query)] == [2, 1]
    second = page_of_history(states, query).next_cursor
    without = [*states[:3], states[4]]
    assert [one.version for one in page_of_history(without, HistoryQuery("a", "ann", 2, second))] == []


def test_history_ends_a_page_before_it_is_too_large() -> None:
    page = page_of_history([state(3, HALF), state(2, HALF), state(1)], HistoryQuery("a", "ann"))
    assert [one.version for one in page] == [3, 2]
    assert page.next_cursor is not None


@pytest.mark.parametrize("query", [HistoryQuery("b", "ann"), HistoryQuery("a", "bob"), HistoryQuery("a")])
def test_cursor_of_another_history_is_refused(query: HistoryQuery) -> None:
    cursor = page_of_history([state(2), state(1)], HistoryQuery("a", "ann", 1)).next_cursor
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        page_of_history([state(2), state(1)], HistoryQuery(query.id, query.user_id, 1, cursor))


def test_times_never_go_back() -> None:
    assert highest_so_far([3, 1, 4, 4, 2]) == [3, 3, 4, 4, 4]
    assert highest_so_far([]) == []
