"""No more of large memories comes from Postgres than goes on a page, counted in the bytes that the server sends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from openmem import AsyncMemory, MemoryItem
from openmem._rules.paging import PAGE_BYTES
from openmem.testing import HashEmbedder
from tests.tcp_proxy import TcpProxy

CUP = "\U0001f375"  # four bytes
CONTENT = {"content": "tea " + CUP * 99_900}
EXTENSION = {"content": "tea", "x-a": "z" * 900_000}
AROUND = 500_000  # what comes beside the texts: vectors, words and other columns


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[TcpProxy]:
    """A proxy between the memory and the server that counts."""
    parts = urlsplit(postgres_url)
    with TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        yield proxy


@pytest.fixture
async def memory(postgres_url: str, proxy: TcpProxy) -> AsyncIterator[AsyncMemory]:
    url = urlsplit(postgres_url)._replace(netloc=f"postgres@127.0.0.1:{proxy.port}").geturl()
    async with AsyncMemory("postgres", url=url, embedder=HashEmbedder(16), timeout=30) as memory:
        yield memory


async def fill(memory: AsyncMemory, fields: dict[str, Any]) -> list[str]:
    """Store memories that are more than a page together."""
    count = PAGE_BYTES // size_of(fields) + 3
    return [record.id for record in await memory.add_many([cast("MemoryItem", fields)] * count, user_id="ann")]


def size_of(fields: dict[str, Any]) -> int:
    return sum(len(text.encode()) for text in fields.values())


@pytest.mark.parametrize("fields", [CONTENT, EXTENSION], ids=["content", "extension"])
@pytest.mark.parametrize("mode", ["keyword", "vector"])
async def test_search_reads_a_page_of_large_memories(
    memory: AsyncMemory, proxy: TcpProxy, mode: Any, fields: dict[str, Any]
) -> None:
    await fill(memory, fields)
    fit = PAGE_BYTES // size_of(fields)
    few = await memory.search("tea", "ann", mode=mode, limit=fit)
    before = proxy.replied
    found = await memory.search("tea", "ann", mode=mode, limit=100)
    assert fit * size_of(fields) < proxy.replied - before < PAGE_BYTES + AROUND
    assert (len(found), found.truncated) == (fit, True)
    assert [result.memory for result in found] == [result.memory for result in few]
    for result in found:
        assert {"content": result.memory.content, **(result.memory.model_extra or {})} == fields


async def test_context_reads_no_more_than_a_page_and_keeps_what_is_small(memory: AsyncMemory, proxy: TcpProxy) -> None:
    await fill(memory, CONTENT)
    small = await memory.add(content="I had tea and cake at the lake in the rain yesterday", user_id="ann")
    before = proxy.replied
    context = await memory.context("tea", "ann", token_budget=500)
    assert proxy.replied - before < PAGE_BYTES + AROUND
    assert small.content in str(context)


async def test_list_reads_a_page_and_leads_to_all(memory: AsyncMemory, proxy: TcpProxy) -> None:
    ids = await fill(memory, CONTENT)
    ids += [(await memory.add(content=f"small {number}", user_id="ann")).id for number in range(5)]
    listed: list[str] = []
    cursor: str | None = None
    while cursor is not None or not listed:
        before = proxy.replied
        page = await memory.list("ann", limit=500, cursor=cursor)
        assert proxy.replied - before < PAGE_BYTES + AROUND
        assert sum(len(record.content.encode()) for record in page.items) <= PAGE_BYTES
        listed += [record.id for record in page.items]
        cursor = page.next_cursor
    assert listed == ids[::-1]


async def test_memories_of_the_usual_size_come_with_the_first_statement(memory: AsyncMemory, proxy: TcpProxy) -> None:
    made = [await memory.add(content=f"tea {number} " + "z" * 20_000, user_id="ann") for number in range(50)]
    found = await memory.search("tea", "ann", limit=50)
    assert {result.memory.content for result in found} == {record.content for record in made}
    assert not found.truncated
