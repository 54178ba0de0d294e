"""The supermemory provider against the service itself. It writes memories of one user and erases them."""

from __future__ import annotations

import os
import secrets

import pytest

from openmem import AsyncMemory
from tests.vendor.supermemory import NEEDED

KEY = os.environ.get("SUPERMEMORY_TEST_API_KEY")

pytest.importorskip("supermemory", reason=NEEDED)
pytestmark = pytest.mark.skipif(KEY is None, reason="supermemory's service needs SUPERMEMORY_TEST_API_KEY")


@pytest.mark.timeout(300)
async def test_memory_lives_in_the_service_and_leaves_it() -> None:
    user_id = f"openmem test/{secrets.token_hex(8)}"
    async with AsyncMemory("supermemory", api_key=KEY, timeout=240) as memory:
        try:
            record = await memory.add(content="likes tea", user_id=user_id, scope="home", tags=["drink"], key="k")
            await memory.wait_for_ingest([record.id], user_id)
            [found] = await memory.search("which drink?", user_id, scope="home", tags=["drink"])
            assert (found.memory.id, found.memory.content) == (record.id, "likes tea")
            changed = await memory.update(record.id, content="likes coffee", user_id=user_id)
            await memory.wait_for_ingest([changed.id], user_id)
            assert (await memory.get(record.id, user_id=user_id)).content == "likes coffee"
            assert [each.id for each in (await memory.list(user_id)).items] == [record.id]
        finally:
            receipt = await memory.delete_all(user_id)
        assert receipt.remaining == {"memories": 0}
