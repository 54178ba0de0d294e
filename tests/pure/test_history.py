"""The states of a history: their order, whatever clocks said, and where a page ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from openmem._model.requests import Draft, HistoryQuery
from openmem._model.results import HistoryPage
from openmem._model.scopes import parse_pattern
from openmem._rules.writing import record_of
from openmem._sql.history import Member, Position, behind_cursor, positions, read_page
from openmem._sql.steps import Steps
from openmem.errors import InvalidRequestError
from openmem.types import MemoryRecord

START = record_of(Draft("now", "ann", version=3), "new", datetime(2026, 3, 1, tzinfo=UTC), None)
MEMBERS = [Member("new", 3, 10, 40), Member("old", 1, 5, 5)]
VERSIONS = {"new": [(1, 20, None), (2, 40, None)]}
ALL = [Position(20, 2, "new"), Position(10, 1, "new"), Position(5, 1, "old")]


def read(position: Position) -> Steps[MemoryRecord | None]:
    yield from ()
    if position.id == "old":
        return None  # it was removed meanwhile
    scope = None if position.version == 2 else "work"
    return record_of(
        Draft(f"{position.id} {position.version}", "ann", scope=scope), position.id, START.created_at, None
    )


def page(query: HistoryQuery, seen: str | None = None) -> HistoryPage:
    patterns = None if seen is None else (parse_pattern(seen),)
    with pytest.raises(StopIteration) as end:
        next(read_page(query, START, behind_cursor(query, START, ALL), read, patterns))
    result: HistoryPage = end.value.value
    return result


def test_states_come_newest_first_without_the_present_one() -> None:
    assert positions(START, MEMBERS, VERSIONS) == ALL


def test_version_comes_behind_those_before_it_where_a_clock_went_back() -> None:
    [second, first] = positions(START, MEMBERS[:1], {"new": [(1, 8, None), (2, 40, None)]})
    assert (second.version, first.version) == (2, 1)
    assert second.at >= first.at


def test_oldest_version_that_is_left_says_when_it_began() -> None:
    assert positions(START, MEMBERS[:1], {"new": [(2, 40, 20)]}) == [Position(20, 2, "new")]
    assert positions(START, [Member("new", 3, 10, 40)], {}) == []


def test_page_ends_at_its_limit_and_its_cursor_leads_on() -> None:
    first = page(HistoryQuery("new", limit=1))
    assert [record.content for record in first] == ["new 2"]
    rest = page(HistoryQuery("new", limit=1, cursor=first.next_cursor))
    assert [record.content for record in rest] == ["new 1"]


def test_state_that_is_gone_or_may_not_be_seen_is_left_out() -> None:
    assert [record.content for record in page(HistoryQuery("new"))] == ["new 2", "new 1"]
    assert [record.content for record in page(HistoryQuery("new"), seen="work")] == ["new 1"]


def test_cursor_of_another_history_is_refused() -> None:
    cursor = page(HistoryQuery("new", limit=1)).next_cursor
    other = START.model_copy(update={"id": "other"})
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        behind_cursor(HistoryQuery("other", cursor=cursor), other, ALL)
