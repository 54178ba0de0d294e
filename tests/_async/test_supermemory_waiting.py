"""Waiting of the supermemory provider for many memories: in lists, and one by one for what no list shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from openmem import AsyncMemory, MemoryItem, NotFoundError, ProviderError
from openmem.errors import IngestionTimeoutError
from tests.vendor.supermemory import KEY, NEEDED, SupermemoryService

pytest.importorskip("supermemory", reason=NEEDED)

LIST = ("POST", "/ns/ann/list/documents")


@pytest.fixture
def service() -> Iterator[SupermemoryService]:
    service = SupermemoryService()
    yield service
    service.close()


@pytest.fixture
async def memory(service: SupermemoryService) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("supermemory", api_key=KEY, base_url=service.url) as memory:
        yield memory
    assert service.broken == []


async def stored(memory: AsyncMemory, service: SupermemoryService, count: int) -> list[str]:
    """Store some memories and return their ids; the requests for that are forgotten."""
    records = await memory.add_many([{"content": f"fact {number}"} for number in range(count)], user_id="ann")
    service.requests.clear()
    return [record.id for record in records]


async def test_250_memories_are_waited_for_in_three_lists_a_round(
    memory: AsyncMemory, service: SupermemoryService
) -> None:
    service.looks = 2
    ids = await stored(memory, service, 250)
    await memory.add(content="is not waited for", user_id="ann")
    service.requests.clear()
    await memory.wait_for_ingest(ids, "ann")
    assert service.requests == [LIST] * 9
    assert {document.looks for document in service.documents.values() if document.id in ids} == {0}


async def test_only_what_is_not_ready_is_looked_up_again(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.looks = 0
    ids = await stored(memory, service, 200)
    service.looks = 1
    late = await memory.add(content="takes longer", user_id="ann")
    service.requests.clear()
    await memory.wait_for_ingest([*ids, late.id], "ann")
    assert service.requests == [*[LIST] * 3, ("GET", f"/ns/ann/document/{late.id}")]


async def test_memories_of_others_are_waited_for_among_many(memory: AsyncMemory, service: SupermemoryService) -> None:
    import supermemory

    ids = await stored(memory, service, 20)
    with supermemory.Supermemory(api_key=KEY, base_url=service.url) as client:
        client.add("ann", content="likes oolong", id="theirs", task_type="superrag")
    await memory.wait_for_ingest([*ids, "theirs"], "ann")
    assert service.requests.count(("GET", "/ns/ann/document/theirs")) == 3
    assert (await memory.get("theirs", user_id="ann")).status == "done"


async def test_memory_that_no_list_shows_is_missing(memory: AsyncMemory, service: SupermemoryService) -> None:
    ids = await stored(memory, service, 20)
    other = await memory.add(content="likes tea", user_id="bob")
    with pytest.raises(NotFoundError, match=other.id):
        await memory.wait_for_ingest([*ids, other.id], "ann")


async def test_failure_among_many_is_told(memory: AsyncMemory, service: SupermemoryService) -> None:
    ids = await stored(memory, service, 20)
    service.fails = True
    failed = await memory.add(content="cannot be read", user_id="ann")
    with pytest.raises(ProviderError, match="could not take in"):
        await memory.wait_for_ingest([*ids, failed.id], "ann")


async def test_wait_for_many_gives_up_in_time(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.looks = 1_000
    ids = await stored(memory, service, 20)
    with pytest.raises(IngestionTimeoutError):
        await memory.wait_for_ingest(ids, "ann", timeout=1)


async def test_add_waits_where_the_environment_says_so(
    service: SupermemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.looks = 2
    items: list[MemoryItem] = [{"content": "likes oolong"}, {"content": "likes milk"}]
    for block, status in (("0", "queued"), ("1", "done"), ("true", "queued")):
        monkeypatch.setenv("OMP_INGEST_BLOCK", block)
        async with AsyncMemory("supermemory", api_key=KEY, base_url=service.url) as memory:
            records = await memory.add_many(items, user_id=f"ann-{block}")
            assert [record.status for record in records] == [status] * 2
            stored = [(await memory.get(record.id, user_id=record.user_id)).status for record in records]
            assert (set(stored) == {"done"}) is (status == "done")
    assert service.broken == []


async def test_environment_says_how_long_to_wait_and_where_the_service_is(
    service: SupermemoryService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_INGEST_TIMEOUT", "1")
    monkeypatch.setenv("SUPERMEMORY_BASE_URL", service.url)
    service.looks = 1_000_000
    async with AsyncMemory("supermemory", api_key=KEY) as memory:
        record = await memory.add("likes oolong", user_id="ann")
        with pytest.raises(IngestionTimeoutError):
            await memory.wait_for_ingest([record.id], "ann")
        service.looks = 0
        for document in service.documents.values():
            document.looks = 0
        await memory.wait_for_ingest([record.id], "ann")
