"""Rules about memories that are named by their key, and about storing one on terms."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest

from openmem import AsyncMemory
from openmem._io.concurrency.primitives import async_gather
from openmem._model.arguments import MemoryItem
from openmem.errors import AlreadyExistsError, InvalidRequestError, NotFoundError, VersionConflictError
from openmem.testing._async.rules import Rules, needs
from openmem.types import MemoryInput, MemoryRecord

ABSENT: dict[str, Any] = {"user_id": "ann", "key": "home", "if_absent": True}


class ByKeyRules(Rules):
    """get, update, delete and history with key=; add with if_absent= and if_version=."""

    @needs("keys", "by_key")
    async def test_memory_is_read_by_its_key_as_by_its_id(self, memory: AsyncMemory) -> None:
        """`get(key=)` returns what `get(id)` does, also of a memory that lists do not show.

        If this fails, check that the key is looked up within its user, and that no view hides the memory.
        """
        names = ["home", "a/b c", "..", "history", "ключ", " x ", "mem_1", "%2F?#"]
        records = [await self.remember(memory, "ann", f"fact {name}", key=name) for name in names]
        await self.remember(memory, "bob", "lives in Rome", key="home")
        for name, record in zip(names, records, strict=True):
            got = await memory.get(key=name, user_id="ann")
            assert got.model_dump() == (await memory.get(record.id, user_id="ann")).model_dump(), name
            assert (got.id, got.key) == (record.id, name)
        if self.declares("supersession"):
            await self.remember(memory, "ann", "moved", supersedes=[records[0].id])
            assert (await memory.get(key="home", user_id="ann")).id == records[0].id

    @needs("keys", "by_key", "updates")
    async def test_memory_is_changed_by_its_key(self, memory: AsyncMemory) -> None:
        """`update(key=)` changes that memory only; its id and its key stay, and what is not named stays.

        If this fails, check that an update by key is one by id of the memory that has the key.
        """
        record = await self.remember(memory, "ann", "lives in Oslo", key="home", tags=["city"])
        await self.remember(memory, "bob", "lives in Oslo", key="home")
        changed = await memory.update(key="home", user_id="ann", content="lives in Rome")
        await self.settle(memory, [record.id], "ann")
        assert (changed.id, changed.key, changed.version, changed.tags) == (record.id, "home", 2, ["city"])
        assert (await memory.get(record.id)).content == "lives in Rome"
        assert await self.contents(memory, "bob") == ["lives in Oslo"]

    @needs("keys", "by_key", "versions")
    async def test_change_by_key_of_another_version_is_a_conflict(self, memory: AsyncMemory) -> None:
        """`update(key=, if_version=)` changes that version only.

        If this fails, check that the version is compared in the transaction that found the key.
        """
        await self.remember(memory, "ann", "lives in Oslo", key="home")
        with pytest.raises(VersionConflictError):
            await memory.update(key="home", user_id="ann", content="lives in Rome", if_version=2)
        assert (await memory.update(key="home", user_id="ann", content="lives in Bern", if_version=1)).version == 2

    @needs("keys", "by_key")
    async def test_memory_is_erased_by_its_key(self, memory: AsyncMemory) -> None:
        """`delete(key=)` erases that memory and frees the key; another user's memory of the same key stays.

        If this fails, check that the key is looked up within its user.
        """
        record = await self.remember(memory, "ann", "lives in Oslo", key="home")
        other = await self.remember(memory, "bob", "lives in Rome", key="home")
        await memory.delete(key="home", user_id="ann")
        with pytest.raises(NotFoundError):
            await memory.get(record.id, user_id="ann")
        with pytest.raises(NotFoundError):
            await memory.get(key="home", user_id="ann")
        assert (await memory.get(key="home", user_id="bob")).id == other.id
        assert (await self.remember(memory, "ann", "lives in Bern", key="home")).version == 1

    @needs("keys", "by_key")
    async def test_key_that_no_memory_has_is_not_found(self, memory: AsyncMemory) -> None:
        """A key that no memory has and one of another user are not found alike; an id is no key and a key no id.

        If this fails, check that errors say nothing of other users.
        """
        record = await self.remember(memory, "bob", "lives in Rome", key="home")
        messages = []
        for key in ("home", "nobody-has-this", record.id):
            with pytest.raises(NotFoundError) as caught:
                await memory.get(key=key, user_id="ann")
            messages.append(caught.value.message.replace(key, "…"))
            for verb in (partial(memory.update, content="lives in Bern"), memory.delete):
                with pytest.raises(NotFoundError):
                    await verb(key=key, user_id="ann")
        assert len(set(messages)) == 1
        with pytest.raises(NotFoundError):
            await memory.get("home", user_id="bob")
        assert (await memory.get(record.id)).content == "lives in Rome"

    @needs("keys", "by_key")
    async def test_key_without_a_user_is_refused(self, memory: AsyncMemory) -> None:
        """A key names a memory of one user, so the user must be named, by every verb.

        If this fails, check that no verb looks for a key among all users.
        """
        await self.remember(memory, "ann", "lives in Oslo", key="home")
        for verb in (memory.get, partial(memory.update, content="lives in Rome"), memory.delete):
            with pytest.raises(InvalidRequestError, match="user_id is required"):
                await verb(key="home")
        assert await self.contents(memory, "ann") == ["lives in Oslo"]

    async def test_exactly_one_of_id_and_key_is_taken(self, memory: AsyncMemory) -> None:
        """Neither of them, both of them, and a key that is none are refused before the backend is asked.

        If this fails, check the arguments of all four verbs.
        """
        wrong: list[dict[str, Any]] = [{}, {"id": "m", "key": "k"}, {"key": ""}, {"key": "a" * 257}, {"key": 7}]
        for named in wrong:
            for verb in (memory.get, partial(memory.update, content="tea"), memory.delete, memory.history):
                with pytest.raises(InvalidRequestError):
                    await verb(**named, user_id="ann")

    @needs("keys", "by_key", "history", "updates")
    async def test_history_by_key_is_that_of_the_memory(self, memory: AsyncMemory) -> None:
        """`history(key=)` returns the pages that `history(id)` does.

        If this fails, check that the memory is found by its key, and the cursor is bound to the memory.
        """
        record = await self.remember(memory, "ann", "draft 0", key="note")
        for number in range(1, 4):
            await memory.update(record.id, content=f"draft {number}")
        whole = [state.model_dump() for state in await memory.history(record.id)]
        assert [state.model_dump() for state in await memory.history(key="note", user_id="ann")] == whole
        first = await memory.history(key="note", user_id="ann", limit=2)
        rest = await memory.history(key="note", user_id="ann", limit=2, cursor=first.next_cursor)
        assert [state.model_dump() for state in (*first, *rest)] == whole
        with pytest.raises(NotFoundError):
            await memory.history(key="other", user_id="ann")
        with pytest.raises(InvalidRequestError, match="user_id is required"):
            await memory.history(key="note")

    @needs("keys", "conditional_add")
    async def test_memory_is_stored_only_where_none_has_its_key(self, memory: AsyncMemory) -> None:
        """`add(if_absent=True)` stores a first memory, and raises `AlreadyExistsError` for a second one.

        If this fails, check that the error says id and version of what is there, and that nothing was changed.
        """
        first = await memory.add("lives in Oslo", **ABSENT)
        await memory.update(first.id, content="lives in Bern")
        with pytest.raises(AlreadyExistsError) as caught:
            await memory.add("lives in Rome", **ABSENT)
        assert caught.value.details == {"id": first.id, "version": 2}
        assert await self.contents(memory, "ann") == ["lives in Bern"]
        assert (await memory.add("lives in Rome", **{**ABSENT, "user_id": "bob"})).version == 1
        await memory.delete(first.id)
        again = await memory.add("lives in Rome", **ABSENT)
        assert (again.id != first.id, again.version) == (True, 1)

    @needs("keys", "conditional_add")
    async def test_memory_is_stored_only_in_the_place_of_a_version(self, memory: AsyncMemory) -> None:
        """`add(if_version=)` replaces that version; another one, or none at all, is a conflict.

        If this fails, check that a key of no memory is a conflict, too, and stores nothing.
        """
        first = await memory.add("lives in Oslo", user_id="ann", key="home", tags=["city"])
        for version, key in ((2, "home"), (1, "work")):
            with pytest.raises(VersionConflictError):
                await memory.add("lives in Rome", user_id="ann", key=key, if_version=version)
        second = await memory.add("lives in Bern", user_id="ann", key="home", if_version=1)
        assert (second.id, second.version, second.tags or []) == (first.id, 2, [])
        with pytest.raises(VersionConflictError) as caught:
            await memory.add("lives in Rome", user_id="ann", key="home", if_version=1)
        assert (caught.value.details or {}).get("version") == 2
        assert await self.contents(memory, "ann") == ["lives in Bern"]

    async def test_terms_without_a_key_are_refused(self, memory: AsyncMemory) -> None:
        """`if_absent` and `if_version` need a key, exclude each other, and are checked.

        If this fails, check that the arguments are looked at before the backend is asked, in items of batches too.
        """
        wrong: list[dict[str, Any]] = [
            *({"if_absent": True}, {"if_version": 1}, {"key": "k", "if_absent": True, "if_version": 1}),
            *({"key": "k", "if_version": 0}, {"key": "k", "if_version": "1"}, {"key": "k", "if_absent": 1}),
        ]
        for terms in wrong:
            with pytest.raises(InvalidRequestError, match="if_"):
                await memory.add("tea", user_id="ann", **terms)
            with pytest.raises(InvalidRequestError, match=r"items\[1\]: if_") as caught:
                await memory.add_many(
                    [{"content": "milk"}, cast("MemoryItem", {"content": "tea", **terms})], user_id="ann"
                )
            assert caught.value.details == {"index": 1}
        assert await self.contents(memory, "ann") == []

    @needs("keys", "conditional_add", "batches")
    async def test_batch_with_one_memory_that_may_not_be_stored_stores_nothing(self, memory: AsyncMemory) -> None:
        """The error says which item it was, by `details["index"]`, and no item is stored.

        If this fails, check that the terms are looked at in the transaction of the whole batch.
        """
        first = await memory.add("lives in Oslo", **ABSENT)
        plain = [MemoryInput(content=f"fact {number}", user_id="ann") for number in range(2)]
        taken = MemoryInput(content="lives in Rome", **ABSENT)
        with pytest.raises(AlreadyExistsError) as exists:
            await memory.add_many([*plain, taken])
        assert exists.value.details == {"id": first.id, "version": 1, "index": 2}
        for key, version in (("home", 2), ("work", 1)):
            item = MemoryInput(content="lives in Rome", user_id="ann", key=key, if_version=version)
            with pytest.raises(VersionConflictError) as conflict:
                await memory.add_many([item, *plain])
            assert (conflict.value.details or {})["index"] == 0
        with pytest.raises(AlreadyExistsError):  # of two for one new key, the second is too late
            await memory.add_many([MemoryInput(content="tea", user_id="ann", key="k", if_absent=True)] * 2)
        assert await self.contents(memory, "ann") == ["lives in Oslo"]
        new = MemoryInput(content="tea", user_id="ann", key="drink", if_absent=True)
        replaced = MemoryInput(content="lives in Rome", user_id="ann", key="home", if_version=1)
        assert [record.version for record in await memory.add_many([new, replaced, *plain])] == [1, 2, 1, 1]

    @needs("keys", "conditional_add")
    async def test_one_of_many_at_once_stores_the_memory(self, memory: AsyncMemory) -> None:
        """Of several callers who store under a new key, one does, and the others learn the id.

        If this fails, check that the unique index decides, and that its violation becomes `AlreadyExistsError`.
        """

        async def attempt(number: int) -> MemoryRecord | str:
            try:
                return await memory.add(f"draft {number}", **ABSENT)
            except AlreadyExistsError as error:
                return str((error.details or {})["id"])

        answers = await async_gather(*[partial(attempt, number) for number in range(8)])
        stored = [answer for answer in answers if not isinstance(answer, str)]
        assert len(stored) == 1
        assert {answer for answer in answers if isinstance(answer, str)} == {stored[0].id}
        assert await self.contents(memory, "ann") == [stored[0].content]
