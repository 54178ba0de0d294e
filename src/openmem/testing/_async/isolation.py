"""Rules about users: none sees, changes or learns of another's memories."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem._io.concurrency.primitives import async_gather
from openmem.errors import NotFoundError, OMPError
from openmem.testing._async.rules import Rules, ids_of, needs
from openmem.types import MemoryInput

EACH = 3
AT_ONCE = 50


class IsolationRules(Rules):
    """user_id on every verb."""

    async def test_two_users_see_only_their_own(self, memory: AsyncMemory) -> None:
        """list, search and context of one user hold nothing of another, even for the same words.

        If this fails, check that the user is part of every query, of the index and of every cache.
        """
        await self.remember(memory, "ann", "ann likes green tea", tags=["tea"])
        await self.remember(memory, "bob", "bob likes green tea", tags=["tea"])
        for user in ("ann", "bob"):
            own = [f"{user} likes green tea"]
            assert await self.contents(memory, user) == own
            assert await self.contents(memory, user, tag="tea") == own
            assert await self.found(memory, "green tea", user) == own
            assert await self.found(memory, "ann bob likes", user, tags=["tea"]) == own
            block = await memory.context("green tea", user)
            assert len(block.citations) == 1
            assert own[0] in block.text

    async def test_users_with_similar_names_are_apart(self, memory: AsyncMemory) -> None:
        """User ids are compared whole and by case: no prefix, wildcard or folding joins two users.

        If this fails, check for LIKE, for case-blind columns, and for separators in composed names.
        """
        users = ["ann", "Ann", "ann2", "an%", "an_", "a", "ann/x", "ann:x", "ann'--", "änn"]
        for user in users:
            await self.remember(memory, user, f"tea of <{user}>")
        for user in users:
            assert await self.contents(memory, user) == [f"tea of <{user}>"]
            assert await self.found(memory, "tea", user) == [f"tea of <{user}>"]

    async def test_better_matches_of_others_do_not_use_up_the_limit(self, memory: AsyncMemory) -> None:
        """The user is part of the search: a weak match is found although others own better ones.

        If this fails, check that the filter is not applied after the best matches were cut off.
        """
        for number in range(30):
            await self.remember(memory, "bob", f"green tea {number}")
        await self.remember(memory, "ann", "tea among many other words about gardens and rivers")
        results = await memory.search("green tea", "ann", limit=1)
        assert [result.memory.user_id for result in results] == ["ann"]

    @pytest.mark.parametrize("verb", ["get", "delete"])
    async def test_foreign_memory_is_as_if_missing(self, memory: AsyncMemory, verb: str) -> None:
        """By id with `user_id=`, another's memory gives the very error of a missing one, and is untouched.

        If this fails, check that owner and id are compared in one query and share one message.
        """
        await self._check_foreign(memory, lambda id_: getattr(memory, verb)(id_, user_id="bob"))

    @needs("updates")
    async def test_foreign_memory_cannot_be_updated(self, memory: AsyncMemory) -> None:
        """`update` with `user_id=` treats another user's memory as missing.

        If this fails, check that the owner is part of the update's condition.
        """
        await self._check_foreign(memory, lambda id_: memory.update(id_, content="bob was here", user_id="bob"))

    @needs("history")
    async def test_foreign_memory_shows_no_history(self, memory: AsyncMemory) -> None:
        """`history` with `user_id=` treats another user's memory as missing.

        If this fails, check that the owner is looked up before the versions.
        """
        await self._check_foreign(memory, lambda id_: memory.history(id_, user_id="bob"))

    async def _check_foreign(self, memory: AsyncMemory, attempt: Callable[[str], Any]) -> None:
        record = await self.remember(memory, "ann", "likes green tea")
        with pytest.raises(NotFoundError) as foreign:
            await attempt(record.id)
        with pytest.raises(NotFoundError) as missing:
            await attempt("nobody-has-this")
        assert _without(foreign.value, record.id) == _without(missing.value, "nobody-has-this")
        got = await memory.get(record.id)
        assert (got.content, got.version) == ("likes green tea", 1)

    @needs("history", "supersession")
    async def test_history_does_not_follow_into_another_user(self, memory: AsyncMemory) -> None:
        """Naming another user's memory in `supersedes` does not open its history.

        If this fails, check that the chain is followed among the owner's memories only.
        """
        secret = await self.remember(memory, "ann", "secret pineapple")
        spy = await self.remember(memory, "bob", "looks around", supersedes=[secret.id])
        assert await memory.history(spy.id) == []

    async def _fill_many(self, memory: AsyncMemory) -> dict[str, list[str]]:
        """Store a few memories for each of many users and return the ids of each."""
        users = [f"user-{number}" for number in range(self.many_users)]
        ids: dict[str, list[str]] = {user: [] for user in users}
        texts = [(user, f"{user} likes green tea {n}") for n in range(EACH) for user in users]
        for start in range(0, len(texts), 500):
            for user, id_ in await self._add(memory, texts[start : start + 500]):
                ids[user].append(id_)
        for user in users:
            await self.settle(memory, ids[user], user)
        return ids

    async def _add(self, memory: AsyncMemory, texts: list[tuple[str, str]]) -> list[tuple[str, str]]:
        if self.batches:
            items = [MemoryInput(content=text, user_id=user) for user, text in texts]
            records = await memory.add_many(items)
        else:
            records = await self._at_once([partial(memory.add, content=text, user_id=user) for user, text in texts])
        return [(record.user_id, record.id) for record in records]

    async def _at_once(self, thunks: list[Callable[[], Any]]) -> list[Any]:
        results: list[Any] = []
        for start in range(0, len(thunks), AT_ONCE):
            results += await async_gather(*thunks[start : start + AT_ONCE])
        return results

    async def test_each_of_many_users_reads_only_its_own(self, memory: AsyncMemory) -> None:
        """With many users in one store, list, search and context of each hold no other's memories.

        If this fails, check caches, top-k before filtering, and answers mixed up between concurrent calls.
        """
        ids = await self._fill_many(memory)

        async def check(user: str) -> None:
            own = set(ids[user])
            assert set(ids_of((await memory.list(user)).items)) == own
            results = await memory.search("green tea", user, limit=100)
            assert {result.memory.id for result in results} == own

        async def check_context(user: str) -> None:
            cited = {citation.memory_id for citation in (await memory.context("green tea", user)).citations}
            assert cited
            assert cited <= set(ids[user])

        await self._at_once([partial(check, user) for user in ids])
        await self._at_once([partial(check_context, user) for user in list(ids)[::5]])

    async def test_each_of_many_users_reaches_only_its_own_by_id(self, memory: AsyncMemory) -> None:
        """With many users in one store, no by-id verb reaches into the neighbour's memories.

        If this fails, check the routing of ids to users.
        """
        ids = await self._fill_many(memory)
        users = list(ids)

        async def check(position: int) -> None:
            user, neighbour = users[position], users[position - 1]
            own, foreign = ids[user][0], ids[neighbour][0]
            assert (await memory.get(own, user_id=user)).user_id == user
            await self._refused(lambda: memory.get(foreign, user_id=user))
            await self._refused(lambda: memory.delete(foreign, user_id=user))
            if self.updates:
                await self._refused(lambda: memory.update(foreign, content="mine now", user_id=user))
            if self.history:
                await self._refused(lambda: memory.history(foreign, user_id=user))

        await self._at_once([partial(check, position) for position in range(0, len(users), 4)])

    async def _refused(self, attempt: Callable[[], Any]) -> None:
        with pytest.raises(NotFoundError):
            await attempt()

    async def test_journal_export_and_erasure_among_many_users_keep_to_one(self, memory: AsyncMemory) -> None:
        """With many users in one store, audit, export and delete_all of one touch that user only.

        If this fails, check that each of these verbs filters by user.
        """
        ids = await self._fill_many(memory)
        users = list(ids)
        for user in users[:: max(1, len(users) // 20)]:
            if self.audit:
                named = {entry.memory_id for entry in await memory.audit(user)} - {None}
                assert named <= set(ids[user])
            if self.portability:
                lines = (await self.exported(memory, user))[1:]
                assert len(lines) == EACH
                assert all(f"{user} likes" in json.dumps(json.loads(line)) for line in lines)
        if self.erasure:
            assert (await memory.delete_all(users[0])).complete
            assert len((await memory.list(users[1])).items) == EACH
            assert (await memory.list(users[0])).items == []


def _without(error: OMPError, id_: str) -> tuple[type[OMPError], str, str]:
    return type(error), error.code, str(error).replace(id_, "ID")
