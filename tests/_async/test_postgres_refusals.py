"""The server ends connections, has none left, or is read-only: the promised error, and the next call works."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from openmem import AsyncMemory, DeadlineExceededError, InvalidRequestError
from openmem._io.concurrency.primitives import async_to_thread
from openmem._model.cursors import encode_cursor
from openmem._rules.validation import make_list_query
from openmem.errors import ProviderUnavailableError
from openmem.testing import HashEmbedder
from openmem.testing._postgres.install import find_install
from openmem.testing.postgres import PostgresServer, postgres_server
from tests.postgres_observer import Observer, until
from tests.promised_errors import fails, with_secret

AT_ONCE = 1.0
FEW = 8


def opened(url: str) -> AsyncMemory:
    return AsyncMemory("postgres", url=with_secret(url), embedder=HashEmbedder(16))


@pytest.fixture
async def memory(postgres_url: str) -> AsyncIterator[AsyncMemory]:
    """A memory with a note of ann's."""
    async with opened(postgres_url) as memory:
        await memory.add(content="likes tea", user_id="ann")
        yield memory


@pytest.fixture
def observer(postgres_url: str, memory: AsyncMemory) -> Observer:
    """Looks on over connections of its own."""
    return Observer(postgres_url)


async def contents(memory: AsyncMemory) -> list[str]:
    return sorted(record.content for record in (await memory.list("ann")).items)


# --- connections that an administrator ends ---


async def test_backend_terminated_at_rest_is_not_noticed_by_a_write(memory: AsyncMemory, observer: Observer) -> None:
    assert observer.terminate() == 1
    await memory.add(content="likes coffee", user_id="ann")
    assert await contents(memory) == ["likes coffee", "likes tea"]


async def test_backend_terminated_during_a_read_costs_only_another_attempt(
    memory: AsyncMemory, observer: Observer
) -> None:
    with observer.interfere(observer.terminate):
        assert await contents(memory) == ["likes tea"]
    assert observer.connections() == 1


async def test_backend_terminated_during_a_write_is_an_error_and_nothing_is_stored(
    memory: AsyncMemory, observer: Observer
) -> None:
    with observer.interfere(observer.terminate), fails(ProviderUnavailableError, "shutting down", within=AT_ONCE):
        await memory.add(content="likes coffee", user_id="ann")
    assert await contents(memory) == ["likes tea"]
    with observer.interfere(observer.terminate), fails(ProviderUnavailableError, "shutting down", within=AT_ONCE):
        await memory.add(content="likes coffee", user_id="ann", key="drink")
    assert await contents(memory) == ["likes tea"]
    await memory.add(content="likes coffee", user_id="ann", key="drink")
    assert await contents(memory) == ["likes coffee", "likes tea"]


def idle(memory: AsyncMemory) -> int:
    """Return how many connections are at rest."""
    return int(memory._provider._db.stats()["idle"])  # type: ignore[attr-defined]


async def test_statement_ends_on_the_server_when_its_deadline_is_over(memory: AsyncMemory, observer: Observer) -> None:
    with observer.hold():
        for _ in range(3):
            with fails(DeadlineExceededError, within=0.3 + AT_ONCE):
                await memory.search("tea", "ann", timeout=0.3)
            await async_to_thread(until, lambda: not observer.held(), 1.0)
            # It is put in order in the background: a search that began meanwhile would rightly open another.
            await async_to_thread(until, lambda: idle(memory) == 1, AT_ONCE)
        assert observer.connections() == 1
    assert await contents(memory) == ["likes tea"]


# --- a server that has no connection left ---


@pytest.fixture(scope="module")
def small_server() -> Iterator[PostgresServer]:
    """A server that takes few connections."""
    with postgres_server(private=True, fsync=False, max_connections=FEW) as server:
        yield server


async def test_server_with_too_many_connections_is_unavailable_until_it_has_one(small_server: PostgresServer) -> None:
    url = small_server.new_database()
    async with opened(url) as memory:
        await memory.add(content="likes tea", user_id="ann")
        Observer(url).terminate()
        with all_taken(small_server):
            for _ in range(3):
                with fails(ProviderUnavailableError, "too many connections", within=AT_ONCE):
                    await contents(memory)
                with fails(ProviderUnavailableError, "too many connections", within=AT_ONCE):
                    await memory.add(content="likes coffee", user_id="ann")
        assert await contents(memory) == ["likes tea"]


@contextlib.contextmanager
def all_taken(server: PostgresServer) -> Iterator[None]:
    """Take every connection that the server still has."""
    with contextlib.ExitStack() as taken:
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                taken.enter_context(psycopg.connect(server.url))
        yield


# --- a server that only reads ---


async def test_read_only_database_is_unavailable_until_it_takes_writes(
    memory: AsyncMemory, observer: Observer, postgres: PostgresServer
) -> None:
    admin, database = Observer(postgres.url), observer.value("select current_database()")
    admin.rows(f"alter database {database} set default_transaction_read_only = on")
    observer.terminate()
    for _ in range(2):
        with fails(ProviderUnavailableError, "read-only", within=AT_ONCE):
            await memory.add(content="likes coffee", user_id="ann")
    admin.rows(f"alter database {database} reset default_transaction_read_only")
    # After a failover only a new connection leads to the server that takes writes.
    await memory.add(content="likes coffee", user_id="ann")
    assert await contents(memory) == ["likes coffee", "likes tea"]


async def test_replica_is_unavailable_for_writes_until_it_is_promoted(own_postgres: PostgresServer) -> None:
    url = own_postgres.new_database()
    observer = Observer(url)
    async with opened(url) as memory:
        await memory.add(content="likes tea", user_id="ann")
        become_replica(own_postgres, observer)
        try:
            for _ in range(2):
                with fails(ProviderUnavailableError, "read-only", within=AT_ONCE):
                    await memory.add(content="likes coffee", user_id="ann")
            health = await memory.health()
            assert health.detail["read_only"] is True
        finally:
            observer.rows("select pg_promote()")
        await memory.add(content="likes coffee", user_id="ann")
        assert await contents(memory) == ["likes coffee", "likes tea"]


def become_replica(server: PostgresServer, observer: Observer) -> None:
    """Start the server again as one that only replays what another writes."""
    signal = Path(observer.value("show data_directory")) / "standby.signal"
    server.stop()
    signal.touch()
    find_install().account.give(signal)
    server.restart()
    assert observer.value("select pg_is_in_recovery()") is True


@pytest.mark.parametrize("time", ["yesterday", "", "2026-01-01T00:00:00", "9999999-01-01T00:00:00+00:00"])
async def test_made_up_cursor_is_refused(memory: AsyncMemory, time: str) -> None:
    cursor = encode_cursor("list", [time, "mem_1"], make_list_query("ann").binding)
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        await memory.list("ann", cursor=cursor)


@pytest.mark.parametrize("bucket", [-2, 4_096, 70_000])
async def test_made_up_cursor_of_an_export_is_refused(memory: AsyncMemory, bucket: int) -> None:
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        await memory.export(cursor=encode_cursor("export", [bucket, ""], [None]))
