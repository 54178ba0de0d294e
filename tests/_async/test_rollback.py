"""A batch for which the time runs out leaves nothing behind, although there is no time left to take it back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, DeadlineExceededError, MemoryItem, NotFoundError
from openmem._config.registry import BUILT_IN
from openmem.errors import ProviderUnavailableError
from openmem.providers import ProviderName
from tests._async.late_provider import ERASED, GONE, LATE, SILENT, SPEC, UNTOLD
from tests.vendor.stubs import StubStore, stub_store

LINE = '{{"memory":{{"id":"m{0}","content":"{1}","user_id":"ann","created_at":"2024-01-01T00:00:00Z"}}}}'
FIRST = "drinks tea"
SERVICES = ["mem0 hosted", "supermemory", "letta"]


@pytest.fixture
async def memory(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncMemory]:
    monkeypatch.setitem(BUILT_IN, "late", SPEC)
    async with AsyncMemory(ProviderName("late"), workers=1) as memory:
        yield memory


@pytest.fixture(params=SERVICES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StubStore]:
    with stub_store(request.param, tmp_path, lambda: request.getfixturevalue("postgres")) as place:
        yield place


@pytest.fixture
async def service_memory(place: StubStore) -> AsyncIterator[AsyncMemory]:
    """One worker, so that a verb begins when the one before it has ended."""
    async with AsyncMemory(**place.settings(), workers=1) as memory:
        await memory.add(content="plays chess", user_id="ann", key="game")
        yield memory


async def contents(memory: AsyncMemory) -> list[str]:
    return sorted(record.content for record in (await memory.list("ann")).items)


def stored(place: StubStore) -> str:
    """Return all that a service holds."""
    return repr([getattr(place.service, name, None) for name in ("memories", "documents", "passages")])


@pytest.mark.parametrize("last", [SILENT, LATE])
async def test_added_memories_are_taken_back_after_the_deadline(memory: AsyncMemory, last: str) -> None:
    await memory.add(content="plays chess", user_id="ann", key="game")
    items: list[MemoryItem] = [{"content": FIRST}, {"content": "plays go", "key": "game"}, {"content": last}]
    with pytest.raises(DeadlineExceededError):
        await memory.add_many(items, user_id="ann", timeout=0.2)
    assert await contents(memory) == ["plays chess"]


async def test_change_without_an_answer_is_rolled_back(memory: AsyncMemory) -> None:
    await memory.add(content="plays chess", user_id="ann", key="game")
    with pytest.raises(DeadlineExceededError):
        await memory.add_many([{"content": FIRST}, {"content": UNTOLD, "key": "game"}], user_id="ann", timeout=0.2)
    assert await contents(memory) == ["plays chess"]


@pytest.mark.parametrize("last", [SILENT, LATE])
async def test_imported_memories_are_taken_back_after_the_deadline(memory: AsyncMemory, last: str) -> None:
    await memory.import_([LINE.format(1, "plays chess")])
    lines = [LINE.format(1, "plays go"), LINE.format(2, FIRST), LINE.format(3, last)]
    with pytest.raises(DeadlineExceededError):
        await memory.import_(lines, conflict="overwrite", timeout=0.2)
    assert await contents(memory) == ["plays chess"]


async def test_imported_change_without_an_answer_is_rolled_back(memory: AsyncMemory) -> None:
    await memory.import_([LINE.format(1, "plays chess")])
    with pytest.raises(DeadlineExceededError):
        await memory.import_([LINE.format(1, UNTOLD)], conflict="overwrite", timeout=0.2)
    assert await contents(memory) == ["plays chess"]


async def test_service_that_went_away_is_unavailable_and_it_is_told_what_may_be_left(memory: AsyncMemory) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        await memory.add_many([{"content": FIRST}, {"content": GONE}], user_id="ann")
    assert caught.value.details == {"left": 1}


async def test_change_of_a_memory_that_others_erase_meanwhile_is_not_called_left(memory: AsyncMemory) -> None:
    await memory.add(content="plays chess", user_id="ann", key="game")
    with pytest.raises(NotFoundError):
        await memory.add_many([{"content": FIRST}, {"content": ERASED, "key": "game"}], user_id="ann")
    assert await contents(memory) == []


BATCHES: dict[str, list[dict[str, Any]]] = {
    "a new memory": [{"content": FIRST}, {"content": "plays go", "key": "game"}, {"content": UNTOLD}],
    "several new memories": [{"content": FIRST}, {"content": UNTOLD}, {"content": "drinks milk"}],
    "a new memory with a key": [{"content": FIRST}, {"content": UNTOLD, "key": "other"}],
    "a change": [{"content": FIRST}, {"content": UNTOLD, "key": "game"}],
}


@pytest.mark.parametrize("items", BATCHES.values(), ids=BATCHES.keys())
async def test_service_that_stores_and_does_not_answer_keeps_nothing_of_a_batch(
    place: StubStore, service_memory: AsyncMemory, items: list[MemoryItem]
) -> None:
    place.service.untold = UNTOLD
    with pytest.raises(DeadlineExceededError):
        await service_memory.add_many(items, user_id="ann", timeout=0.5)
    place.service.untold = None
    assert await contents(service_memory) == ["plays chess"]
    assert UNTOLD not in stored(place)


@pytest.mark.parametrize("number", [1, 2], ids=["a change", "a new memory"])
async def test_service_that_stores_and_does_not_answer_keeps_nothing_of_an_import(
    place: StubStore, service_memory: AsyncMemory, number: int
) -> None:
    await service_memory.import_([LINE.format(1, "plays cards")])
    place.service.untold = UNTOLD
    with pytest.raises(DeadlineExceededError):
        await service_memory.import_(
            [LINE.format(3, FIRST), LINE.format(number, UNTOLD)], conflict="overwrite", timeout=0.5
        )
    place.service.untold = None
    assert await contents(service_memory) == ["plays cards", "plays chess"]
    assert UNTOLD not in stored(place)
