"""Requests of the Letta provider: what goes into one, and how an export reads an archive in parts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmem import AsyncMemory, MemoryItem, ProviderError
from openmem._io.vendors.letta.archives import name_of
from tests.vendor.letta import KEY, NEEDED, LettaService

pytest.importorskip("letta_client", reason=NEEDED)

NOW = datetime(2025, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SEARCH = ("POST", "/v1/passages/search")


@pytest.fixture
def service() -> Iterator[LettaService]:
    service = LettaService()
    service.dimensions = 4
    yield service
    service.close()


def connect(service: LettaService) -> AsyncMemory:
    return AsyncMemory("letta", api_key=KEY, base_url=service.url)


@pytest.fixture
async def memory(service: LettaService) -> AsyncIterator[AsyncMemory]:
    async with connect(service) as memory:
        yield memory
    assert (service.broken, service.agents) == ([], {})


def facts(count: int) -> list[MemoryItem]:
    return [{"content": f"fact {number}", "tags": [f"t{number}"]} for number in range(count)]


def fill(service: LettaService, moments: list[int]) -> list[str]:
    """Keep a passage of others for each moment, and return their texts."""
    archive = service._make_archive({"name": name_of("ann")})
    for number, micros in enumerate(moments):
        service.store(archive["id"], f"fact {number}", NOW + timedelta(microseconds=micros))
    return [f"fact {number}" for number in range(len(moments))]


async def exported(memory: AsyncMemory, limit: int) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await memory.export("ann", cursor=cursor, limit=limit)
        memories = [line for line in page.lines if '"memory"' in line]
        assert len(memories) <= limit
        found += memories
        cursor = page.next_cursor
        if cursor is None:
            return found


def contents(lines: list[str], texts: list[str]) -> list[int]:
    """Return how often each text is in an export."""
    return ["".join(lines).count(f'"{text}"') for text in texts]


async def test_250_memories_are_three_requests(memory: AsyncMemory, service: LettaService) -> None:
    records = await memory.add_many(facts(250), user_id="ann")
    assert [path.rpartition("/")[2] for method, path in service.requests if "passages" in path] == ["batch"] * 3
    assert [record.content for record in records] == [item["content"] for item in facts(250)]
    assert len({passage["created_at"] for passage in service.passages.values()}) == 250
    for record in records[::60]:
        assert await memory.get(record.id, user_id="ann") == record


async def test_batch_that_fails_is_taken_back(memory: AsyncMemory, service: LettaService) -> None:
    await memory.add(content="was there", user_id="ann")

    def progress(done: int, total: int) -> None:
        service.fail("POST", "/batch$", (402, {}, {}))

    with pytest.raises(ProviderError):
        await memory.add_many(facts(150), user_id="ann", on_progress=progress)
    assert [passage["text"] for passage in service.passages.values()] == ["was there"]


async def test_batch_that_may_have_arrived_is_not_sent_again_but_erased(
    memory: AsyncMemory, service: LettaService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await memory.add(content="was there", user_id="ann")
    answer = service._do

    def late(method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        status, reply = answer(method, path, query, body)
        return (status, reply[:1]) if path.endswith("/batch") else (status, reply)

    monkeypatch.setattr(service, "_do", late)
    with pytest.raises(ProviderError, match="another form"):
        await memory.add_many(facts(20), user_id="ann")
    assert [passage["text"] for passage in service.passages.values()] == ["was there"]


async def test_batch_goes_into_a_new_archive_if_the_old_one_was_deleted(
    memory: AsyncMemory, service: LettaService
) -> None:
    await memory.add(content="was there", user_id="ann")
    service.archives.clear()
    service.passages.clear()
    await memory.add_many(facts(3), user_id="ann")
    assert len((await memory.list("ann")).items) == 3


async def test_export_reads_each_passage_about_once(memory: AsyncMemory, service: LettaService) -> None:
    texts = fill(service, [3 * number for number in range(1_000)])
    lines = await exported(memory, 100)
    assert contents(lines, texts) == [1] * 1_000
    assert service.requests.count(SEARCH) <= 25


@pytest.mark.parametrize("limit", [1, 7, 99, 100, 101, 500])
async def test_export_of_equal_and_different_times_holds_each_once(
    memory: AsyncMemory, service: LettaService, limit: int
) -> None:
    moments = [0] * 3 + [1] * 40 + [2] * 60 + [3] + [4] * 130 + [5] * 2 + [9] * 99
    moments = moments[: 120 if limit == 1 else None]
    texts = fill(service, moments)
    assert contents(await exported(memory, limit), texts) == [1] * len(moments)


async def test_export_of_10000_passages_of_one_moment_holds_each_once(
    memory: AsyncMemory, service: LettaService
) -> None:
    texts = fill(service, [0] * 10_000)
    lines = await exported(memory, 500)
    assert len(lines) == 10_000
    assert {json.loads(line)["memory"]["content"] for line in lines} == set(texts)
    assert len(service.requests) < 400


async def test_export_goes_on_after_the_passage_of_its_cursor_is_gone(
    memory: AsyncMemory, service: LettaService
) -> None:
    texts = fill(service, [0] * 250)
    page = await memory.export("ann", limit=120)
    exported_texts = [text for text in texts if f'"{text}"' in "".join(page.lines)]
    assert len(exported_texts) == 120
    for passage_id in [key for key, passage in service.passages.items() if passage["text"] in exported_texts]:
        del service.passages[passage_id]
    rest = await memory.export("ann", cursor=page.next_cursor, limit=500)
    assert contents(rest.lines, texts) == [int(text not in exported_texts) for text in texts]


async def test_export_shows_a_memory_once_while_it_is_changed(service: LettaService) -> None:
    async with connect(service) as memory:
        record = await memory.add(content="old words", user_id="ann")
        await memory.add_many(facts(5), user_id="ann")
        service.fail("DELETE", "/passages/", *[(503, {}, {})] * 3)
        await memory.update(record.id, content="new words")
    assert len(service.passages) == 7
    async with connect(service) as memory:
        for limit in (1, 2, 500):
            lines = await exported(memory, limit)
            assert contents(lines, ["old words", "new words", "fact 0", "fact 4"]) == [0, 1, 1, 1]


async def test_user_with_two_archives_is_exported_whole(memory: AsyncMemory, service: LettaService) -> None:
    first = fill(service, [5 * number for number in range(150)])
    archive = service._make_archive({"name": name_of("ann")})
    for number in range(150):
        service.store(archive["id"], f"other {number}", NOW + timedelta(microseconds=7 * number))
    texts = [*first, *(f"other {number}" for number in range(150))]
    for limit in (40, 500):
        assert contents(await exported(memory, limit), texts) == [1] * 300


async def test_erasing_passages_of_one_moment_does_not_list_them_for_each(
    memory: AsyncMemory, service: LettaService
) -> None:
    fill(service, [0] * 130)
    service.requests.clear()
    receipt = await memory.delete_all("ann")
    assert (receipt.erased, receipt.remaining) == ({"memories": 130}, {"memories": 0})
    assert len([path for method, path in service.requests if path.endswith("/agents/") and method == "POST"]) == 1
