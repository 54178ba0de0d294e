"""The base of every rule: the store under test, the declarations, and small steps shared by rules."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar, cast

import pytest

from openmem import AsyncMemory
from openmem.errors import UnsupportedCapabilityError
from openmem.testing.declared import Declared
from openmem.testing.embedder import HashEmbedder
from openmem.types import MemoryRecord, SearchResult

OpenMemory = Callable[..., AsyncMemory]
Rule = TypeVar("Rule", bound=Callable[..., Any])


def needs(*capabilities: str) -> Callable[[Rule], Rule]:
    """Mark a rule about capabilities that a provider may declare absent.

    Declared present, the rule must hold. Declared absent, the same steps must end in
    `UnsupportedCapabilityError`, so that nothing is ignored in silence.
    """

    def decorate(rule: Rule) -> Rule:
        @functools.wraps(rule)
        async def checked(self: Rules, **fixtures: Any) -> None:
            if self.declares(*capabilities):
                await rule(self, **fixtures)
                return
            with pytest.raises(UnsupportedCapabilityError):
                await rule(self, **fixtures)

        return cast(Rule, checked)

    return decorate


class Rules(Declared):
    """Base of the rule classes. A provider's own class overrides `open_memory` and some declarations."""

    @pytest.fixture
    def open_memory(self) -> OpenMemory:
        """Return a callable that opens the store of this test; it takes the client's `app` and `embedder`.

        The store is empty when the test starts, and every call within one test opens that same store.
        """
        raise NotImplementedError(f"{type(self).__name__} must define the fixture open_memory")

    @pytest.fixture
    async def connect(self, open_memory: OpenMemory) -> AsyncIterator[OpenMemory]:
        """Return `open_memory` with the kit's defaults; whatever it opened is closed after the test."""
        opened: list[AsyncMemory] = []

        def connect(**overrides: Any) -> AsyncMemory:
            opened.append(open_memory(**{"app": "kit", "embedder": HashEmbedder(), **overrides}))
            return opened[-1]

        yield connect
        for memory in opened:
            await memory.close()

    @pytest.fixture
    def memory(self, connect: OpenMemory) -> AsyncMemory:
        """Return the client under test, with a `HashEmbedder` and the app name `kit`."""
        return connect()

    async def settle(self, memory: AsyncMemory, ids: Iterable[str], user_id: str) -> None:
        """Wait until the memories can be found, however the provider takes them in."""
        await memory.wait_for_ingest(list(ids), user_id)

    async def remember(self, memory: AsyncMemory, user_id: str, content: str, **fields: Any) -> MemoryRecord:
        """Add a memory and return it once it can be found."""
        record = await memory.add(content=content, user_id=user_id, **fields)
        await self.settle(memory, [record.id], user_id)
        return record

    async def listed(self, memory: AsyncMemory, user_id: str, **filters: Any) -> list[MemoryRecord]:
        """Return everything that `list` shows, page after page."""
        page = await memory.list(user_id, **filters)
        items = list(page.items)
        while page.next_cursor is not None:
            cursor = page.next_cursor
            page = await memory.list(user_id, **filters, cursor=cursor)
            assert page.next_cursor != cursor, "the cursor does not move on"
            items += page.items
        return items

    async def contents(self, memory: AsyncMemory, user_id: str, **filters: Any) -> list[str]:
        """Return the texts that `list` shows, sorted."""
        return sorted(record.content for record in await self.listed(memory, user_id, **filters))

    async def found(self, memory: AsyncMemory, query: str, user_id: str, **options: Any) -> list[str]:
        """Return the texts that `search` finds, sorted."""
        results = await memory.search(query, user_id, **options)
        return sorted(result.memory.content for result in results)

    async def exported(self, memory: AsyncMemory, user_id: str | None = None, limit: int = 500) -> list[str]:
        """Return every line of an export, header first."""
        page = await memory.export(user_id, limit=limit)
        lines = list(page.lines)
        while page.next_cursor is not None:
            cursor = page.next_cursor
            page = await memory.export(user_id, limit=limit, cursor=cursor)
            assert page.next_cursor != cursor, "the cursor does not move on"
            lines += page.lines
        return lines


def ids_of(records: Iterable[MemoryRecord]) -> list[str]:
    """Return the ids, in order."""
    return [record.id for record in records]


def scores_of(results: Iterable[SearchResult]) -> list[float]:
    """Return the scores, in order."""
    return [result.score for result in results]
