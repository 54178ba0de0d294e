from __future__ import annotations

from datetime import UTC, datetime, timedelta

from openmem._model.candidates import Candidate, best_first, candidate_of
from openmem._model.results import HistoryPage, SearchResults
from openmem._model.timestamps import micros, time_of
from openmem.types import MemoryRecord, SearchResult

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
MEMORY = MemoryRecord(id="a", content="tea", user_id="ann", created_at=NOW, valid_from=LATER)


def test_candidate_is_what_a_context_needs_of_a_result() -> None:
    candidate = candidate_of(SearchResult(memory=MEMORY, score=0.5))
    assert candidate == Candidate("a", 0.5, "tea", LATER, NOW)
    assert candidate.since == LATER
    assert candidate._replace(valid_from=None).since == NOW


def test_best_comes_first_and_of_equals_the_one_given_first() -> None:
    given = [Candidate(name, score, "tea", None, NOW) for name, score in (("a", 0.1), ("b", 0.9), ("c", 0.9))]
    assert [each.id for each in best_first(given)] == ["b", "c", "a"]


def test_lists_say_what_lies_beyond_them() -> None:
    assert (HistoryPage(), HistoryPage().next_cursor) == ([], None)
    assert (HistoryPage([MEMORY], "c"), HistoryPage([MEMORY], "c").next_cursor) == ([MEMORY], "c")
    result = SearchResult(memory=MEMORY, score=0.5)
    assert (SearchResults([result]), SearchResults([result]).truncated) == ([result], False)
    assert SearchResults(truncated=True).truncated


def test_time_goes_to_microseconds_and_back() -> None:
    assert (micros(NOW), micros(None), time_of(None)) == (1_777_593_600_000_000, None, None)
    assert time_of(1_777_593_600_000_001) == NOW + timedelta(microseconds=1)
