"""Filters on metadata where the kit does not look: what is kept between searches, grants, and the feed of changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from openmem import Access, AsyncMemory, parse_grant
from openmem._model.where import matches, parse_where
from openmem._sql.sqlite.filtered import MAX_COLUMNS
from openmem.errors import ScopeDeniedError
from openmem.testing import HashEmbedder

LONG = "x" * 300


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, store_url: str) -> str:
    """The address of an empty store."""
    return store_url if request.param == "sqlite" else str(request.getfixturevalue("emptied_postgres_url"))


@pytest.fixture
async def memory(address: str) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=address, embedder=HashEmbedder(16)) as memory:
        yield memory


async def found(memory: AsyncMemory, where: dict[str, Any]) -> list[str]:
    return sorted(one.memory.content for one in await memory.search("tea", "ann", where=where, limit=100))


FILTERS: list[dict[str, Any]] = [
    {"text": LONG},
    {"text": {"$gt": LONG}},
    {"text": {"$ne": LONG}},
    {"$not": {"text": LONG}},
    {"text": {"$exists": True}},
    {"n": {"$lt": 3}, "text": {"$lte": LONG}},
    {f"p{number}": {"$exists": number == 1} for number in range(8)},
    {"$or": [{f"p{number}": number} for number in range(8)]},
]


async def test_long_values_and_many_members_are_judged_alike(memory: AsyncMemory) -> None:
    rows: list[dict[str, Any] | None] = [
        *({"n": n, "text": LONG + "abc"[n % 3] * n} for n in range(5)),
        *({"n": n, "text": "short"} for n in range(3)),
        {"text": LONG},
        {"text": [LONG]},
        *({f"p{n}": n} for n in range(8)),
        None,
    ]
    for number, metadata in enumerate(rows):
        await memory.add(f"tea {number:02}", user_id="ann", metadata=metadata)
    for where in FILTERS:
        checked = parse_where(where)
        expected = [f"tea {number:02}" for number, metadata in enumerate(rows) if matches(checked, metadata)]
        assert await found(memory, where) == expected, where
        page = await memory.list("ann", where=where, limit=100)
        assert sorted(record.content for record in page) == expected, where


async def test_more_members_than_are_kept_are_asked_for_in_turn(memory: AsyncMemory) -> None:
    count = MAX_COLUMNS + 3
    await memory.add("tea", user_id="ann", metadata={f"m{number}": number for number in range(count)})
    for _ in range(2):
        for number in range(count):
            assert await found(memory, {f"m{number}": number}) == ["tea"]
            assert await found(memory, {f"m{number}": {"$ne": number}}) == []


async def test_writes_of_another_client_count_in_the_next_search(memory: AsyncMemory, address: str) -> None:
    async with AsyncMemory(url=address, embedder=HashEmbedder(16)) as other:
        first = await other.add("tea one", user_id="ann", metadata={"n": 1})
        assert await found(memory, {"n": {"$gte": 1}}) == ["tea one"]
        await other.add("tea two", user_id="ann", metadata={"n": 2})
        assert await found(memory, {"n": {"$gte": 1}}) == ["tea one", "tea two"]
        await other.update(first.id, user_id="ann", metadata={"n": 0})
        assert await found(memory, {"n": {"$gte": 1}}) == ["tea two"]
        await other.delete_all("ann", where={"n": 2})
        assert await found(memory, {"n": {"$gte": 0}}) == ["tea one"]


async def test_caller_sees_and_erases_with_a_filter_what_it_may(memory: AsyncMemory) -> None:
    for scope in ("home", "work"):
        await memory.add(f"tea {scope}", user_id="ann", scope=scope, metadata={"n": 1})
    grants = tuple(parse_grant(grant) for grant in ("read:home", "delete:home"))
    mine = memory.for_caller(access=Access("ann", grants))
    assert [record.content for record in await mine.list("ann", where={"n": 1})] == ["tea home"]
    assert await found(mine, {"n": {"$exists": True}}) == ["tea home"]
    with pytest.raises(ScopeDeniedError):
        await mine.delete_all("ann", where={"n": 1})
    with pytest.raises(ScopeDeniedError):
        await mine.delete_all("bob", scope="home", where={"n": 1})
    assert (await mine.delete_all("ann", scope="home", where={"n": 1})).erased["memories"] == 1
    assert await found(memory, {"n": 1}) == ["tea work"]


async def test_feed_names_each_memory_that_a_filter_erased(memory: AsyncMemory) -> None:
    """A `delete_all` in the feed means all of the user, or of a scope: a follower of it would erase too much."""
    records = [await memory.add(f"tea {n}", user_id="ann", metadata={"n": n % 2}, scope=f"s{n}") for n in range(4)]
    await memory.delete_all("ann", where={"n": 1})
    page = await memory.changes("ann")
    assert [(one.action, one.memory_id, one.scope, one.version) for one in page][4:] == [
        ("delete", records[1].id, "s1", 1),
        ("delete", records[3].id, "s3", 1),
    ]
    before = page.next_cursor
    await memory.delete_all("ann", where={"n": 7})
    assert [*await memory.changes("ann", cursor=before)] == []
