"""A cancelled call ends at once, ends on the server too, and leaves the pool as it was."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres import asyncpg_driver as postgres_asyncpg
from openmem._io.postgres.async_pool import AsyncPool
from openmem._io.postgres.database import AsyncPg
from openmem._io.postgres.options import PoolOptions
from openmem._io.postgres.running import Running
from openmem._sql.steps import Many, Query, Steps
from openmem.errors import DeadlineExceededError, ProviderUnavailableError

SOON = Deadline.after(3600)
AT_ONCE = 0.05
BACK_IN_POOL = 0.5
GONE = 1.0
SLEPT = 30
SLEEP = f"select pg_sleep({SLEPT})"


def ask(sql: str, *params: Any) -> Callable[[], Steps[Any]]:
    def steps() -> Steps[Any]:
        rows = yield Query(sql, params)
        return rows[0][0] if rows else None

    return steps


def insert(first: int, count: int = 2) -> Callable[[], Steps[None]]:
    def steps() -> Steps[None]:
        for number in range(first, first + count):
            yield Query("insert into t values($1::integer, 'x')", (number,))

    return steps


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[AsyncPg]:
    db = AsyncPg(url, **options)
    try:
        yield db
    finally:
        await db.aclose()


@pytest.fixture
async def observer(empty_postgres_url: str) -> AsyncIterator[AsyncPg]:
    """Connections of their own to look on with, to a database with the extension and a table."""
    async with opened(empty_postgres_url, application_name="observer") as db:
        await db.plain(ask("create extension vector"), SOON)
        await db.plain(ask("create table t(a integer primary key, b text)"), SOON)
        yield db


async def until(found: Callable[[], Any], limit: float) -> float:
    """Wait until something is so; return the seconds it took."""
    started = time.monotonic()
    while not found():
        assert time.monotonic() - started < limit
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def running(observer: AsyncPg, text: str) -> int:
    sql = "select count(*) from pg_stat_activity where state = 'active' and query like $1"
    sql += " and pid <> pg_backend_pid() and datname = current_database()"
    return int(await observer.run(ask(sql, f"{text}%"), SOON))


async def until_running(observer: AsyncPg, text: str, *, expected: bool, limit: float = 5.0) -> None:
    started = time.monotonic()
    while bool(await running(observer, text)) is not expected:
        assert time.monotonic() - started < limit
        await asyncio.sleep(0.01)


async def cancel(task: asyncio.Task[Any]) -> float:
    """Cancel a task; return the seconds until it ended."""
    started = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - started


@pytest.mark.parametrize("way", ["run", "transact"])
async def test_cancelled_call_ends_everywhere_and_its_connection_is_used_again(
    empty_postgres_url: str, observer: AsyncPg, way: str
) -> None:
    async with opened(empty_postgres_url) as db:
        pid = await db.run(ask("select pg_backend_pid()"), SOON)
        call = db.run(ask(SLEEP), SOON) if way == "run" else db.transact(ask(SLEEP), SOON)
        task = asyncio.create_task(call)
        await until_running(observer, SLEEP, expected=True)
        assert await cancel(task) < AT_ONCE
        await until(lambda: db.stats()["idle"] == 1, BACK_IN_POOL)
        await until_running(observer, SLEEP, expected=False, limit=GONE)
        assert await db.run(ask("select pg_backend_pid()"), SOON) == pid
        assert await db.run(ask("select txid_current_if_assigned() is null"), SOON) is True


async def test_cancelled_transaction_leaves_nothing(empty_postgres_url: str, observer: AsyncPg) -> None:
    def steps() -> Steps[None]:
        yield Query("insert into t values(1, 'x')")
        yield Query(SLEEP)

    async with opened(empty_postgres_url) as db:
        task = asyncio.create_task(db.transact(steps, SOON))
        await until_running(observer, SLEEP, expected=True)
        await cancel(task)
        await until(lambda: db.stats()["idle"] == 1, BACK_IN_POOL)
        assert await db.run(ask("select count(*) from t"), SOON) == 0


@pytest.mark.parametrize("by", ["cancel", "deadline"])
async def test_batch_ends_though_the_server_has_stopped_reading(
    empty_postgres_url: str, observer: AsyncPg, by: str
) -> None:
    # The rows wait for another transaction's row, and there are more of them than the sockets take.
    def hold() -> Steps[None]:
        yield Query("insert into t values(50, 'x')")
        yield Query(SLEEP)

    def steps() -> Steps[None]:
        yield Many("insert into t values($1::integer, $2)", [(n, "x" * 2000) for n in range(10_000)])

    async with opened(empty_postgres_url) as db:
        holder = asyncio.create_task(observer.transact(hold, SOON))
        await until_running(observer, SLEEP, expected=True)
        if by == "cancel":
            task = asyncio.create_task(db.transact(steps, SOON))
            await until_running(observer, "insert into t", expected=True)
            assert await cancel(task) < AT_ONCE
        else:
            started = time.monotonic()
            with pytest.raises(DeadlineExceededError):
                await db.transact(steps, Deadline.after(0.3))
            assert time.monotonic() - started < 0.3 + 5 * AT_ONCE
        await until_running(observer, "insert into t", expected=False, limit=GONE)
        await until(lambda: db.stats()["size"] == db.stats()["idle"], BACK_IN_POOL)
        await cancel(holder)
        await db.transact(insert(1), SOON)
        assert await db.run(ask("select count(*) from t"), SOON) == 2


async def test_hundreds_of_cancels_at_random_times_leave_no_bad_connection(
    empty_postgres_url: str, observer: AsyncPg
) -> None:
    chance = random.Random(7)
    async with opened(empty_postgres_url, pool_max_size=4) as db:
        for number in range(300):
            task = asyncio.create_task(db.transact(insert(number * 2), SOON))
            await asyncio.sleep(chance.random() * 0.003)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
        await until(lambda: db.stats()["size"] == db.stats()["idle"], BACK_IN_POOL)
        await asyncio.gather(*(db.run(ask("select 1"), SOON) for _ in range(8)))
        halves = "select count(*) from (select a / 2 from t group by 1 having count(*) <> 2) halves"
        assert await db.run(ask(halves), SOON) == 0
        assert 0 < await db.run(ask("select count(*) from t"), SOON) <= 600
        open_ = "select count(*) from pg_stat_activity where state like 'idle in transaction%'"
        open_ += " and datname = current_database()"
        assert await observer.run(ask(open_), SOON) == 0


async def test_cancelled_wait_for_a_connection_leaves_the_others_in_line(
    empty_postgres_url: str, observer: AsyncPg
) -> None:
    async with opened(empty_postgres_url, pool_max_size=1) as db:
        holder = asyncio.create_task(db.run(ask("select pg_sleep(0.3)"), SOON))
        await until(lambda: db.stats()["size"] == 1, 1.0)
        waiters = [asyncio.create_task(db.run(ask("select 1"), SOON)) for _ in range(2)]
        await until(lambda: db.stats()["waiting"] == 2, 1.0)
        assert await cancel(waiters[0]) < AT_ONCE
        assert await waiters[1] == 1
        await holder
        assert db.stats() == {"size": 1, "idle": 1, "waiting": 0}


async def test_connection_given_to_a_call_that_is_cancelled_goes_to_the_next(
    empty_postgres_url: str, observer: AsyncPg
) -> None:
    pool, running = AsyncPool(PoolOptions(empty_postgres_url, max_size=1)), Running()
    session = await pool.take(SOON, running)
    waiters = [asyncio.create_task(pool.take(SOON, running)) for _ in range(2)]
    await until(lambda: pool.stats()["waiting"] == 2, 1.0)
    pool.put(session)
    await cancel(waiters[0])
    assert await waiters[1] is session
    pool.put(session)
    await pool.drain()


async def test_connection_that_ended_unseen_is_not_used(empty_postgres_url: str, observer: AsyncPg) -> None:
    # The loop does not turn between the end of the connection and its next use.
    async with opened(empty_postgres_url) as db:
        pid = await db.run(ask("select pg_backend_pid()"), SOON)
        with psycopg.connect(empty_postgres_url) as other:
            other.execute("select pg_terminate_backend(%s, 2000)", (pid,))
        assert await db.run(ask("select pg_backend_pid()"), SOON) != pid


async def test_cancelled_attempt_to_connect_ends_at_once() -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            await reader.read()

    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(f"postgresql://u:p@127.0.0.1:{port}/d") as db:
            task = asyncio.create_task(db.run(ask("select 1"), SOON))
            await until(lambda: db.stats()["size"] == 1, 1.0)
            await asyncio.sleep(0.1)
            assert await cancel(task) < AT_ONCE
        assert db.stats() == {"size": 0, "idle": 0, "waiting": 0}


async def test_dead_line_keeps_no_caller_waiting(
    empty_postgres_url: str, observer: AsyncPg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_asyncpg, "RECOVER_SECONDS", 0.3)
    async with bad_line(empty_postgres_url, cuts=False) as (url, bad), opened(url) as db:
        await asyncio.gather(*(db.run(ask("select pg_sleep(0.1)"), SOON) for _ in range(3)))
        assert db.stats()["idle"] == 3
        bad.set()
        with pytest.raises(DeadlineExceededError):
            await db.run(ask("select 1"), Deadline.after(0.2))
        task = asyncio.create_task(db.run(ask("select 1"), SOON))
        await asyncio.sleep(0.05)
        assert await cancel(task) < AT_ONCE
        bad.clear()
        await until(lambda: db.stats()["size"] == 0, 1.0)  # nor is the third one trusted any more
        assert await db.run(ask("select 1"), Deadline.after(2.0)) == 1


async def test_transaction_whose_begin_was_lost_is_begun_again(empty_postgres_url: str, observer: AsyncPg) -> None:
    async with bad_line(empty_postgres_url, cuts=True) as (url, bad), opened(url) as db:
        pid = await db.run(ask("select pg_backend_pid()"), SOON)
        bad.set()
        assert await db.transact(ask("select pg_backend_pid()"), SOON) != pid


@contextlib.asynccontextmanager
async def bad_line(url: str, *, cuts: bool) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Provide an address that leads to the server, and an event that spoils the line.

    While it is set all bytes vanish; or, if the line `cuts`, the next ones end it and the event is over.
    """
    parts, bad = urlsplit(url), asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while data := await reader.read(65536):
                if bad.is_set() and cuts:
                    bad.clear()
                    break
                if not bad.is_set():
                    writer.write(data)
                    await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        there, back = (asyncio.create_task(pass_on(*way)) for way in ((reader, far_writer), (far_reader, writer)))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        far_writer.close()
        await asyncio.gather(there, back)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl(), bad
    await asyncio.wait(tasks, timeout=2.0)


