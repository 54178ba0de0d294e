"""Rules about filters on metadata: `where=` on every verb that takes it, with the answers of the plain evaluator."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, needs

STORED: dict[str, dict[str, Any] | None] = {
    "bare": None,
    "empty": {},
    "py": {"lang": "py", "n": 9, "a": {"b": 1}, "yes": True, "tags": ["x"]},
    "js": {"lang": "js", "n": 10.5, "a": {"b": 2}, "yes": False},
    "Py": {"lang": "Py", "n": "9", "a": [1], "yes": 1},
    "none": {"lang": None, "n": 2**63 + 1, "a": None},
    "large": {"n": 1e300, "a": {"b": {"c": "deep"}}, 'q"': -0.0, "é\n": "z"},
}
ALL = sorted(STORED)
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ALL),
    ({"lang": "py"}, ["py"]),
    ({"lang": "py", "n": 9}, ["py"]),
    ({"lang": "py", "n": 10}, []),
    ({"lang": None}, ["none"]),
    ({"lang": {"$ne": "py"}}, ["Py", "js", "none"]),
    ({"lang": {"$in": ["py", None, 7]}}, ["none", "py"]),
    ({"lang": {"$nin": ["py", None]}}, ["Py", "js"]),
    ({"lang": {"$in": []}}, []),
    ({"lang": {"$exists": True}}, ["Py", "js", "none", "py"]),
    ({"lang": {"$exists": False}}, ["bare", "empty", "large"]),
    ({"lang": {"$gt": "Py"}}, ["js", "py"]),
    ({"lang": {"$gte": "Py", "$lt": "py"}}, ["Py", "js"]),
    ({"n": {"$gt": 9}}, ["js", "large", "none"]),
    ({"n": {"$gte": 9.0, "$lte": 10.5}}, ["js", "py"]),
    ({"n": {"$lt": "A"}}, ["Py"]),
    ({"n": 2**63}, []),
    ({"n": 2**63 + 1}, ["none"]),
    ({"n": {"$gt": 2**63 + 1}}, ["large"]),
    ({"n": 1e300}, ["large"]),
    ({"n": 10**300}, []),
    ({"yes": True}, ["py"]),
    ({"yes": 1}, ["Py"]),
    ({"yes": 1.0}, ["Py"]),
    ({"a.b": {"$in": [1, 2]}}, ["js", "py"]),
    ({"a.b": {"$exists": True}}, ["js", "large", "py"]),
    ({"a.b.c": "deep"}, ["large"]),
    ({"a.0": 1}, []),
    ({"a": 1}, []),
    ({"a": {"$ne": 1}}, ["Py", "js", "large", "none", "py"]),
    ({"tags": "x"}, []),
    ({'q"': 0}, ["large"]),
    ({"é\n": {"$gte": "z"}}, ["large"]),
    ({"n": {"$not": {"$gt": 9}}}, ["Py", "bare", "empty", "py"]),
    ({"$not": {"lang": "py"}}, ["Py", "bare", "empty", "js", "large", "none"]),
    ({"$or": [{"lang": "py"}, {"n": {"$gte": 1e300}}]}, ["large", "py"]),
    ({"$and": [{"lang": {"$exists": True}}, {"yes": {"$exists": False}}]}, ["none"]),
    ({"$or": []}, []),
    ({"$and": []}, ALL),
]
REFUSED: list[Any] = [
    {"n": {"$like": "x"}},
    {"n": [9]},
    {"n": {"b": 1}},
    {"$nor": []},
    {"n": {"$in": 9}},
    {"n": float("nan")},
    {"": 1},
    "lang",
    [],
]


class FilterRules(Rules):
    """where= on every verb that takes it."""

    async def _store(self, memory: AsyncMemory, user_id: str = "ann") -> None:
        for name, metadata in STORED.items():
            await self.remember(memory, user_id, f"tea {name}", metadata=metadata)

    @needs("metadata", "filters")
    async def test_list_shows_what_a_filter_allows(self, memory: AsyncMemory) -> None:
        """A filter compares numbers as numbers, texts by code point; what is missing fulfils `{"$exists": False}` only.

        If this fails, check the case against `openmem._model.where.matches`, which every provider has to agree with.
        """
        await self._store(memory)
        for where, expected in CASES:
            listed = await self.contents(memory, "ann", where=where)
            assert listed == sorted(f"tea {name}" for name in expected), where

    @needs("metadata", "filters")
    async def test_search_and_context_show_what_a_filter_allows(self, memory: AsyncMemory) -> None:
        """`search` and `context` read a filter as `list` does, before anything is ranked.

        If this fails, check that all verbs build their filter in one place.
        """
        await self._store(memory)
        for where, expected in CASES:
            found = await self.found(memory, "tea", "ann", where=where)
            assert found == sorted(f"tea {name}" for name in expected), where
        block = await memory.context("tea", "ann", where={"lang": "py"})
        assert [len(block.citations), "tea py" in block.text] == [1, True]

    @needs("metadata", "filters")
    async def test_filter_is_applied_before_results_are_counted(self, memory: AsyncMemory) -> None:
        """The best matches among what a filter allows are found, however many better ones it does not allow.

        If this fails, check that the filter is a part of the query and not applied to its results.
        """
        items = [{"content": f"green tea {n}", "user_id": "ann", "metadata": {"kind": "many"}} for n in range(30)]
        many = await memory.add_many(items)  # type: ignore[arg-type]
        await self.settle(memory, [record.id for record in many], "ann")
        await self.remember(memory, "ann", "tea in a tin", metadata={"kind": "one"})
        assert await self.found(memory, "green tea", "ann", where={"kind": "one"}, limit=1) == ["tea in a tin"]

    @needs("metadata", "filters")
    async def test_pages_of_a_filter_come_to_an_end_and_belong_to_it(self, memory: AsyncMemory) -> None:
        """The cursor of a filtered list leads on in it, and not in another.

        If this fails, check that the filter is among what a cursor is bound to.
        """
        await self._store(memory)
        where = {"lang": {"$exists": True}}
        assert await self.contents(memory, "ann", where=where, limit=1) == ["tea Py", "tea js", "tea none", "tea py"]
        page = await memory.list("ann", where=where, limit=1)
        with pytest.raises(InvalidRequestError):
            await memory.list("ann", limit=1, cursor=page.next_cursor)
        seen = [record.content async for record in memory.iterate("ann", where=where, limit=2)]
        assert sorted(seen) == ["tea Py", "tea js", "tea none", "tea py"]

    @needs("metadata", "filters", "updates")
    async def test_filter_sees_the_metadata_of_now(self, memory: AsyncMemory) -> None:
        """A change of metadata counts in the next query, and so does a memory that is added or deleted.

        If this fails, check what is kept between two queries.
        """
        record = await self.remember(memory, "ann", "tea one", metadata={"n": 1})
        other = await self.remember(memory, "ann", "tea two", metadata={"n": 2})
        assert await self.found(memory, "tea", "ann", where={"n": 1}) == ["tea one"]
        await memory.update(record.id, metadata={"n": 2}, user_id="ann")
        assert await self.found(memory, "tea", "ann", where={"n": 1}) == []
        assert await self.found(memory, "tea", "ann", where={"n": 2}) == ["tea one", "tea two"]
        await self.remember(memory, "ann", "tea three", metadata={"n": 2.0})
        assert await self.found(memory, "tea", "ann", where={"n": 2}) == ["tea one", "tea three", "tea two"]
        await memory.delete(other.id, user_id="ann")
        assert await self.found(memory, "tea", "ann", where={"n": 2}) == ["tea one", "tea three"]
        await memory.update(record.id, metadata=None, user_id="ann")
        assert await self.found(memory, "tea", "ann", where={"n": {"$exists": False}}) == ["tea one"]

    @needs("metadata", "filters", "erasure")
    async def test_erasure_with_a_filter_keeps_the_rest(self, memory: AsyncMemory) -> None:
        """`delete_all(where=)` erases what the filter allows, and no more, and its receipt says so.

        If this fails, check that nothing else of the erasure takes a missing scope for everything.
        """
        await self._store(memory)
        await self._store(memory, "bob")
        receipt = await memory.delete_all("ann", where={"lang": {"$exists": True}})
        assert receipt.complete
        assert receipt.erased["memories"] == 4
        assert receipt.where == {"lang": {"$exists": True}}
        assert await self.contents(memory, "ann") == ["tea bare", "tea empty", "tea large"]
        assert await self.found(memory, "tea", "ann") == ["tea bare", "tea empty", "tea large"]
        assert len(await self.contents(memory, "bob")) == len(STORED)
        assert (await memory.delete_all("ann", where={"lang": "py"})).erased["memories"] == 0

    @needs("metadata", "filters", "erasure", "audit")
    async def test_erasure_with_a_filter_is_entered_as_a_deletion_of_each(self, memory: AsyncMemory) -> None:
        """The audit log names each memory that a filter erased, as if it had been deleted, and keeps all other names.

        If this fails, check what the erasure does where no scope is given.
        """
        kept = await self.remember(memory, "ann", "tea one", metadata={"n": 1}, scope="home")
        gone = await self.remember(memory, "ann", "tea two", metadata={"n": 2}, scope="work")
        await memory.delete_all("ann", where={"n": 2})
        named = {(entry.action, entry.memory_id, entry.scope) for entry in await memory.audit("ann")}
        assert ("add", kept.id, "home") in named
        assert ("delete", gone.id, "work") in named
        assert ("delete", kept.id, "home") not in named

    async def test_wrong_filter_is_refused(self, memory: AsyncMemory) -> None:
        """A filter that is none is an error that names the place, in every verb, before the store is touched.

        If this fails, check that arguments become requests in one place.
        """
        for where in REFUSED:
            for call in (
                lambda: memory.list("ann", where=where),  # noqa: B023 - called at once
                lambda: memory.search("tea", "ann", where=where),  # noqa: B023
                lambda: memory.context("tea", "ann", where=where),  # noqa: B023
                lambda: memory.delete_all("ann", where=where),  # noqa: B023
            ):
                with pytest.raises(InvalidRequestError, match="where"):
                    await call()
