"""Rules about memories that are kept and not searched: `searchable=False`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openmem import AsyncMemory, MemoryItem
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import OpenMemory, Rules, needs
from openmem.types import SearchMode

QUERY = "green tea from Uji"


class SearchableRules(Rules):
    """`searchable` of add, add_many and update, and what searches make of it."""

    @needs("unsearchable")
    async def test_memory_that_is_not_searchable_is_kept_and_never_found(self, memory: AsyncMemory) -> None:
        """It is in get and list, and in no search and no context, not even as the only one that fits.

        If this fails, check that every mode of search leaves it out, and that a search by vectors does not miss its.
        """
        hidden = await self.remember(memory, "ann", QUERY, searchable=False, tags=["tea"])
        assert await self.everything_found(memory) == []
        other = await self.remember(memory, "ann", "plays the violin", tags=["tea"])
        assert hidden.id not in await self.everything_found(memory, limit=10)
        assert (await memory.context(QUERY, "ann")).text.find(QUERY) == -1
        assert await self.contents(memory, "ann", tag="tea") == sorted([QUERY, "plays the violin"])
        for one in (hidden, await memory.get(hidden.id, user_id="ann")):
            assert (one.searchable, one.embedding_model) == (False, None)
            assert json.loads(one.model_dump_json())["searchable"] is False
        assert other.searchable is True
        assert "searchable" not in json.loads(other.model_dump_json())

    @needs("unsearchable", "updates")
    async def test_update_takes_a_memory_out_of_searches_and_back(self, memory: AsyncMemory) -> None:
        """`update(searchable=)` holds for every mode from then on, and what else changes meanwhile is kept.

        If this fails, check that the words and the vector go with the one change and come with the other.
        """
        record = await self.remember(memory, "ann", QUERY)
        assert await self.everything_found(memory) == [record.id] * self.ways
        steps: list[tuple[dict[str, Any], bool]] = [
            ({"searchable": False}, False),
            ({"content": f"{QUERY}, steamed"}, False),
            ({"tags": ["tea"]}, False),
            ({"searchable": True}, True),
            ({"searchable": True, "tags": None}, True),
            ({"searchable": False, "content": QUERY}, False),
            ({"searchable": True, "content": f"{QUERY}, roasted"}, True),
        ]
        for number, (change, shown) in enumerate(steps, 2):
            changed = await memory.update(record.id, user_id="ann", **change)
            await self.settle(memory, [record.id], "ann")
            assert (changed.searchable, changed.version) == (shown, number)
            assert await self.everything_found(memory) == ([record.id] * self.ways if shown else [])
        if self.declares("history"):
            earlier = [one.searchable for one in await memory.history(record.id, user_id="ann")]
            assert earlier == [False, True, True, False, False, False, True]

    @needs("unsearchable")
    async def test_batch_may_hold_both_kinds(self, memory: AsyncMemory) -> None:
        """Each item of `add_many` says for itself whether it is searchable.

        If this fails, check that vectors are given to the items whose they are.
        """
        items: list[MemoryItem] = [
            {"content": f"{QUERY} {number}", "searchable": number % 3 == 0} for number in range(7)
        ]
        reports: list[tuple[int, int]] = []
        records = await memory.add_many(
            items, user_id="ann", on_progress=lambda done, total: reports.append((done, total))
        )
        await self.settle(memory, [record.id for record in records], "ann")
        assert [record.searchable for record in records] == [True, False, False, True, False, False, True]
        wanted = sorted(record.id for record in records if record.searchable)
        found = await self.everything_found(memory, limit=10)
        assert sorted(set(found)) == wanted
        assert len(found) == len(wanted) * self.ways
        assert all(total == 7 for _, total in reports)

    @needs("unsearchable", "keys")
    async def test_key_added_again_is_as_searchable_as_it_says(self, memory: AsyncMemory) -> None:
        """Adding a key again replaces whether the memory is searchable, too.

        If this fails, check what of the earlier memory a key keeps.
        """
        for searchable in (False, True, False):
            record = await memory.add(QUERY, user_id="ann", key="tea", searchable=searchable)
            await self.settle(memory, [record.id], "ann")
            assert record.searchable is searchable
            assert await self.everything_found(memory) == ([record.id] * self.ways if searchable else [])

    @needs("unsearchable", "portability")
    async def test_export_and_import_keep_a_memory_out_of_searches(self, memory: AsyncMemory) -> None:
        """An export says of a memory that it is not searchable, and an import leaves it so.

        If this fails, check what the import reads beside the fields of the protocol.
        """
        hidden = await self.remember(memory, "ann", QUERY, searchable=False)
        shown = await self.remember(memory, "ann", f"{QUERY}, roasted")
        lines = await self.exported(memory, "ann")
        for record in (hidden, shown):
            await memory.delete(record.id, user_id="ann")
        assert (await memory.import_(lines)).imported == 2
        await self.settle(memory, [shown.id], "ann")
        assert {one.content: one.searchable for one in await self.listed(memory, "ann")} == {
            QUERY: False,
            f"{QUERY}, roasted": True,
        }
        assert await self.everything_found(memory, limit=10) == [shown.id] * self.ways

    @needs("unsearchable")
    async def test_searchable_is_true_or_false(self, memory: AsyncMemory, connect: OpenMemory) -> None:
        """Nothing else is taken for it.

        If this fails, check that the argument is checked where it comes in.
        """
        await memory.add(QUERY, user_id="ann", searchable=False)
        wrongs: list[Any] = [None, 0, 1, "no", []]
        for wrong in wrongs:
            with pytest.raises(InvalidRequestError, match="searchable must be True or False"):
                await memory.add(QUERY, user_id="ann", searchable=wrong)

    @property
    def modes(self) -> list[SearchMode]:
        """The modes of search that there are."""
        modes: list[SearchMode] = ["hybrid"]
        modes += ["vector"] if self.declares("vector_search") else []
        return [*modes, "keyword"] if self.declares("keyword_search") else modes

    @property
    def ways(self) -> int:
        """The number of ways in which `everything_found` looks."""
        return len(self.modes) + 1

    async def everything_found(self, memory: AsyncMemory, limit: int = 1) -> list[str]:
        """Return the ids that each mode of search finds, and those that a context cites."""
        found: list[str] = []
        for mode in self.modes:
            results = await memory.search(QUERY, "ann", mode=mode, limit=limit)
            found += [result.memory.id for result in results]
        block = await memory.context(QUERY, "ann", token_budget=1_000)
        return found + [citation.memory_id for citation in block.citations]
