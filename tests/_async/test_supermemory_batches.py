"""Requests of the supermemory provider: a batch is stored whole or not at all, and once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from openmem import AsyncMemory, InvalidRequestError, MemoryItem, ProviderError
from openmem.errors import ProviderUnavailableError
from tests.vendor.supermemory import KEY, NEEDED, SupermemoryService

pytest.importorskip("supermemory", reason=NEEDED)

BATCH = ("POST", "/ns/ann/document/batch")


@pytest.fixture
def service() -> Iterator[SupermemoryService]:
    service = SupermemoryService()
    yield service
    service.close()


@pytest.fixture
async def memory(service: SupermemoryService) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("supermemory", api_key=KEY, base_url=service.url) as memory:
        await memory.health()
        service.requests.clear()
        service.bodies.clear()
        yield memory
    assert service.broken == []


def facts(count: int) -> list[MemoryItem]:
    return [{"content": f"fact {number}", "tags": [f"t{number}"]} for number in range(count)]


def sent(service: SupermemoryService) -> list[str]:
    return sorted(document.sent for document in service.documents.values())


async def test_250_memories_are_three_requests(memory: AsyncMemory, service: SupermemoryService) -> None:
    steps: list[tuple[int, int]] = []
    records = await memory.add_many(
        facts(250), user_id="ann", on_progress=lambda done, total: steps.append((done, total))
    )
    assert service.requests == [BATCH] * 3
    assert [len(body["documents"]) for body in service.bodies] == [100, 100, 50]
    assert steps == [(100, 250), (200, 250), (250, 250)]
    assert [record.content for record in records] == [f"fact {number}" for number in range(250)]
    assert {record.status for record in records} == {"queued"}
    assert len({record.id for record in records}) == 250
    for record in records[::50]:
        got = await memory.get(record.id, user_id="ann")
        assert (got.content, got.tags, got.created_at) == (record.content, record.tags, record.created_at)


async def test_options_of_the_service_stand_beside_a_batch(service: SupermemoryService) -> None:
    service.looks = 0
    async with AsyncMemory(
        "supermemory", api_key=KEY, base_url=service.url, task_type="memory", dreaming="instant"
    ) as memory:
        await memory.add_many([{"content": "https://example.com"}, {"content": "likes tea"}], user_id="ann")
    [body] = [each for each in service.bodies if each]
    assert (body["taskType"], body["dreaming"]) == ("memory", "instant")
    assert (service.fetched, service.broken) == ([], [])
    assert {document.how["taskType"] for document in service.documents.values()} == {"memory"}


async def test_draft_that_needs_a_look_is_sent_by_itself_and_in_order(
    memory: AsyncMemory, service: SupermemoryService
) -> None:
    old = await memory.add(content="was there", user_id="ann", key="k")
    items: list[MemoryItem] = [
        *facts(3),
        {"content": "now here", "key": "k"},
        *facts(2),
        {"content": "newer", "supersedes": [old.id]},
    ]
    service.requests.clear()
    records = await memory.add_many(items, user_id="ann")
    assert [record.content for record in records] == [item["content"] for item in items]
    assert records[3].id == old.id
    assert service.requests.count(BATCH) == 2
    assert {each.content for each in (await memory.list("ann")).items} == {"fact 0", "fact 1", "fact 2", "newer"}


async def test_users_are_never_in_one_request(memory: AsyncMemory, service: SupermemoryService) -> None:
    users = ["ann", "ann", "bob", "bob", "ann"]
    await memory.add_many([{"content": f"fact {n}", "user_id": user} for n, user in enumerate(users)])
    assert [path for _, path in service.requests] == [
        "/ns/ann/document/batch",
        "/ns/bob/document/batch",
        "/ns/ann/document",
    ]
    assert {each.content for each in (await memory.list("bob")).items} == {"fact 2", "fact 3"}


async def test_refusal_of_one_takes_back_all(memory: AsyncMemory, service: SupermemoryService) -> None:
    await memory.add(content="was there", user_id="ann")

    def progress(done: int, total: int) -> None:
        service.refused = {7}

    with pytest.raises(ProviderError, match="not take in all"):
        await memory.add_many(facts(180), user_id="ann", on_progress=progress)
    assert sent(service) == ["was there"]


async def test_batch_that_arrived_is_not_sent_again(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.after = [(503, {"error": "late"}, {})]
    records = await memory.add_many(facts(30), user_id="ann")
    assert sent(service) == sorted(item["content"] for item in facts(30))
    assert service.requests.count(BATCH) == 1
    assert len({record.id for record in records}) == 30


async def test_batch_that_did_not_arrive_is_sent_again(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.faults = [(503, {"error": "busy"}, {})]
    await memory.add_many(facts(30), user_id="ann")
    assert sent(service) == sorted(item["content"] for item in facts(30))
    assert service.requests.count(BATCH) == 2


async def test_part_of_a_failed_batch_that_arrived_is_erased(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.unseen = 9
    service.after = [(500, {"error": "late"}, {}), *[(503, {"error": "busy"}, {})] * 3]
    with pytest.raises((ProviderError, ProviderUnavailableError)):
        await memory.add_many(facts(3), user_id="ann")
    assert sent(service) == []


async def test_refused_batch_is_not_looked_for(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.faults = [(400, {"error": "no"}, {})]
    with pytest.raises(InvalidRequestError):
        await memory.add_many(facts(30), user_id="ann")
    assert service.requests == [BATCH]
    assert sent(service) == []


async def test_import_is_stored_in_batches(memory: AsyncMemory, service: SupermemoryService) -> None:
    await memory.add_many(facts(120), user_id="ann")
    before = (await memory.list("ann", limit=500)).items
    lines = (await memory.export("ann", limit=500)).lines
    await memory.delete_all("ann")
    service.requests.clear()
    report = await memory.import_([*lines, *lines[1:]])
    assert (report.imported, report.skipped) == (120, 120)
    assert service.requests.count(BATCH) == 2
    assert ("POST", "/ns/ann/document") not in service.requests
    after = (await memory.list("ann", limit=500)).items
    assert [each.model_copy(update={"status": None}) for each in after] == [
        each.model_copy(update={"status": None}) for each in before
    ]
    report = await memory.import_(lines, conflict="duplicate")
    assert report.duplicated == 120
    assert len(service.documents) == 240
