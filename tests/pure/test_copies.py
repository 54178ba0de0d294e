"""Near copies are folded; anything that says something else is kept."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem.context import build_context
from openmem.copies import fold_copies
from openmem.types import UTC, Memory, SearchResult

DAY = datetime(2026, 1, 1, tzinfo=UTC)
LONG = (
    "when planning a trip with friends and family we always book the train early because it is cheaper and "
    "more relaxed than flying and the view from the window is worth the longer journey in every season"
)


def found(*contents: str) -> list[SearchResult]:
    return [
        SearchResult(
            memory=Memory(id=f"m{i}", content=content, user_id="u", created_at=DAY + timedelta(days=i)),
            score=0.9 - i / 10,
        )
        for i, content in enumerate(contents)
    ]


def ids(results: list[SearchResult]) -> list[str]:
    return [result.memory.id for result in results]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("User likes tea", "User likes tea"),
        ("User likes tea", "user likes TEA!"),
        (f"The {LONG}", LONG),
        (LONG, f"{LONG} too"),
        ("Meeting on 2026-01-31 at 10:30", "meeting on 2026-01-31 at 10:30."),
    ],
)
def test_copies_leave_the_newest_with_its_own_score(one: str, two: str) -> None:
    kept = fold_copies(found(one, two))
    assert [(result.memory.id, result.score) for result in kept] == [("m1", 0.8)]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("User likes tea", "User likes coffee"),
        (f"{LONG} 3", f"{LONG} 4"),
        (f"{LONG} at 10 to 5", f"{LONG} at 5 to 10"),
        (f"{LONG} 3.5", f"{LONG} 5.3"),
        (f"{LONG} -5", f"{LONG} 5"),
        (f"{LONG} on 2026-01-02", f"{LONG} on 2026-02-01"),
        (f"Anna says {LONG}", f"Bob says {LONG}"),
        (f"{LONG} and do not fly", f"{LONG} and do fly"),
        (f"{LONG} and she doesn't fly", f"{LONG} and she does fly"),
        (f"{LONG} on monday", f"{LONG} on friday"),
        ("prefers tabs over spaces", "prefers spaces over tabs"),
        ("Writes C++", "Writes C#"),
        ("costs $5", "costs €5"),
        ("🎉", "😢"),
        ("!!!", "???"),
        (f"{'x ' * 3000}a", f"{'x ' * 3000}b"),
    ],
)
def test_texts_that_differ_in_what_they_say_are_both_kept(one: str, two: str) -> None:
    assert ids(fold_copies(found(one, two))) == ["m0", "m1"]


def test_newest_is_judged_by_the_time_of_validity() -> None:
    one, two = found("User likes tea", "User likes tea")
    one.memory.valid_from = DAY + timedelta(days=100)
    assert ids(fold_copies([one, two])) == ["m0"]


def test_scores_fall_after_folding() -> None:
    results = found("User likes tea", "User has a cat", "User likes tea")
    assert [(result.memory.id, result.score) for result in fold_copies(results)] == [("m1", 0.8), ("m2", 0.7)]


def test_folded_copy_is_not_paid_for_in_the_block() -> None:
    block = build_context(found("User likes tea", "User has a cat", "User likes tea"), token_budget=500)
    assert [citation.memory_id for citation in block.citations] == ["m1", "m2"]
    assert block.text.count("tea") == 1


@given(st.lists(st.sampled_from(["a b c", "a  b c!", "c b a", "d", "d 1", "d 2", "", "?"]), max_size=12))
def test_every_result_is_kept_or_has_a_newer_copy(contents: list[str]) -> None:
    results = found(*contents)
    kept = fold_copies(results)
    assert ids(fold_copies(kept)) == ids(kept)
    assert [result.score for result in kept] == sorted((result.score for result in kept), reverse=True)
    newest = {content.rstrip("!").replace("  ", " "): f"m{i}" for i, content in enumerate(contents)}
    assert set(ids(kept)) == set(newest.values())
