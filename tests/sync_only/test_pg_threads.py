"""Behaviour of the form for threads alone: threads that share a pool, forks, Ctrl-C, and an exit without a goodbye."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import Pg
from openmem._sql.steps import Many, Query, Steps
from openmem.errors import DeadlineExceededError, ProviderUnavailableError
from openmem.testing.postgres import PostgresServer

SRC = Path(__file__).resolve().parents[2] / "src"
SOON = Deadline.after(3600)
SLEPT = 30
SLEEP = f"select pg_sleep({SLEPT})"


def ask(sql: str, *params: Any) -> Callable[[], Steps[Any]]:
    def steps() -> Steps[Any]:
        rows = yield Query(sql, params)
        return rows[0][0] if rows else None

    return steps


@pytest.fixture
def db(empty_postgres_url: str) -> Iterator[Pg]:
    """A pool of two connections to a database with the extension."""
    db = Pg(empty_postgres_url, pool_max_size=2, pool_timeout=0.2)
    db.plain(ask("create extension vector"), SOON)
    yield db
    db.close()


@pytest.fixture
def observer(empty_postgres_url: str, db: Pg) -> Iterator[Pg]:
    """A connection of its own to look on with."""
    other = Pg(empty_postgres_url, application_name="observer")
    yield other
    other.close()


def until(found: Callable[[], Any], limit: float = 5.0) -> None:
    started = time.monotonic()
    while not found():
        assert time.monotonic() - started < limit
        time.sleep(0.01)


def sleepers(observer: Pg) -> int:
    sql = "select count(*) from pg_stat_activity where state = 'active' and query = $1 and datname = current_database()"
    return int(observer.run(ask(sql, SLEEP), SOON))


def program(url: str, code: str) -> subprocess.Popen[str]:
    """Run code in a new interpreter in which `db` is a pool and `ask` makes steps."""
    start = f"""
import os, sys, time
sys.path.insert(0, {str(SRC)!r})
from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import Pg
from openmem._sql.steps import Query
SOON = Deadline.after(60)
def ask(sql):
    def steps():
        rows = yield Query(sql)
        return rows[0][0]
    return steps
