"""Rules about names that callers give (keys), versions, and the history they leave."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._io.concurrency.primitives import async_gather
from openmem.errors import InvalidRequestError, NotFoundError, VersionConflictError
from openmem.testing._async.rules import Rules, needs
from openmem.testing.moments import days


class KeyAndVersionRules(Rules):
    """add(key=), update(if_version=), history."""

    @needs("keys")
    async def test_same_key_again_updates_the_memory(self, memory: AsyncMemory) -> None:
        """A known key keeps id and creation time, raises the version, and makes no second memory.

        If this fails, check the unique index over user and key, and the upsert.
        """
        first = await self.remember(memory, "ann", "lives in Oslo", key="home")
        second = await self.remember(memory, "ann", "lives in Rome", key="home")
        assert (second.id, second.version, second.key) == (first.id, 2, "home")
        assert second.created_at == first.created_at
        assert second.updated_at is not None
        assert await self.contents(memory, "ann") == ["lives in Rome"]

    @needs("keys")
    async def test_same_key_again_replaces_every_field(self, memory: AsyncMemory) -> None:
        """The new call describes the whole memory: what it does not mention is empty afterwards.

        If this fails, check that the upsert replaces and does not merge.
        """
        await self.remember(memory, "ann", "lives in Oslo", key="home", tags=["city"], confidence=0.9)
        second = await self.remember(memory, "ann", "lives in Rome", key="home")
        got = await memory.get(second.id)
        assert (got.tags or [], got.confidence) == ([], None)

    @needs("keys")
    async def test_same_key_of_two_users_names_two_memories(self, memory: AsyncMemory) -> None:
        """A key belongs to its user.

        If this fails, check that the key's index starts with the user.
        """
        mine = await self.remember(memory, "ann", "lives in Oslo", key="home")
        other = await self.remember(memory, "bob", "lives in Rome", key="home")
        assert mine.id != other.id
        assert (await memory.get(mine.id)).content == "lives in Oslo"

    @needs("keys")
    async def test_key_of_a_deleted_memory_can_be_used_again(self, memory: AsyncMemory) -> None:
        """After `delete` the key names nothing; adding under it makes a new memory.

        If this fails, check that deleting removes the key as well.
        """
        first = await self.remember(memory, "ann", "lives in Oslo", key="home")
        await memory.delete(first.id)
        second = await self.remember(memory, "ann", "lives in Rome", key="home")
        assert second.version == 1
        assert await self.contents(memory, "ann") == ["lives in Rome"]

    @needs("keys")
    async def test_adds_under_one_key_at_once_make_one_memory(self, memory: AsyncMemory) -> None:
        """However many callers add under one key at the same time, there is one memory and every add counts.

        If this fails, check that reading the old version and writing the new one is a single transaction.
        """
        thunks = [partial(memory.add, content=f"draft {n}", user_id="ann", key="note") for n in range(8)]
        records = await async_gather(*thunks)
        await self.settle(memory, {record.id for record in records}, "ann")
        assert len({record.id for record in records}) == 1
        assert sorted(record.version for record in records) == list(range(1, 9))
        assert len(await self.listed(memory, "ann")) == 1

    @needs("versions")
    async def test_update_at_the_expected_version_succeeds(self, memory: AsyncMemory) -> None:
        """`if_version` that names the present version lets the update through.

        If this fails, check how the condition compares versions.
        """
        record = await self.remember(memory, "ann", "lives in Oslo")
        assert (await memory.update(record.id, content="lives in Rome", if_version=1)).version == 2
        assert (await memory.update(record.id, content="lives in Bern", if_version=2)).version == 3

    @needs("versions")
    async def test_update_at_another_version_conflicts_and_changes_nothing(self, memory: AsyncMemory) -> None:
        """`if_version` of another version raises `VersionConflictError`; the memory stays as it was.

        If this fails, check that the condition is part of the write and not only checked before it.
        """
        record = await self.remember(memory, "ann", "lives in Oslo")
        with pytest.raises(VersionConflictError):
            await memory.update(record.id, content="lives in Rome", if_version=2)
        got = await memory.get(record.id)
        assert (got.content, got.version) == ("lives in Oslo", 1)

    @needs("versions")
    async def test_only_one_of_several_conditional_updates_wins(self, memory: AsyncMemory) -> None:
        """Of several updates that expect the same version exactly one succeeds.

        If this fails, check that reading the version and writing are a single transaction.
        """
        record = await self.remember(memory, "ann", "draft")

        async def attempt(number: int) -> bool:
            try:
                await memory.update(record.id, content=f"draft {number}", if_version=1)
            except VersionConflictError:
                return False
            return True

        won = await async_gather(*[partial(attempt, number) for number in range(6)])
        assert won.count(True) == 1
        assert (await memory.get(record.id)).content == f"draft {won.index(True)}"

    @needs("history")
    async def test_fresh_memory_has_no_history(self, memory: AsyncMemory) -> None:
        """`history` holds earlier versions only: a new memory has none, an unknown one is not found.

        If this fails, check that the current state is left out.
        """
        record = await self.remember(memory, "ann", "lives in Oslo")
        assert await memory.history(record.id) == []
        with pytest.raises(NotFoundError):
            await memory.history("nobody-has-this")

    @needs("history", "updates")
    async def test_history_holds_earlier_versions_newest_first(self, memory: AsyncMemory) -> None:
        """Every version before the present one is kept, with its text and number, newest first.

        If this fails, check that an update copies the old row before it changes it.
        """
        record = await self.remember(memory, "ann", "lives in Oslo", tags=["city"])
        await memory.update(record.id, content="lives in Rome")
        await memory.update(record.id, content="lives in Bern", tags=None)
        earlier = await memory.history(record.id, user_id="ann")
        assert [(past.version, past.content) for past in earlier] == [
            (2, "lives in Rome"),
            (1, "lives in Oslo"),
        ]
        assert {past.id for past in earlier} == {record.id}
        assert [past.tags for past in earlier] == [["city"], ["city"]]

    @needs("history", "supersession")
    async def test_history_follows_what_was_superseded(self, memory: AsyncMemory) -> None:
        """`history` also holds everything the memory replaces, directly or through others, newest first.

        If this fails, check that the chain is followed to its end, and that a circle ends it.
        """
        oslo = await self.remember(memory, "ann", "lives in Oslo")
        rome = await self.remember(memory, "ann", "lives in Rome", supersedes=[oslo.id])
        bern = await self.remember(memory, "ann", "lives in Bern", supersedes=[rome.id])
        earlier = await memory.history(bern.id)
        assert [past.content for past in earlier] == ["lives in Rome", "lives in Oslo"]
        assert [past.content for past in await memory.history(rome.id)] == ["lives in Oslo"]

    @needs("history", "supersession", "updates")
    async def test_history_of_a_circle_ends(self, memory: AsyncMemory) -> None:
        """Two memories that name each other give a finite history without the memory's own present state.

        If this fails, check that ids already visited are not visited again.
        """
        one = await self.remember(memory, "ann", "lives in Oslo")
        two = await self.remember(memory, "ann", "lives in Rome", supersedes=[one.id])
        await memory.update(one.id, supersedes=[two.id])
        earlier = await memory.history(two.id)
        assert sorted((past.id, past.version) for past in earlier) == sorted([(one.id, 1), (one.id, 2)])

    @needs("history", "updates", "temporal")
    async def test_every_earlier_version_is_what_it_was(self, memory: AsyncMemory) -> None:
        """A version of the history equals, field by field, what `get` returned while it was the present one.

        If this fails, check what is kept of a version: fields that were cleared, that came later, long texts of which
        a word changed, times, and the numbers of versions.
        """
        long = " ".join(f"word{number}" for number in range(900))
        record = await self.remember(memory, "ann", long, tags=["city"], valid_to=days(30))
        states = [await memory.get(record.id)]
        changes: list[dict[str, Any]] = [
            {"content": long.replace("word450", "Oslo")},
            {"tags": None},
            {"tags": ["town", "north"], "content": long.replace("word450", "Bergen")},
            {"valid_to": None},
            {"valid_to": days(60), "content": "short"},
            {"content": long},
            {"content": long + " and more"},
            {"tags": []},
        ]
        for change in changes:
            await memory.update(record.id, **change)
            states.append(await memory.get(record.id))
        earlier = await memory.history(record.id, user_id="ann")
        assert [past.model_dump() for past in earlier] == [state.model_dump() for state in states[-2::-1]]
        assert [past.version for past in earlier] == list(range(len(changes), 0, -1))

    @needs("history", "updates")
    async def test_pages_of_a_history_hold_every_version_once(self, memory: AsyncMemory) -> None:
        """`history` gives `limit` states at most, and `next_cursor` leads on from there, whatever came meanwhile.

        If this fails, check that the cursor says after which state a page begins, and not how many came before.
        """
        record = await self.remember(memory, "ann", "draft 0")
        for number in range(1, 8):
            await memory.update(record.id, content=f"draft {number}")
        whole = await memory.history(record.id)
        assert whole.next_cursor is None
        assert isinstance(whole, list)
        versions: list[int] = []
        cursor: str | None = None
        for expected in (3, 3, 1):
            page = await memory.history(record.id, user_id="ann", limit=3, cursor=cursor)
            versions += [past.version for past in page]
            assert len(page) == expected
            assert (page.next_cursor is None) == (len(versions) == 7)
            cursor = page.next_cursor
            await memory.update(record.id, content="something newer")
        assert versions == [past.version for past in whole] == [7, 6, 5, 4, 3, 2, 1]

    @needs("history", "supersession", "updates")
    async def test_pages_of_a_history_go_through_what_was_superseded(self, memory: AsyncMemory) -> None:
        """Pages of one state each hold the same as the whole, in the same order, of all memories of a chain.

        If this fails, check that the order is the same for every page, also of states of the same moment.
        """
        older: list[str] = []
        for number in range(3):
            record = await self.remember(memory, "ann", f"city {number}", supersedes=older[-1:] or None)
            await memory.update(record.id, content=f"town {number}")
            older.append(record.id)
        whole = [(past.id, past.version, past.content) for past in await memory.history(older[-1])]
        assert len(whole) == 5
        found: list[tuple[str, int, str]] = []
        cursor: str | None = None
        while len(found) < len(whole):
            page = await memory.history(older[-1], limit=1, cursor=cursor)
            found += [(past.id, past.version, past.content) for past in page]
            cursor = page.next_cursor
        assert (found, cursor) == (whole, None)

    @needs("history", "updates")
    async def test_cursor_of_another_history_is_refused(self, memory: AsyncMemory) -> None:
        """A cursor works with the memory that it was made for, and junk is `malformed cursor`.

        If this fails, check that the cursor is bound to the memory and its user.
        """
        records = [await self.remember(memory, "ann", f"draft {number}") for number in range(2)]
        for record in records:
            for number in range(2):
                await memory.update(record.id, content=f"{record.content} {number}")
        page = await memory.history(records[0].id, limit=1)
        for cursor in (page.next_cursor, "junk", "e30"):
            with pytest.raises(InvalidRequestError, match="malformed cursor"):
                await memory.history(records[1].id, limit=1, cursor=cursor)
        with pytest.raises(InvalidRequestError, match="limit must be between 1 and 1000"):
            await memory.history(records[0].id, limit=1_001)
