"""Rules about scopes: exact paths, subtrees with a trailing star, and no other special sign."""

from __future__ import annotations

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import Rules, needs

STORED = [
    "coding",
    "coding/python",
    "coding/python/style",
    "coding2",
    "codingXpython",
    "cod%",
    "c_ding",
    None,
]
CASES = [
    ("exact", "coding", ["coding"]),
    ("exact-deeper", "coding/python", ["coding/python"]),
    ("subtree", "coding/*", ["coding", "coding/python", "coding/python/style"]),
    ("subtree-deeper", "coding/python/*", ["coding/python", "coding/python/style"]),
    ("everything", "*", [str(scope) for scope in STORED]),
    ("percent-is-a-sign", "cod%", ["cod%"]),
    ("underscore-is-a-sign", "c_ding", ["c_ding"]),
    ("percent-in-a-subtree", "cod%/*", ["cod%"]),
    ("case-counts", "Coding", []),
    ("nothing-there", "absent/*", []),
]


class ScopeRules(Rules):
    """scope= on every verb that takes it."""

    async def _store_one_in_each(self, memory: AsyncMemory) -> None:
        for scope in STORED:
            await self.remember(memory, "ann", f"tea {scope}", scope=scope)

    @needs("scopes")
    async def test_list_matches_scopes_exactly_or_by_subtree(self, memory: AsyncMemory) -> None:
        """A scope filter is an exact path, a subtree (`a/*`, with `a` itself) or `*` for everything.

        If this fails, check the escaping of `%` and `_`, and that `a/*` does not match a neighbour `a2`.
        """
        await self._store_one_in_each(memory)
        for case, pattern, expected in CASES:
            listed = await self.contents(memory, "ann", scope=pattern)
            assert listed == sorted(f"tea {scope}" for scope in expected), case

    @needs("scopes")
    async def test_search_matches_scopes_exactly_or_by_subtree(self, memory: AsyncMemory) -> None:
        """`search` reads a scope filter as `list` does.

        If this fails, check that both verbs build their filter in one place.
        """
        await self._store_one_in_each(memory)
        for case, pattern, expected in CASES:
            found = await self.found(memory, "tea", "ann", scope=pattern, limit=50)
            assert found == sorted(f"tea {scope}" for scope in expected), case

    @needs("scopes")
    async def test_context_uses_only_the_scope(self, memory: AsyncMemory) -> None:
        """`context` with a scope contains nothing from outside it.

        If this fails, check that context hands its filter to the search.
        """
        await self.remember(memory, "ann", "drinks oolong tea", scope="home/kitchen")
        await self.remember(memory, "ann", "drinks assam tea", scope="work")
        block = await memory.context("tea", "ann", scope="home/*")
        assert "oolong" in block.text
        assert "assam" not in block.text

    @needs("scopes")
    async def test_better_matches_elsewhere_do_not_use_up_the_limit(self, memory: AsyncMemory) -> None:
        """The scope is part of the search: a weak match inside it is found although strong ones lie outside.

        If this fails, check that the filter is not applied after the best matches were cut off.
        """
        for number in range(30):
            await self.remember(memory, "ann", f"green tea {number}", scope="work")
        await self.remember(memory, "ann", "tea among many other words about gardens and rivers", scope="home")
        results = await memory.search("green tea", "ann", scope="home", limit=1)
        assert [result.memory.scope for result in results] == ["home"]

    @needs("scopes", "updates")
    async def test_moved_memory_is_found_in_its_new_scope_only(self, memory: AsyncMemory) -> None:
        """`update(scope=)` moves a memory; `None` takes it out of every scope.

        If this fails, check that the index and any cache learn the new scope.
        """
        record = await self.remember(memory, "ann", "tea", scope="home")
        await memory.update(record.id, scope="work")
        assert await self.found(memory, "tea", "ann", scope="home") == []
        assert await self.found(memory, "tea", "ann", scope="work") == ["tea"]
        assert (await memory.update(record.id, scope=None)).scope is None
        assert await self.contents(memory, "ann", scope="work") == []

    async def test_star_elsewhere_is_refused(self, memory: AsyncMemory) -> None:
        """A star anywhere but as the last segment, and empty segments, are `InvalidRequestError`.

        If this fails, check that the pattern is parsed before it reaches the backend.
        """
        for pattern in ["a*", "*/a", "a/*/b", "**", "a//b", "/a", "a/", ""]:
            with pytest.raises(InvalidRequestError, match="scope"):  # noqa: PT012 - it names the input
                page = await memory.list("ann", scope=pattern)
                pytest.fail(f"listed {pattern!r}: {page}")
            with pytest.raises(InvalidRequestError, match="scope"):  # noqa: PT012 - it names the input
                found = await memory.search("tea", "ann", scope=pattern)
                pytest.fail(f"found in {pattern!r}: {found}")

    async def test_memory_cannot_be_stored_under_a_pattern(self, memory: AsyncMemory) -> None:
        """A stored scope is a plain path.

        If this fails, check the validation of `add`.
        """
        for scope in ["*", "a/*", "a//b", "/a", ""]:
            with pytest.raises(InvalidRequestError, match="scope"):  # noqa: PT012 - it names the input
                given = await memory.add(content="tea", user_id="ann", scope=scope)
                pytest.fail(f"stored under {scope!r}: {given}")