db = Pg({url!r})
"""
    return subprocess.Popen([sys.executable, "-W", "error", "-c", start + code], stdout=subprocess.PIPE, text=True)


def test_full_pool_turns_away_in_time(db: Pg) -> None:
    turned_away = threading.Event()

    def held() -> Steps[Any]:
        yield Query("select 1")
        assert turned_away.wait(60)  # so a thread that is turned away is not served either

    with ThreadPoolExecutor() as threads:
        busy = [threads.submit(db.run, held, SOON) for _ in range(2)]
        until(lambda: db.stats()["size"] == 2 and not db.stats()["idle"])
        for limit, timeout in ((0.2, 3600), (0.1, 0.1)):
            started, deadline = time.monotonic(), Deadline.after(timeout)
            with pytest.raises(ProviderUnavailableError, match="pool exhausted"):
                db.run(ask("select 1"), deadline)
            assert time.monotonic() - started > limit - 0.02
        turned_away.set()
        assert [call.exception() for call in busy] == [None, None]
    assert db.stats() == {"size": 2, "idle": 2, "waiting": 0}


@pytest.mark.usefixtures("db")
def test_many_threads_share_few_connections(empty_postgres_url: str) -> None:
    patient = Pg(empty_postgres_url, pool_max_size=2)  # a busy machine lets a thread wait long for its turn
    try:
        with ThreadPoolExecutor(8) as threads:
            pids = list(threads.map(lambda _: patient.run(ask("select pg_backend_pid()"), SOON), range(200)))
        assert len(set(pids)) <= 2
        assert patient.stats()["size"] == patient.stats()["idle"] <= 2
    finally:
        patient.close()


def test_pool_full_of_dead_connections_is_survived(db: Pg, observer: Pg) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: db.run(ask("select pg_sleep(0.1)"), SOON), range(2)))
    kill = "select count(pg_terminate_backend(pid, 2000)) from pg_stat_activity where application_name = 'openmem'"
    assert observer.run(ask(f"{kill} and datname = current_database()"), SOON) == 2
    assert db.run(ask("select 1"), SOON) == 1  # seen before use, so no retry is needed
    assert db.stats() == {"size": 1, "idle": 1, "waiting": 0}


def test_error_of_the_connection_without_a_state_is_a_lost_connection(db: Pg) -> None:
    def cut_off() -> Steps[None]:
        yield Query("select 1")
        raise psycopg.OperationalError("cannot exit pipeline mode while busy")  # what a batch says to a dead server

    with pytest.raises(ProviderUnavailableError, match="was lost"):
        db.transact(cut_off, SOON)
    assert db.stats()["size"] == 0
    assert db.run(ask("select 1"), SOON) == 1


def test_closing_ends_calls_in_other_threads(db: Pg, observer: Pg) -> None:
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(db.run, ask(SLEEP), SOON) for _ in range(2)]
        until(lambda: sleepers(observer) == 2)
        started = time.monotonic()
        db.close()
        for call in calls:
            with pytest.raises(ProviderUnavailableError, match="closed"):
                call.result(timeout=5)
    assert time.monotonic() - started < SLEPT / 2
    assert db.stats() == {"size": 0, "idle": 0, "waiting": 0}
    until(lambda: sleepers(observer) == 0, 1.0)


def test_batch_ends_at_the_deadline_though_the_server_has_stopped_reading(db: Pg, observer: Pg) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> Steps[None]:
        yield Query("insert into t values(50, 'x')")
        held.set()
        release.wait(10)

    def rows() -> Steps[None]:
        yield Many("insert into t values($1::integer, $2)", [(n, "x" * 2000) for n in range(10_000)])

    db.run(ask("create table t(a integer primary key, b text)"), SOON)
    with ThreadPoolExecutor() as threads:
        holder = threads.submit(observer.transact, hold, SOON)
        assert held.wait(5)
        started = time.monotonic()
        with pytest.raises(DeadlineExceededError):
            db.transact(rows, Deadline.after(0.5))
        assert time.monotonic() - started < 2.0
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        until(lambda: db.run(ask(waiting), SOON) == 0, 1.0)
        release.set()
        holder.result(timeout=5)
    assert db.run(ask("select count(*) from t"), SOON) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_child_of_a_fork_has_connections_of_its_own(empty_postgres_url: str, db: Pg) -> None:
    child = program(
        empty_postgres_url,
        """
mine = db.run(ask("select pg_backend_pid()"), SOON)
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, str(db.run(ask("select pg_backend_pid()"), SOON)).encode())
    os._exit(0)
os.wait()
theirs = int(os.read(reader, 100))
print(mine != theirs, db.run(ask("select pg_backend_pid()"), SOON) == mine)
db.close()
""",
    )
    assert child.communicate(timeout=50)[0].split() == ["True", "True"]


def test_ctrl_c_ends_the_statement_on_the_server_and_leaves_a_good_connection(
    empty_postgres_url: str, observer: Pg
) -> None:
    child = program(
        empty_postgres_url,
        f"""
pid = db.run(ask("select pg_backend_pid()"), SOON)
try:
    db.run(ask({SLEEP!r}), SOON)
except KeyboardInterrupt:
    print("interrupted", db.run(ask("select 1"), SOON), flush=True)
    time.sleep(30)
""",
    )
    until(lambda: sleepers(observer) == 1)
    child.send_signal(signal.SIGINT)
    assert child.stdout is not None
    assert child.stdout.readline() == "interrupted 1\n"
    assert sleepers(observer) == 0
    child.kill()
    child.communicate()


def test_program_that_never_closes_ends_at_once(empty_postgres_url: str, db: Pg) -> None:
    started = time.monotonic()
    child = program(empty_postgres_url, """print(db.run(ask("select 1"), SOON))""")
    assert child.communicate(timeout=50)[0] == "1\n"
    assert child.returncode == 0
    assert time.monotonic() - started < 10


def test_server_that_came_back_is_used_without_a_restart_of_the_program(own_postgres: PostgresServer) -> None:
    db = Pg(own_postgres.url)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: db.run(ask("select pg_sleep(0.1)"), SOON), range(3)))
    own_postgres.stop()
    with pytest.raises(ProviderUnavailableError):
        db.run(ask("select 1"), SOON, retry=True)
    own_postgres.restart()
    assert db.run(ask("select 1"), SOON) == 1
    own_postgres.kill()
    own_postgres.restart()
    assert db.transact(ask("select 1"), SOON) == 1
    db.close()
