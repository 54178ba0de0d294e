"""Rules about add_many: in order, one call, all or nothing."""

from __future__ import annotations

import pytest

from openmem import AsyncMemory, MemoryItem
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, ids_of, needs
from openmem.types import MemoryInput


class BatchRules(Rules):
    """add_many."""

    @needs("batches")
    async def test_batch_is_stored_whole_and_returned_in_order(self, memory: AsyncMemory) -> None:
        """`add_many` returns one record for each item, in the order of the items, and every one is stored.

        If this fails, check that the ids returned belong to the items at the same place.
        """
        items = [MemoryInput(content=f"fact {n}", user_id="ann", tags=[f"t{n}"]) for n in range(25)]
        steps: list[tuple[int, int]] = []
        records = await memory.add_many(items, on_progress=lambda done, total: steps.append((done, total)))
        await self.settle(memory, ids_of(records), "ann")
        assert [record.content for record in records] == [item.content for item in items]
        for record in records[::6]:
            assert (await memory.get(record.id)).tags == record.tags
        assert len(await self.listed(memory, "ann")) == 25
        assert steps[-1] == (25, 25)
        assert steps == sorted(steps)

    @needs("batches")
    async def test_batch_with_one_bad_item_stores_nothing(self, memory: AsyncMemory) -> None:
        """One item that breaks the contract refuses the whole batch.

        If this fails, check that all items are validated before the first is written.
        """
        good: MemoryItem = {"content": "prefers tea", "user_id": "ann"}
        with pytest.raises(InvalidRequestError):
            await memory.add_many([good, {"content": "   ", "user_id": "ann"}, good])
        assert await self.contents(memory, "ann") == []

    @needs("batches")
    async def test_batch_takes_the_user_of_the_call(self, memory: AsyncMemory) -> None:
        """`user_id=` of the call is the user of every item that names none; an empty batch stores nothing.

        If this fails, check how the default user is put into the items.
        """
        records = await memory.add_many([{"content": "prefers tea"}, {"content": "plays chess"}], user_id="ann")
        await self.settle(memory, ids_of(records), "ann")
        assert {record.user_id for record in records} == {"ann"}
        assert await self.contents(memory, "ann") == ["plays chess", "prefers tea"]
        assert await memory.add_many([], user_id="ann") == []

    @needs("batches")
    async def test_batch_of_several_users_keeps_them_apart(self, memory: AsyncMemory) -> None:
        """The items of one batch may belong to different users.

        If this fails, check that nothing of the first item's user is taken for the whole batch.
        """
        items = [MemoryInput(content=f"{name} likes tea", user_id=name) for name in ("ann", "bob", "ann")]
        for record in await memory.add_many(items):
            await self.settle(memory, [record.id], record.user_id)
        assert await self.contents(memory, "ann") == ["ann likes tea", "ann likes tea"]
        assert await self.contents(memory, "bob") == ["bob likes tea"]

    @needs("batches", "keys")
    async def test_batch_with_a_known_key_updates_that_memory(self, memory: AsyncMemory) -> None:
        """A key means the same in a batch as in `add`: the memory of that key is updated.

        If this fails, check that the batch path looks keys up as well.
        """
        first = await self.remember(memory, "ann", "lives in Oslo", key="home")
        records = await memory.add_many([{"content": "lives in Rome", "user_id": "ann", "key": "home"}])
        assert (records[0].id, records[0].version) == (first.id, 2)
        assert await self.contents(memory, "ann") == ["lives in Rome"]
