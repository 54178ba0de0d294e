"""A call that is cancelled leaves the server at once, and the client goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from openmem import AsyncMemory
from tests.omp_stub import Answer, OmpStub


@pytest.fixture
def stub() -> Iterator[OmpStub]:
    with OmpStub() as server:
        yield server


@pytest.fixture
async def memory(stub: OmpStub) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(base_url=stub.url, timeout=30) as memory:
        yield memory


async def test_server_sees_that_the_caller_is_gone(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.append(Answer(hang=True))
    task = asyncio.ensure_future(memory.get("mem_1"))
    assert await asyncio.to_thread(stub.arrived.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(stub.left.wait, 10)
    assert (await memory.get("mem_1")).id == "mem_1"


async def test_many_cancelled_calls_use_up_no_connections(memory: AsyncMemory, stub: OmpStub) -> None:
    for _ in range(3):
        stub.answers.extend([Answer(hang=True)] * 50)
        tasks = [asyncio.ensure_future(memory.get("mem_1")) for _ in range(50)]
        while len(stub.answers):  # noqa: ASYNC110 - the stub is a thread
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*tasks, return_exceptions=True)
        )
    records = await asyncio.gather(*(memory.get("mem_1") for _ in range(150)))
    assert len(records) == 150
