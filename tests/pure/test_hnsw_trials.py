"""Conditions under which an approximate index is relied on."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from openmem._sql.postgres.hnsw_trials import AGAIN, ENOUGH, MOST_USERS, PAUSE, TRIALS, Trials, share_found
from openmem.types import MemoryRecord, SearchResult


def tried(trials: Trials, *shares: float, who: str = "ann") -> None:
    for share in shares:
        assert trials.way(who) == "trial"
        trials.note(who, share)


def results(*scores: float) -> list[SearchResult]:
    record = MemoryRecord(id="m", content="c", user_id="ann", created_at=datetime(2024, 1, 1, tzinfo=UTC))
    return [SearchResult(memory=record, score=score) for score in scores]


def test_the_first_searches_are_trials() -> None:
    trials = Trials()
    tried(trials, *[1.0] * TRIALS)
    assert trials.way("ann") == "index"


def test_trials_that_told_nothing_are_repeated() -> None:
    trials = Trials()
    assert {trials.way("ann") for _ in range(3 * TRIALS)} == {"trial"}


@pytest.mark.parametrize(("worst", "way"), [(1 - TRIALS * (1 - ENOUGH) + 0.01, "index"), (0.5, "exact")])
def test_the_share_over_all_trials_decides(worst: float, way: str) -> None:
    trials = Trials()
    tried(trials, worst, *[1.0] * (TRIALS - 1))
    assert trials.way("ann") == way


def test_an_index_that_is_relied_on_is_tried_again_and_given_up_when_it_gets_worse() -> None:
    trials = Trials()
    tried(trials, *[1.0] * TRIALS)
    assert [trials.way("ann") for _ in range(AGAIN)] == ["index"] * AGAIN
    tried(trials, 0.2)
    assert trials.way("ann") == "exact"


def test_an_index_that_failed_gets_another_chance_later() -> None:
    trials = Trials()
    tried(trials, *[0.3] * TRIALS)
    assert [trials.way("ann") for _ in range(PAUSE)] == ["exact"] * PAUSE
    tried(trials, *[1.0] * TRIALS)
    assert trials.way("ann") == "index"


def test_each_user_has_trials_of_its_own_and_the_oldest_are_forgotten() -> None:
    trials = Trials()
    tried(trials, *[1.0] * TRIALS)
    assert trials.way("bob") == "trial"
    for number in range(MOST_USERS):
        trials.way(f"user{number}")
    assert trials.way("ann") == "trial"


def test_share_counts_what_is_as_near_as_the_exact_answer() -> None:
    assert share_found(results(0.9, 0.8), results(0.9, 0.8)) == 1.0
    assert share_found(results(0.9, 0.7), results(0.9, 0.8)) == 0.5
    assert share_found(results(0.8, 0.8, 0.8), results(0.8)) == 1.0
    assert share_found([], results(0.8)) == 0.0
    assert share_found([], []) == 1.0
