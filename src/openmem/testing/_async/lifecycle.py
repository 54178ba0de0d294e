"""Rules about a client's life: opening, closing, deadlines."""

from __future__ import annotations

import pytest

from openmem import AsyncMemory
from openmem.errors import DeadlineExceededError
from openmem.testing._async.rules import OpenMemory, Rules
from openmem.testing.bad_input import VALID_CALLS


class LifecycleRules(Rules):
    """health, close, timeout."""

    async def test_health_of_a_working_store_is_ok(self, memory: AsyncMemory) -> None:
        """`health()` says ok, and names the provider as `capabilities()` does.

        If this fails, check what the health check asks of the backend.
        """
        health = await memory.health()
        assert health.ok
        assert health.provider == (await memory.capabilities()).provider

    async def test_memories_outlive_the_client(self, connect: OpenMemory) -> None:
        """The next client finds a memory that another one stored.

        If this fails, check that writes are committed before they are acknowledged.
        """
        async with connect() as first:
            record = await self.remember(first, "ann", "prefers green tea")
        async with connect(app="other") as second:
            assert (await second.get(record.id)).content == "prefers green tea"
            assert await self.found(second, "green tea", "ann") == ["prefers green tea"]

    async def test_clients_side_by_side_see_each_others_writes(self, memory: AsyncMemory, connect: OpenMemory) -> None:
        """Two open clients of one store agree: what one adds or deletes, the other sees at once.

        If this fails, check that caches notice the writes of others.
        """
        other = connect(app="other")
        assert await self.found(other, "tea", "ann") == []
        record = await self.remember(memory, "ann", "prefers green tea")
        assert await self.found(other, "tea", "ann") == ["prefers green tea"]
        await other.delete(record.id)
        assert await self.found(memory, "tea", "ann") == []
        assert await self.contents(memory, "ann") == []

    async def test_close_may_be_called_twice(self, memory: AsyncMemory) -> None:
        """`close` is idempotent, before and after first use.

        If this fails, check that closing remembers that it was done.
        """
        await self.remember(memory, "ann", "prefers tea")
        await memory.close()
        await memory.close()

    async def test_closed_client_refuses_every_verb(self, memory: AsyncMemory) -> None:
        """After `close` every verb raises `RuntimeError` saying that the client is closed.

        If this fails, check that each verb asks for the open backend first.
        """
        await memory.close()
        for verb, arguments in VALID_CALLS.items():
            with pytest.raises(RuntimeError) as refused:
                await getattr(memory, verb)(**arguments)
            assert str(refused.value) == f"{type(memory).__name__} is closed", verb

    async def test_used_up_deadline_stops_the_call(self, memory: AsyncMemory) -> None:
        """A call whose `timeout` has passed raises `DeadlineExceededError`, and nothing was written.

        If this fails, check that the deadline is looked at before the backend is asked to write.
        """
        record = await self.remember(memory, "ann", "prefers green tea")
        with pytest.raises(DeadlineExceededError):
            await memory.add(content="too late", user_id="ann", timeout=1e-9)
        with pytest.raises(DeadlineExceededError):
            await memory.list("ann", timeout=1e-9)
        with pytest.raises(DeadlineExceededError):
            await memory.delete(record.id, timeout=1e-9)
        assert await self.contents(memory, "ann") == ["prefers green tea"]

    async def test_generous_deadline_changes_nothing(self, memory: AsyncMemory) -> None:
        """Every verb takes `timeout=` and works within it.

        If this fails, check that the argument is accepted and handed on.
        """
        record = await memory.add(content="prefers green tea", user_id="ann", timeout=30)
        await memory.wait_for_ingest([record.id], "ann", timeout=30)
        assert (await memory.get(record.id, timeout=30)).id == record.id
        assert len(await memory.search("tea", "ann", timeout=30)) == 1
        assert (await memory.context("tea", "ann", timeout=30)).citations
        assert (await memory.list("ann", timeout=30)).items
        assert (await memory.capabilities(timeout=30)).verbs
        await memory.delete(record.id, timeout=30)
