"""The mem0 provider against the hosted service itself. Each test has a user of its own, who is erased."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from openmem import AsyncMemory, NotFoundError
from openmem.errors import UnauthorizedError
from tests.vendor.mem0_oss import NEEDED

KEY = os.environ.get("MEM0_TEST_API_KEY")

pytest.importorskip("mem0", reason=NEEDED)
pytestmark = [
    pytest.mark.skipif(KEY is None, reason="mem0's hosted service needs MEM0_TEST_API_KEY"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def user_id() -> str:
    return f"openmem-test-{secrets.token_hex(8)}"


@pytest.fixture
async def memory(user_id: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("mem0", api_key=KEY, timeout=240) as memory:
        yield memory
        receipt = await memory.delete_all(user_id)
        assert receipt.remaining == {"memories": 0}


async def test_memory_lives_in_the_service_and_leaves_it(memory: AsyncMemory, user_id: str) -> None:
    extensions: dict[str, Any] = {"x-app": {"a": [1, None, {"b": "é"}]}}
    record = await memory.add(
        content="likes tea", user_id=user_id, scope="home", tags=["b", "a"], key="k", confidence=0.5, **extensions
    )
    assert await memory.get(record.id, user_id=user_id) == record
    [found] = await memory.search("which tea?", user_id, scope="home", tags=["a"])
    assert (found.memory.id, found.memory.content) == (record.id, "likes tea")
    assert 0 <= found.score <= 1
    changed = await memory.update(record.id, content="likes coffee", user_id=user_id)
    assert (changed.id, changed.version) == (record.id, 2)
    assert [each.content for each in (await memory.list(user_id)).items] == ["likes coffee"]
    with pytest.raises(NotFoundError):
        await memory.get(record.id, user_id=f"{user_id}-other")
    await memory.delete(record.id, user_id=user_id)
    with pytest.raises(NotFoundError):
        await memory.get(record.id, user_id=user_id)


async def test_supersession_and_scopes_hold(memory: AsyncMemory, user_id: str) -> None:
    old = await memory.add(content="lives in Rome", user_id=user_id, scope="home/city")
    new = await memory.add(content="lives in Oslo", user_id=user_id, scope="home/city", supersedes=[old.id])
    assert [each.id for each in (await memory.list(user_id, scope="home/*")).items] == [new.id]
    exported = "".join((await memory.export(user_id)).lines)
    assert [exported.count(f'"{id_}"') for id_ in (old.id, new.id)] == [2, 1]  # one of them in `supersedes`


async def test_pages_hold_every_memory(memory: AsyncMemory, user_id: str) -> None:
    contents = [f"fact number {number}" for number in range(12)]
    await memory.add_many([{"content": content} for content in contents], user_id=user_id)
    first = await memory.list(user_id, limit=7)
    second = await memory.list(user_id, limit=7, cursor=first.next_cursor)
    assert second.next_cursor is None
    assert sorted(each.content for each in [*first.items, *second.items]) == sorted(contents)


async def test_wrong_key_is_refused() -> None:
    async with AsyncMemory("mem0", api_key="m0-not-a-key-of-anybody", timeout=60) as memory:
        with pytest.raises(UnauthorizedError):
            await memory.list("ann")