async def test_full_pool_turns_away_in_time(empty_postgres_url: str, observer: AsyncPg) -> None:
    async with opened(empty_postgres_url, pool_max_size=1, pool_timeout=0.2) as db:
        holder = asyncio.create_task(db.run(ask(SLEEP), SOON))
        await until(lambda: db.stats()["size"] == 1, 1.0)
        for limit, timeout in ((0.2, 3600), (0.1, 0.1)):
            started, deadline = time.monotonic(), Deadline.after(timeout)
            with pytest.raises(ProviderUnavailableError, match="pool exhausted"):
                await db.run(ask("select 1"), deadline)
            assert time.monotonic() - started > limit - 0.02
            assert not holder.done()  # no caller was waited for
        assert db.stats() == {"size": 1, "idle": 0, "waiting": 0}
        await cancel(holder)


async def test_pool_full_of_dead_connections_is_survived(empty_postgres_url: str, observer: AsyncPg) -> None:
    async with opened(empty_postgres_url, pool_max_size=5) as db:
        await asyncio.gather(*(db.run(ask("select pg_sleep(0.1)"), SOON) for _ in range(5)))
        assert db.stats()["idle"] == 5
        kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'openmem'"
        kill += " and datname = current_database()"
        assert await observer.run(ask(kill), SOON) == 5
        found = await asyncio.gather(*(db.run(ask("select 1"), SOON, retry=True) for _ in range(5)))
        assert found == [1] * 5


