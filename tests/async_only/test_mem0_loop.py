"""mem0 beside an event loop: slow replies hold up no other task, and a cancelled caller leaves at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from openmem import AsyncMemory, DeadlineExceededError, MemoryItem, NotFoundError
from tests.vendor.mem0_hosted import KEY, Mem0Service
from tests.vendor.mem0_oss import NEEDED

pytest.importorskip("mem0", reason=NEEDED)

AT_ONCE = 32


@pytest.fixture
def service() -> Iterator[Mem0Service]:
    service = Mem0Service()
    yield service
    service.close()


@pytest.fixture
async def memory(service: Mem0Service) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("mem0", api_key=KEY, base_url=service.url, workers=AT_ONCE) as memory:
        await memory.add(content="likes tea", user_id="ann")
        yield memory


def searches(service: Mem0Service) -> int:
    return sum(path == "/v3/memories/search/" for _, path in [*service.requests])


async def until_requests(service: Mem0Service, count: int) -> None:
    async with asyncio.timeout(10):
        while len(service.requests) < count:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)


async def until_searches(service: Mem0Service, count: int) -> None:
    async with asyncio.timeout(10):
        while searches(service) < count:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)


async def test_loop_turns_while_mem0_is_slow(service: Mem0Service, memory: AsyncMemory) -> None:
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
    service: Mem0Service, memory: AsyncMemory
) -> None:
    service.gate.clear()
    task = asyncio.create_task(memory.search("tea", "ann"))
    await until_searches(service, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task  # the gate is closed: to wait for the search would take for ever
    service.gate.set()
    assert len(await memory.search("tea", "ann")) == 1


async def test_cancelled_add_is_finished_whole_or_not_begun(service: Mem0Service, memory: AsyncMemory) -> None:
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
    assert sum(kept["user_id"] == "bob" for kept in service.memories.values()) in (0, 20)


async def test_many_memories_are_looked_up_at_once_but_not_more_than_there_are_workers(service: Mem0Service) -> None:
    async with AsyncMemory("mem0", api_key=KEY, base_url=service.url, workers=4) as memory:
        records = await memory.add_many([{"content": f"fact {n}"} for n in range(30)], user_id="ann")
        before = len(service.requests)
        service.gate.clear()
        task = asyncio.create_task(memory.wait_for_ingest([record.id for record in records], "ann"))
        await until_requests(service, before + 4)
        assert {*service.requests[before:]} == {("GET", f"/v1/memories/{records[n * 8].id}/") for n in range(4)}
        service.gate.set()
        await task
        assert len(service.requests) == before + 30


async def test_many_events_are_waited_for_at_once(service: Mem0Service) -> None:
    service.looks = 3
    async with AsyncMemory("mem0", api_key=KEY, base_url=service.url, workers=4, infer=True) as memory:
        records = [await memory.add(content="I do like tea", user_id="ann") for _ in range(10)]
        before = len(service.requests)
        service.gate.clear()
        task = asyncio.create_task(memory.wait_for_ingest([record.id for record in records], "ann"))
        await until_requests(service, before + 4)
        assert len({path for _, path in service.requests[before:]}) == len(service.requests[before:]) == 4
        service.gate.set()
        await task
        assert len((await memory.list("ann")).items) == 10


async def test_deadline_ends_the_wait_for_many(service: Mem0Service, memory: AsyncMemory) -> None:
    records = await memory.add_many([{"content": f"fact {n}"} for n in range(30)], user_id="ann")
    service.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await memory.wait_for_ingest([record.id for record in records], "ann", timeout=0.2)
    service.gate.set()


async def test_after_one_is_missing_no_more_are_looked_up(service: Mem0Service) -> None:
    async with AsyncMemory("mem0", api_key=KEY, base_url=service.url, workers=1) as memory:
        records = await memory.add_many([{"content": f"fact {n}"} for n in range(60)], user_id="ann")
        await memory.delete(records[0].id)
        before = len(service.requests)
        with pytest.raises(NotFoundError, match=records[0].id):
            await memory.wait_for_ingest([record.id for record in records], "ann")
        assert len(service.requests) - before <= 2
