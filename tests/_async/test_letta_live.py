"""The Letta provider against a real server; `make test-letta` starts one. Users are new in each test, and erased."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openmem import AsyncMemory, MemoryItem, NotFoundError
from openmem._io.vendors.letta.archives import name_of
from tests.vendor.letta import NEEDED

URL = os.environ.get("LETTA_TEST_BASE_URL")

pytest.importorskip("letta_client", reason=NEEDED)
pytestmark = [
    pytest.mark.skipif(URL is None, reason="a Letta server needs LETTA_TEST_BASE_URL; make test-letta starts one"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def user_id() -> str:
    return f"openmem test/{secrets.token_hex(8)}"


@pytest.fixture
async def memory(user_id: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("letta", base_url=URL, timeout=240) as memory:
        yield memory
        receipt = await memory.delete_all(user_id)
        assert receipt.remaining == {"memories": 0}


async def test_memory_lives_in_the_server_and_leaves_it(memory: AsyncMemory, user_id: str) -> None:
    extensions: dict[str, Any] = {"x-app": {"a": [1, None, {"b": "é"}]}}
    record = await memory.add(
        content="likes tea", user_id=user_id, scope="home", tags=["b", "a"], key="k", confidence=0.5, **extensions
    )
    assert await memory.get(record.id) == record
    [found] = await memory.search("which tea?", user_id, scope="home", tags=["a"])
    assert (found.memory, found.score) == (record, 1.0)
    changed = await memory.update(record.id, content="likes coffee", user_id=user_id)
    assert (changed.id, changed.version) == (record.id, 2)
    assert (await memory.list(user_id)).items == [changed]
    with pytest.raises(NotFoundError):
        await memory.get(record.id, user_id="openmem test/nobody")
    await memory.delete(record.id, user_id=user_id)
    with pytest.raises(NotFoundError):
        await memory.get(record.id, user_id=user_id)


async def test_new_process_finds_the_archive_and_all_that_is_in_it(memory: AsyncMemory, user_id: str) -> None:
    items: list[MemoryItem] = [{"content": f"fact {number}", "tags": [f"n{number % 7}"]} for number in range(130)]
    await memory.add_many(items, user_id=user_id)
    async with AsyncMemory("letta", base_url=URL, timeout=240) as other:
        page = await other.list(user_id, limit=500)
        assert sorted(record.content for record in page.items) == sorted(str(item["content"]) for item in items)
        assert len(await other.search("fact", user_id, tags=["n3"], limit=100)) == 19


async def test_supersession_and_scopes_hold(memory: AsyncMemory, user_id: str) -> None:
    old = await memory.add(content="lives in Rome", user_id=user_id, scope="home/city")
    new = await memory.add(content="lives in Oslo", user_id=user_id, scope="home/city", supersedes=[old.id])
    assert [each.memory.id for each in await memory.search("lives in", user_id, scope="home/*")] == [new.id]
    assert [each.id for each in (await memory.list(user_id)).items] == [new.id]


async def test_passages_of_one_moment_are_all_listed(memory: AsyncMemory, user_id: str) -> None:
    letta = pytest.importorskip("letta_client", reason=NEEDED)
    await memory.add(content="mine", user_id=user_id)
    with letta.Letta(base_url=URL) as client:
        [archive] = list(client.archives.list(name=name_of(user_id)))
        moment = "2025-03-01T12:00:00+00:00"
        passages = [{"text": f"fact {number}", "created_at": moment} for number in range(130)]
        client.archives.passages.create_many(archive.id, passages=passages)
        page = await memory.list(user_id, limit=500)
        assert {record.content for record in page.items} == {"mine", *(f"fact {number}" for number in range(130))}
        assert [each.id for each in client.archives.list(name=name_of(user_id))] == [archive.id]
        assert [each for each in client.agents.list() if each.name.startswith("openmem-reader-")] == []