async def test_closing_ends_calls_in_progress(empty_postgres_url: str, observer: AsyncPg) -> None:
    db = AsyncPg(empty_postgres_url, pool_max_size=1)
    calls = [asyncio.create_task(db.run(ask(SLEEP), SOON)) for _ in range(2)]
    await until_running(observer, SLEEP, expected=True)
    await until(lambda: db.stats()["waiting"] == 1, 1.0)
    started = time.monotonic()
    await db.aclose()
    for call in calls:
        with pytest.raises(ProviderUnavailableError, match="closed during the call"):
            await call
    assert time.monotonic() - started < SLEPT / 2
    assert db.stats() == {"size": 0, "idle": 0, "waiting": 0}
    await until_running(observer, SLEEP, expected=False, limit=GONE)


async def test_instances_with_the_same_options_share_connections(empty_postgres_url: str, observer: AsyncPg) -> None:
    async with opened(empty_postgres_url) as one, opened(empty_postgres_url) as two:
        pid = await one.run(ask("select pg_backend_pid()"), SOON)
        assert await two.run(ask("select pg_backend_pid()"), SOON) == pid
        await one.aclose()
        assert await two.run(ask("select pg_backend_pid()"), SOON) == pid


async def test_instance_for_each_request_opens_no_connection_for_each(
    empty_postgres_url: str, observer: AsyncPg
) -> None:
    pids = set()
    for _ in range(20):
        async with opened(empty_postgres_url) as db:
            pids.add(await db.run(ask("select pg_backend_pid()"), SOON))
    assert len(pids) <= 2
