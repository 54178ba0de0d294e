"""Rules about deletion: what is gone is gone everywhere, and erasure is proved."""

from __future__ import annotations

import pytest

from openmem import AsyncMemory
from openmem.errors import NotFoundError
from openmem.testing._async.rules import Rules, needs
from openmem.types import MemoryRecord


class DeletionRules(Rules):
    """delete, delete_all."""

    async def test_deleted_memory_is_gone_from_every_verb(self, memory: AsyncMemory) -> None:
        """After `delete` a memory is not got, listed, found or put into a context.

        If this fails, check that index entries, vectors and caches go with the row.
        """
        record = await self.remember(memory, "ann", "prefers green tea")
        await self.remember(memory, "ann", "plays the violin")
        await memory.delete(record.id, user_id="ann")
        with pytest.raises(NotFoundError):
            await memory.get(record.id)
        assert await self.contents(memory, "ann") == ["plays the violin"]
        assert "prefers green tea" not in await self.found(memory, "green tea", "ann")
        assert "green" not in (await memory.context("green tea", "ann")).text

    async def test_memory_deleted_twice_is_not_found(self, memory: AsyncMemory) -> None:
        """The second `delete` of an id raises `NotFoundError`.

        If this fails, check that the number of removed rows is looked at.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        await memory.delete(record.id)
        with pytest.raises(NotFoundError):
            await memory.delete(record.id)

    @needs("updates")
    async def test_deleted_memory_cannot_be_updated(self, memory: AsyncMemory) -> None:
        """`update` does not bring a deleted memory back.

        If this fails, check that update does not insert.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        await memory.delete(record.id)
        with pytest.raises(NotFoundError):
            await memory.update(record.id, content="prefers coffee")

    @needs("history")
    async def test_deleted_memory_has_no_history(self, memory: AsyncMemory) -> None:
        """Deleting removes earlier versions too.

        If this fails, check that the version table is cleared in the same transaction.
        """
        record = await self.remember(memory, "ann", "prefers tea")
        if self.updates:
            await memory.update(record.id, content="prefers coffee")
        await memory.delete(record.id)
        with pytest.raises(NotFoundError):
            await memory.history(record.id)

    @needs("vector_search")
    async def test_deleted_memory_is_gone_from_vector_search(self, memory: AsyncMemory) -> None:
        """A deleted memory is not found by its vector, neither through cached vectors.

        If this fails, check that the cache of vectors is dropped by a delete.
        """
        record = await self.remember(memory, "ann", "prefers green tea")
        kept = await self.remember(memory, "ann", "prefers black tea")
        assert len(await memory.search("tea", "ann", mode="vector")) == 2
        await memory.delete(record.id)
        assert [r.memory.id for r in await memory.search("tea", "ann", mode="vector")] == [kept.id]

    async def _fill_places(self, memory: AsyncMemory) -> dict[str, MemoryRecord]:
        if not self.declares("scopes"):
            return {"ann": await self.remember(memory, "ann", "tea of ann")}
        places = ["home", "home/kitchen", "home2", "work"]
        return {place: await self.remember(memory, "ann", f"tea {place}", scope=place) for place in places}

    @needs("erasure")
    async def test_erased_user_is_gone_from_every_verb(self, memory: AsyncMemory) -> None:
        """`delete_all` leaves nothing of a user, and says how much it removed and that nothing remains.

        If this fails, check every store that holds content: rows, index, vectors, versions, caches.
        """
        records = await self._fill_places(memory)
        receipt = await memory.delete_all("ann")
        assert receipt.complete
        assert receipt.user_id == "ann"
        assert receipt.erased["memories"] == len(records)
        assert not any(receipt.remaining.values())
        assert await self.contents(memory, "ann") == []
        assert await memory.search("tea", "ann") == []
        assert (await memory.context("tea", "ann")).text == ""
        for record in records.values():
            with pytest.raises(NotFoundError):
                await memory.get(record.id)

    @needs("erasure")
    async def test_erasure_leaves_other_users_alone(self, memory: AsyncMemory) -> None:
        """`delete_all` touches one user.

        If this fails, check that every statement of the erasure names the user.
        """
        await self.remember(memory, "ann", "tea of ann")
        bobs = await self.remember(memory, "bob", "tea of bob")
        await memory.delete_all("ann")
        assert (await memory.get(bobs.id)).content == "tea of bob"
        assert await self.found(memory, "tea", "bob") == ["tea of bob"]

    @needs("erasure")
    async def test_erasing_nothing_is_complete(self, memory: AsyncMemory) -> None:
        """`delete_all` of a user without memories, or a second time, is complete and counts zero.

        If this fails, check that an empty result is not taken for a failure.
        """
        await self.remember(memory, "ann", "tea of ann")
        await memory.delete_all("ann")
        for user_id in ("ann", "nobody"):
            receipt = await memory.delete_all(user_id)
            assert receipt.complete
            assert receipt.erased["memories"] == 0

    @pytest.mark.parametrize(
        ("scope", "kept"),
        [
            pytest.param("home", ["tea home/kitchen", "tea home2", "tea work"], id="exact"),
            pytest.param("home/*", ["tea home2", "tea work"], id="subtree"),
            pytest.param("*", [], id="everything"),
        ],
    )
    @needs("erasure", "scopes")
    async def test_erasure_of_a_scope_keeps_the_rest(self, memory: AsyncMemory, scope: str, kept: list[str]) -> None:
        """`delete_all(scope=)` erases what the pattern matches, as `list` understands it, and no more.

        If this fails, check that the pattern is the same one that reads use.
        """
        await self._fill_places(memory)
        receipt = await memory.delete_all("ann", scope=scope)
        assert receipt.complete
        assert receipt.scope == scope
        assert await self.contents(memory, "ann") == kept
        assert await self.found(memory, "tea", "ann") == kept

    @needs("erasure", "keys")
    async def test_erased_key_can_be_used_again(self, memory: AsyncMemory) -> None:
        """After an erasure a key is free.

        If this fails, check that keys are not kept in a store of their own.
        """
        await self.remember(memory, "ann", "lives in Oslo", key="home")
        await memory.delete_all("ann")
        assert (await self.remember(memory, "ann", "lives in Rome", key="home")).version == 1

    @needs("erasure", "history", "updates")
    async def test_erasure_takes_earlier_versions_along(self, memory: AsyncMemory) -> None:
        """Earlier versions are content too: they are counted and gone after an erasure.

        If this fails, check that the version table is part of the erasure.
        """
        record = await self.remember(memory, "ann", "secret pineapple")
        await memory.update(record.id, content="nothing special")
        receipt = await memory.delete_all("ann")
        assert receipt.complete
        with pytest.raises(NotFoundError):
            await memory.history(record.id)

    @needs("erasure", "portability")
    async def test_erased_user_is_not_exported(self, memory: AsyncMemory) -> None:
        """Nothing of an erased user is in an export, neither of the user nor of the whole store.

        If this fails, check that an export reads the live rows.
        """
        await self.remember(memory, "ann", "secret pineapple")
        await self.remember(memory, "bob", "tea of bob")
        await memory.delete_all("ann")
        assert "pineapple" not in "".join(await self.exported(memory, "ann"))
        everything = "".join(await self.exported(memory))
        assert "pineapple" not in everything
        assert "tea of bob" in everything

    @needs("erasure", "audit")
    async def test_erased_memories_lose_their_names_in_the_journal(self, memory: AsyncMemory) -> None:
        """After an erasure the audit log still says what happened when, without ids and scopes.

        If this fails, check that the erasure blanks `memory_id` and `scope` of the user's entries.
        """
        await self._fill_places(memory)
        await memory.delete_all("ann")
        entries = await memory.audit("ann")
        assert {entry.action for entry in entries} >= {"add", "delete"}
        assert {(entry.memory_id, entry.scope) for entry in entries} == {(None, None)}
