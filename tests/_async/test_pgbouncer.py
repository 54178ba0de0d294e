"""Behind a real pgbouncer in transaction mode everything works with `statement_cache=False`, and not without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from openmem import AsyncMemory, AsyncServerStore, DeadlineExceededError
from openmem._io.concurrency.primitives import async_gather, async_to_thread
from openmem.testing import HashEmbedder
from openmem.testing.postgres import PostgresServer
from tests.pgbouncer import BINARY, pgbouncer
from tests.postgres_observer import Observer, until
from tests.promised_errors import fails

pytestmark = pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)")

AT_ONCE = 1.5


@pytest.fixture(scope="module")
def bouncer(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a pgbouncer that opens two connections to each database."""
    with pgbouncer(postgres.url, tmp_path_factory.mktemp("pgbouncer"), server_connections=2) as port:
        yield port


@pytest.fixture
def bounced_url(postgres_url: str, bouncer: int) -> str:
    """The address of a fresh database, through pgbouncer."""
    parts = urlsplit(postgres_url)
    return parts._replace(netloc=f"{parts.username}@127.0.0.1:{bouncer}").geturl()


@pytest.fixture
async def memory(bounced_url: str) -> AsyncIterator[AsyncMemory]:
    """A memory as one behind a pooler must be."""
    async with AsyncMemory("postgres", url=bounced_url, embedder=HashEmbedder(16), statement_cache=False) as memory:
        yield memory


@pytest.fixture
def observer(postgres_url: str) -> Observer:
    """Looks on past pgbouncer."""
    return Observer(postgres_url)


async def use_every_verb(memory: AsyncMemory) -> set[str]:
    """Use each verb that the provider has, and return their names."""
    tea = await memory.add(content="likes tea", user_id="ann", scope="food", tags=["drink"])
    await memory.add(content="likes milk", user_id="ann", key="milk")
    await memory.add(content="likes cold milk", user_id="ann", key="milk", supersedes=[tea.id])
    many = await memory.add_many([{"content": f"note {number}"} for number in range(5)], user_id="ann")
    assert (await memory.get(tea.id)).content == "likes tea"
    assert (await memory.update(many[0].id, content="changed")).version == 2
    assert len(await memory.history(many[0].id)) == 1
    await memory.delete(many[1].id)
    assert len((await memory.list("ann")).items) == 5
    for mode in ("vector", "keyword", "hybrid"):
        assert (await memory.search("cold milk", "ann", mode=mode))[0].memory.content == "likes cold milk"
    assert (await memory.context("milk", "ann", token_budget=100)).citations
    assert [info.scope for info in await memory.scopes("ann")] == [None, "food"]
    assert [info.tag for info in await memory.tags("ann")] == []  # what has one is superseded
    assert [info.user_id for info in (await memory.users()).items] == ["ann"]
    assert (await memory.changes("ann")).items[-1].action == "delete"
    await memory.wait_for_ingest([tea.id], user_id="ann")
    page = await memory.export("ann")
    assert (await memory.import_(page.lines, conflict="duplicate")).duplicated == 6
    assert (await memory.reembed()).done == 12
    assert (await memory.maintain(versions=0)).versions == 2  # of the operator, so no capability
    assert {entry.action for entry in await memory.audit("ann", limit=500)} == {
        *("add", "get", "update", "delete", "list", "search", "context")
    }
    assert (await memory.delete_all("ann")).complete
    assert (await memory.health()).ok
    return {
        *("add", "add_many", "get", "update", "delete", "delete_all", "list", "search", "context", "history", "audit"),
        *("export", "import", "wait_for_ingest", "reembed", "health", "scopes", "tags", "users", "changes"),
    }


async def test_every_verb_works(memory: AsyncMemory) -> None:
    used = await use_every_verb(memory)
    assert used == {*(await memory.capabilities()).all_verbs}


async def test_more_calls_than_connections_take_turns(memory: AsyncMemory, observer: Observer) -> None:
    calls = [
        lambda number=number: memory.add(content=f"note {number}", user_id="ann", key=f"key {number}")
        for number in range(30)
    ]
    await async_gather(*calls)
    found = await async_gather(*[lambda: memory.search("note", "ann", limit=30)] * 20)
    assert [len(results) for results in found] == [30] * 20
    assert observer.value("select count(*) from openmem.audit where action = 'search'") == 20
    assert observer.connections() <= 2


async def use_on_two_connections(memory: AsyncMemory, bounced_url: str) -> None:
    """Run the same statement on one connection of the server often enough to be prepared, and then on another."""
    await memory.add(content="likes tea", user_id="ann")
    for _ in range(4):
        assert len(await memory.search("tea", "ann")) == 1
    with psycopg.connect(bounced_url, prepare_threshold=None) as other:
        other.execute("select 1")  # a client in a transaction keeps the connection
        assert len(await memory.search("tea", "ann")) == 1


async def test_statement_finds_its_way_to_another_connection(memory: AsyncMemory, bounced_url: str) -> None:
    await use_on_two_connections(memory, bounced_url)


async def test_prepared_statements_are_given_up_where_the_pooler_loses_them(bounced_url: str) -> None:
    async with AsyncMemory("postgres", url=bounced_url, embedder=HashEmbedder(16)) as memory:
        await use_on_two_connections(memory, bounced_url)
        await memory.delete_all("ann")
        await use_every_verb(memory)


async def test_late_statement_ends_on_the_server_too(memory: AsyncMemory, observer: Observer) -> None:
    await memory.add(content="likes tea", user_id="ann")
    with observer.hold():
        with fails(DeadlineExceededError, within=0.3 + AT_ONCE):
            await memory.search("tea", "ann", timeout=0.3)
        await async_to_thread(until, lambda: not observer.held(), 1.0)
    assert len(await memory.search("tea", "ann")) == 1


async def test_server_store_works_behind_it(bounced_url: str) -> None:
    async with AsyncServerStore(bounced_url, statement_cache=False) as store:
        made = await store.create_key(app="editor", user_id=None, grants=["read:*"])
        found = await async_gather(*[lambda: store.find_key(made.secret)] * 20)
        assert found == [made.info] * 20
        waits = await async_gather(*[lambda: store.take("c", 5, made.info.created_at)] * 20)
        assert waits.count(0.0) == 5
        await store.touch_keys({made.info.id: made.info.created_at})
        begun = await store.begin_reply("c", "k", "f", made.info.created_at, user_id="ann")
        await store.end_reply("c", "k", 201, {}, b"body")
        assert (await store.begin_reply("c", "k", "f", made.info.created_at, user_id="ann")).seed == begun.seed
        assert await store.forget_replies_of("ann") == 1
