"""Searches far behind the best, on both stores of ours: pages of one size hold everything once, scores fall."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from openmem import Memory
from openmem.testing import HashEmbedder
from openmem.types import SearchMode

COUNT = 260


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def memory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with more memories than a search ranks by hints, some of which a tag or a date lifts."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    url = server.new_database() if server else f"sqlite:///{tmp_path_factory.mktemp('pages') / 'a.db'}"
    with Memory(url=url, embedder=HashEmbedder()) as memory:
        items: list[Any] = [
            {
                "content": f"tea {'garden ' * (number % 7)}note {number}",
                "tags": ["harbour"] if number % 40 == 0 else None,
                "valid_from": f"2024-0{1 + number % 9}-01T00:00:00Z",
            }
            for number in range(COUNT)
        ]
        memory.add_many(items, user_id="ann")
        yield memory
    if server:
        server.drop_database(url)


def pages(memory: Memory, query: str, size: int, mode: SearchMode, **more: Any) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for offset in range(0, COUNT + size, size):
        page = memory.search(query, "ann", limit=size, offset=offset, mode=mode, **more)
        assert len(page) == max(0, min(size, COUNT - offset)) or more
        found += [(result.memory.id, result.score) for result in page]
    return found


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
@pytest.mark.parametrize("size", [9, 70, 150])
def test_pages_of_one_size_hold_everything_once(memory: Memory, mode: SearchMode, size: int) -> None:
    for query in ("tea garden", "harbour tea note", "tea in March 2024"):
        found = pages(memory, query, size, mode)
        assert len({id for id, _ in found}) == len(found) == COUNT
        scores = [score for _, score in found]
        assert all(one >= other - 1e-6 for one, other in pairwise(scores)), query


def test_thousand_come_at_once(memory: Memory) -> None:
    found = memory.search("tea garden", "ann", limit=1_000)
    assert (len(found), found.truncated) == (COUNT, False)
    assert [result.score for result in found] == sorted([result.score for result in found], reverse=True)


def test_score_that_is_too_low_ends_the_pages(memory: Memory) -> None:
    whole = memory.search("tea garden", "ann", limit=1_000, mode="keyword")
    least = whole[199].score
    expected = [result.memory.id for result in whole if result.score >= least]
    assert 199 < len(expected) < COUNT
    found = pages(memory, "tea garden", 150, "keyword", min_score=least)
    assert sorted(id for id, _ in found) == sorted(expected)


def test_page_tells_what_makes_up_its_scores(memory: Memory) -> None:
    for result in memory.search("harbour tea", "ann", limit=20, offset=200, explain=True):
        assert result.explain is not None
        assert {"vector", "keyword"} <= result.explain["parts"].keys()
