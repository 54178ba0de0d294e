"""Letta beside an event loop: what is slow for one user keeps no other waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from openmem import AsyncMemory
from openmem._io.vendors.letta.archives import name_of
from tests.vendor.letta import KEY, NEEDED, LettaService

pytest.importorskip("letta_client", reason=NEEDED)


@pytest.fixture
def service() -> Iterator[LettaService]:
    service = LettaService()
    yield service
    service.close()


@pytest.fixture
async def memory(service: LettaService) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("letta", api_key=KEY, base_url=service.url) as memory:
        yield memory


async def until_archive_is_asked_for(service: LettaService) -> None:
    async with asyncio.timeout(10):
        while ("POST", "/v1/archives/") not in service.requests:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.001)


async def test_user_whose_archive_is_slow_to_make_keeps_no_other_waiting(
    service: LettaService, memory: AsyncMemory
) -> None:
    service.untold = name_of("ann")
    slow = asyncio.create_task(memory.add(content="likes tea", user_id="ann"))
    await until_archive_is_asked_for(service)
    record = await memory.add(content="swims", user_id="bob", timeout=5)
    assert record.user_id == "bob"
    assert not slow.done()
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
