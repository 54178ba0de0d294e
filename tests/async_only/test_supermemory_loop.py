"""supermemory beside an event loop: slow replies hold up no other task, and a cancelled caller leaves at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from openmem import AsyncMemory, MemoryItem
from tests.vendor.supermemory import KEY, NEEDED, SupermemoryService

pytest.importorskip("supermemory", reason=NEEDED)

AT_ONCE = 32


@pytest.fixture
def service() -> Iterator[SupermemoryService]:
    service = SupermemoryService()
    yield service
    service.close()


@pytest.fixture
async def memory(service: SupermemoryService) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("supermemory", api_key=KEY, base_url=service.url, workers=AT_ONCE) as memory:
        record = await memory.add(content="likes tea", user_id="ann")
        await memory.wait_for_ingest([record.id], "ann")
        yield memory


def searches(service: SupermemoryService) -> int:
    return sum(path == "/ns/ann/search" for _, path in [*service.requests])


async def until_requests(service: SupermemoryService, count: int) -> None:
    async with asyncio.timeout(10):
        while len(service.requests) < count:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)


async def until_searches(service: SupermemoryService, count: int) -> None:
    async with asyncio.timeout(10):
        while searches(service) < count:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)


async def test_loop_turns_while_supermemory_is_slow(service: SupermemoryService, memory: AsyncMemory) -> None:
    service.gate.clear()
    tasks = [asyncio.create_task(memory.search("tea", "ann")) for _ in range(AT_ONCE)]
    await until_searches(service, AT_ONCE)
    lags = []
    for _ in range(30):
        before = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - before - 0.01)
    service.gate.set()
    assert [len(results) for results in await asyncio.gather(*tasks)] == [1] * AT_ONCE
    assert sorted(lags)[len(lags) // 2] < 0.02


async def test_cancelled_verb_leaves_at_once_and_the_instance_goes_on(
    service: SupermemoryService, memory: AsyncMemory
) -> None:
    service.gate.clear()
    task = asyncio.create_task(memory.search("tea", "ann"))
    await until_searches(service, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task  # the gate is closed: to wait for the search would take for ever
    service.gate.set()
    assert len(await memory.search("tea", "ann")) == 1


async def test_cancelled_add_is_finished_whole_or_not_begun(service: SupermemoryService, memory: AsyncMemory) -> None:
    items: list[MemoryItem] = [{"content": f"fact {n}"} for n in range(20)]
    service.gate.clear()
    before = len(service.requests)
    task = asyncio.create_task(memory.add_many(items, user_id="bob"))
    await until_requests(service, before + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    service.gate.set()
    await memory.close()  # waits a moment for what still runs
    assert sum(kept.namespace == "bob" for kept in service.documents.values()) in (0, 20)


@pytest.mark.parametrize(("count", "at_once"), [(6, 4), (350, 4)])
async def test_many_documents_are_looked_up_at_once_but_not_more_than_there_are_workers(
    service: SupermemoryService, count: int, at_once: int
) -> None:
    async with AsyncMemory("supermemory", api_key=KEY, base_url=service.url, workers=at_once) as memory:
        records = await memory.add_many([{"content": f"fact {n}"} for n in range(count)], user_id="ann")
        before = len(service.requests)
        service.gate.clear()
        task = asyncio.create_task(memory.wait_for_ingest([record.id for record in records], "ann"))
        await until_requests(service, before + at_once)
        assert len(service.requests) == before + at_once
        service.gate.set()
        await task
