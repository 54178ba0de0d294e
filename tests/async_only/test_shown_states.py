"""Pools, stores, batchers and clients show their state: a name, a word, and what there is of each thing."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from openmem import AsyncMemory, ProviderError
from openmem._io.concurrency.background import AsyncBackground, AsyncRest
from openmem._io.concurrency.batching import AsyncBatcher
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.deadlines import DeadlineTimer
from openmem._io.concurrency.executor import ThreadExecutor
from openmem._io.http.client import AsyncHttp
from openmem._io.postgres import shared_pools
from openmem._io.postgres.database import AsyncPg
from openmem._io.sqlite.database import AsyncSqlite
from openmem._io.sqlite.errors import CancelToken
from openmem._io.sqlite.loop_executor import LoopExecutor
from openmem._io.vendors.blocking_sdk import AsyncBlockingClient
from openmem._sql.steps import Query, Steps
from tests.openai_stub import OpenAIStub

SECRET = "correct-horse-battery"


def statement(sql: str) -> Steps[None]:
    yield Query(sql)


async def until_shown(owner: object, text: str) -> None:
    until = Deadline.after(10)
    while repr(owner) != text:
        until.check()
        await asyncio.sleep(0.005)


async def test_pool_shows_connections_in_use_idle_and_waited_for(empty_postgres_url: str) -> None:
    db = AsyncPg(empty_postgres_url, pool_max_size=2, extension=False)
    assert repr(db) == "<AsyncPg unused>"
    busy = [asyncio.create_task(db.run(lambda: statement("select pg_sleep(0.4)"), Deadline())) for _ in range(3)]
    await until_shown(db, "<AsyncPg open, 2 of 2 connections, 0 idle, 1 waiting>")
    assert db._shared is not None
    assert repr(db._shared.pool) == "<AsyncPool open, 2 of 2 connections, 0 idle, 1 waiting>"
    assert repr(db._shared) == "<SharedPool in use, 1 user, 2 of 2 connections, 0 idle, 1 waiting>"
    await asyncio.gather(*busy)
    assert repr(db) == "<AsyncPg open, 2 of 2 connections, 2 idle, 0 waiting>"
    shared = db._shared
    await db.aclose()
    assert repr(db) == "<AsyncPg closed>"
    assert repr(shared) == "<SharedPool left, 0 users, 0 of 2 connections, 0 idle, 0 waiting>"
    assert repr(shared.pool) == "<AsyncPool empty, 0 of 2 connections, 0 idle, 0 waiting>"


async def test_shared_pool_lingers_when_it_is_used_again_soon(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [AsyncPg(empty_postgres_url, pool_max_size=2, extension=False) for _ in range(2)]
    for db in two:
        await db.run(lambda: statement("select 1"), Deadline())
    shared = two[0]._shared
    assert repr(shared) == "<SharedPool in use, 2 users, 1 of 2 connections, 1 idle, 0 waiting>"
    for db in two:
        await db.aclose()
    again = AsyncPg(empty_postgres_url, pool_max_size=2, extension=False)
    await again.run(lambda: statement("select 1"), Deadline())
    monkeypatch.setattr(shared_pools, "LINGER_SECONDS", 0.2)
    await again.aclose()
    assert repr(shared) == "<SharedPool lingering, 0 users, 1 of 2 connections, 1 idle, 0 waiting>"
    await until_shown(shared, "<SharedPool left, 0 users, 0 of 2 connections, 0 idle, 0 waiting>")


async def test_store_shows_readers_the_writer_and_deferred_writes(tmp_path: Path) -> None:
    db = AsyncSqlite(str(tmp_path / "a.db"))
    assert repr(db) == "<AsyncSqlite unused, 0 idle readers, not writing, 0 deferred>"
    go, begun = threading.Event(), threading.Event()

    def slow() -> Steps[None]:
        begun.set()
        go.wait(10)
        yield Query("select 1")

    task = asyncio.create_task(db.write(slow(), Deadline()))
    await asyncio.to_thread(begun.wait, 10)
    assert repr(db) == "<AsyncSqlite open, 0 idle readers, writing, 0 deferred>"
    assert repr(db._writers) == "<LoopExecutor open, 1 of 1 threads busy, 0 waiting>"
    db.defer(Query("select 2"))
    assert repr(db) == "<AsyncSqlite open, 0 idle readers, writing, 1 deferred>"
    go.set()
    await task
    await db.flush(Deadline())
    await db.read(statement("select 1"), Deadline())
    assert repr(db) == "<AsyncSqlite open, 1 idle reader, not writing, 0 deferred>"
    assert repr(db._store) == "<SqliteStore open, 1 idle reader, not writing, 0 deferred>"
    await db.aclose()
    assert (repr(db), repr(db._store)) == ("<AsyncSqlite closed>", "<SqliteStore closed>")
    assert repr(db._readers) == "<LoopExecutor stopped, 0 of 4 threads busy, 0 waiting>"


async def test_executor_of_a_loop_shows_what_waits_for_a_thread() -> None:
    threads, go = LoopExecutor(2), threading.Event()
    tasks = [asyncio.create_task(threads.run(lambda: go.wait(10), CancelToken(Deadline()))) for _ in range(3)]
    await until_shown(threads, "<LoopExecutor open, 2 of 2 threads busy, 1 waiting>")
    go.set()
    await asyncio.gather(*tasks)
    assert repr(threads) == "<LoopExecutor open, 0 of 2 threads busy, 0 waiting>"
    threads.stop()
    assert repr(threads) == "<LoopExecutor stopped, 0 of 2 threads busy, 0 waiting>"


def test_executor_shows_threads_and_what_waits() -> None:
    threads, go, begun = ThreadExecutor("test"), threading.Event(), threading.Event()
    assert repr(threads) == "<ThreadExecutor unused, 0 threads, 0 waiting>"

    def wait() -> None:
        begun.set()
        go.wait(10)

    threads.submit(wait, 1)
    begun.wait(10)
    threads.submit(lambda: None, 1)
    assert repr(threads) == "<ThreadExecutor open, 1 thread, 1 waiting>"
    threads.shutdown()
    go.set()
    threads.join()
    assert repr(threads) == "<ThreadExecutor shut down, 1 thread, 0 waiting>"


async def test_batcher_shows_what_is_under_way_and_what_waits() -> None:
    go = asyncio.Event()

    async def one(item: int, deadline: Deadline) -> int:
        await go.wait()
        return item

    async def many(items: Sequence[int], deadline: Deadline) -> Sequence[int]:
        return items

    batcher = AsyncBatcher(one, many)
    assert repr(batcher) == "<AsyncBatcher idle, 0 under way, 0 waiting>"
    tasks = [asyncio.create_task(batcher.run(item, Deadline())) for item in range(5)]
    await until_shown(batcher, "<AsyncBatcher busy, 2 under way, 3 waiting>")
    go.set()
    await asyncio.gather(*tasks)
    await until_shown(batcher, "<AsyncBatcher idle, 0 under way, 0 waiting>")
    assert repr(AsyncBatcher(one, many, on=False)) == "<AsyncBatcher off, 0 under way, 0 waiting>"


async def test_timer_shows_how_many_deadlines_it_watches() -> None:
    class Item:
        def expire(self) -> None:
            done.set()

    timer, done, first, second = DeadlineTimer(), asyncio.Event(), Item(), Item()
    assert repr(timer) == "<DeadlineTimer unset>"
    near = Deadline.after(0.05)
    timer.set(first, Deadline.after(3600).at)
    assert re.fullmatch(r"<DeadlineTimer set, 1 deadline, next look in 3\d\d\d\.\d{3} s>", repr(timer))
    timer.set(second, near.at)
    assert re.fullmatch(r"<DeadlineTimer set, 2 deadlines, next look in 0\.0\d\d s>", repr(timer))
    await done.wait()
    assert repr(timer).startswith("<DeadlineTimer set, 1 deadline, ")
    timer.unset(first)
    assert repr(timer).startswith("<DeadlineTimer set, 0 deadlines, ")  # it is left alone, and finds nothing to do


async def test_client_shows_the_server_and_no_key() -> None:
    with OpenAIStub() as stub:
        http = AsyncHttp(stub.url, headers={"Authorization": f"Bearer {SECRET}"})
        server = stub.url.split("/")[2]
        assert repr(http) == f"<AsyncHttp unused, {server}>"
        await http.request_json("GET", "/things", deadline=Deadline())
        assert repr(http) == f"<AsyncHttp open, {server}>"
        await http.aclose()
        assert repr(http) == f"<AsyncHttp closed, {server}>"


async def test_client_of_an_sdk_shows_that_it_is_closed() -> None:
    sdk = AsyncBlockingClient(object, lambda client: None, 3, "memory")
    assert repr(sdk) == "<AsyncBlockingClient open, 0 of 3 workers busy, 0 waiting>"
    await sdk.aclose()
    assert repr(sdk) == "<AsyncBlockingClient closed, 0 of 3 workers busy, 0 waiting>"


async def test_background_shows_whether_it_runs() -> None:
    class Owner:
        async def work(self, rest: AsyncRest) -> None:
            await rest()

    owner = Owner()
    background = AsyncBackground(owner.work)
    assert repr(background) == "<AsyncBackground stopped>"
    background.start()
    assert repr(background) == "<AsyncBackground running>"
    await background.aclose()
    assert repr(background) == "<AsyncBackground stopped>"


async def test_nothing_that_shows_itself_shows_a_secret(empty_postgres_url: str, tmp_path: Path) -> None:
    with OpenAIStub() as stub:
        remote = AsyncMemory(base_url=stub.url, api_key=SECRET)
        with pytest.raises(ProviderError):
            await remote.get("m1")
        parts = urlsplit(empty_postgres_url)
        address = parts._replace(netloc=f"postgres:{SECRET}@{parts.hostname}:{parts.port}").geturl()
        database = AsyncMemory(url=address, embedder="none")
        await database.health()
        shown = [
            repr(each)
            for each in gc.get_objects()
            if type(each).__module__.startswith("openmem.") and "__repr__" in vars(type(each))
        ]
        assert len(shown) > 4
        assert [text for text in shown if SECRET in text] == []
        await remote.close()
        await database.close()
