"""The extension pgvector is found where it is, also where no search path leads; and schemas with reserved names."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
import pytest

from openmem import AsyncMemory, InvalidRequestError, migration_script
from openmem.testing.embedder import HashEmbedder
from tests.postgres_observer import Observer


async def use(url: str, dim: int = 16, **options: Any) -> None:
    """Use every verb whose statements name something of the extension."""
    async with AsyncMemory(url=url, embedder=HashEmbedder(dim), **options) as memory:
        stored = await memory.add(content="Ann likes green tea", user_id="ann")
        await memory.add_many([{"content": f"note {number}"} for number in range(3)], user_id="ann")
        await memory.add(content="Ann likes milk", user_id="ann", key="milk")
        modes: tuple[Literal["vector", "keyword", "hybrid"], ...] = ("vector", "keyword", "hybrid")
        for mode in modes:
            found = await memory.search("green tea", "ann", mode=mode)
            assert found[0].memory.id == stored.id
        assert (await memory.context("green tea", "ann", token_budget=200)).citations
        await memory.update(stored.id, content="Ann likes black tea")
        assert len(await memory.history(stored.id)) == 1
        lines = (await memory.export("ann")).lines
        assert (await memory.import_(lines, conflict="overwrite")).overwritten == 5
        assert (await memory.reembed()).done == 5
        await memory.health()
        assert (await memory.delete_all("ann")).complete


def prepare(url: str, *commands: str) -> None:
    for command in commands:
        Observer(url).rows(command.format(name=urlsplit(url).path[1:]))


@pytest.mark.parametrize(
    "commands",
    [
        ("create schema extensions", "create extension vector with schema extensions"),
        ('create schema "My ext"', 'create extension vector with schema "My ext"'),
        ("create extension vector", "alter database \"{name}\" set search_path = ''"),
        ("create extension vector", 'alter database "{name}" set search_path = nowhere'),
        ("alter database \"{name}\" set search_path = ''",),
    ],
    ids=["elsewhere", "quoted", "empty path", "path to nowhere", "empty path, no extension"],
)
async def test_the_extension_is_found_where_it_is(empty_postgres_url: str, commands: tuple[str, ...]) -> None:
    prepare(empty_postgres_url, *commands)
    await use(empty_postgres_url)


@pytest.mark.parametrize("dim", [16, 3000])
async def test_an_approximate_index_names_the_extension(empty_postgres_url: str, dim: int) -> None:
    prepare(empty_postgres_url, "create schema extensions", "create extension vector with schema extensions")
    await use(empty_postgres_url, dim, hnsw=True, hnsw_from=1)


@pytest.mark.parametrize("partitions", [None, 2])
async def test_the_printed_script_finds_the_extension(empty_postgres_url: str, partitions: int | None) -> None:
    prepare(empty_postgres_url, "create schema extensions", "create extension vector with schema extensions")
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute(migration_script(partitions=partitions).encode())
    await use(empty_postgres_url, migrate=False)


@pytest.mark.parametrize("schema", ["user", "order", "public"])
async def test_a_schema_may_have_a_reserved_name(empty_postgres_url: str, schema: str) -> None:
    await use(empty_postgres_url, schema=schema)
    await use(empty_postgres_url, schema=schema, migrate=False)


def test_a_schema_of_postgres_itself_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="pg_"):
        AsyncMemory(url="postgresql://h/d", embedder="none", schema="pg_mine")
