"""A batch for which the time runs out leaves nothing behind, although there is no time left to take it back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from openmem import AsyncMemory, DeadlineExceededError
from openmem.registry import BUILT_IN
from tests._async.late_provider import SILENT, SPEC

LINE = '{{"memory":{{"id":"m{0}","content":"{1}","user_id":"ann","created_at":"2024-01-01T00:00:00Z"}}}}'
FIRST = "drinks tea"


@pytest.fixture
async def memory(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncMemory]:
    monkeypatch.setitem(BUILT_IN, "late", SPEC)
    async with AsyncMemory("late", workers=1) as memory:
        yield memory


async def contents(memory: AsyncMemory) -> list[str]:
    return sorted(record.content for record in (await memory.list("ann")).items)


async def test_added_memories_are_taken_back_after_the_deadline(memory: AsyncMemory) -> None:
    await memory.add(content="plays chess", user_id="ann", key="game")
    items = [{"content": FIRST}, {"content": "plays go", "key": "game"}, {"content": SILENT}]
    with pytest.raises(DeadlineExceededError):
        await memory.add_many(items, user_id="ann", timeout=0.2)
    assert await contents(memory) == ["plays chess"]


async def test_imported_memories_are_taken_back_after_the_deadline(memory: AsyncMemory) -> None:
    await memory.import_([LINE.format(1, "plays chess")])
    lines = [LINE.format(1, "plays go"), LINE.format(2, FIRST), LINE.format(3, SILENT)]
    with pytest.raises(DeadlineExceededError):
        await memory.import_(lines, conflict="overwrite", timeout=0.2)
    assert await contents(memory) == ["plays chess"]
