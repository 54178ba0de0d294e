"""The cost of a connection: types are looked up once in both forms, and a cursor is kept where it holds no rows."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import AsyncPg, Pg
from openmem._io.postgres.psycopg_driver import _Connection
from openmem._sql.steps import Query, Row, Steps
from openmem.errors import ProviderError
from tests.postgres_observer import PATIENCE, Observer

CONNECTIONS = 4
LEFT = "select count(*) from pg_stat_activity where backend_type = 'client backend' and datname = %s"
COUNT = "select xact_commit from pg_stat_database where datname = %s"


def wait_a_little() -> Steps[None]:
    yield Query("select pg_sleep(0.2)")  # so that each statement needs a connection of its own


def use_async(url: str, extension: bool) -> None:
    async def use() -> None:
        db = AsyncPg(url, application_name="counted", extension=extension)
        await db.run(wait_a_little, Deadline())
        await asyncio.gather(*(db.run(wait_a_little, Deadline()) for _ in range(CONNECTIONS)))
        assert db.stats()["size"] == CONNECTIONS
        await db.aclose()

    asyncio.run(use())


def use_sync(url: str, extension: bool) -> None:
    db, together = Pg(url, application_name="counted", extension=extension), Barrier(CONNECTIONS)

    def run() -> None:
        together.wait()
        db.run(wait_a_little, Deadline())

    db.run(wait_a_little, Deadline())
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for each in [threads.submit(run) for _ in range(CONNECTIONS)]:
            each.result()
    assert db.stats()["size"] == CONNECTIONS
    db.close()


def transactions(url: str, use: Callable[[str, bool], None], extension: bool) -> int:
    """Return how many transactions the connections made; the server counts them when they end."""
    parts = urlsplit(url)
    name, until = parts.path[1:], time.monotonic() + PATIENCE
    observer = Observer(parts._replace(path="/postgres").geturl())  # elsewhere, so that it does not count itself

    def count() -> int:
        while observer.value(LEFT, name):
            assert time.monotonic() < until
        return int(observer.value(COUNT, name))

    before = count()
    use(url, extension)
    return count() - before


@pytest.mark.parametrize("use", [use_async, use_sync])
def test_types_of_the_extension_are_looked_up_by_the_first_connection_only(
    empty_postgres_url: str, use: Callable[[str, bool], None]
) -> None:
    Observer(empty_postgres_url).rows("create extension vector")
    bare, full = (transactions(empty_postgres_url, use, extension) for extension in (False, True))
    assert bare >= 1 + CONNECTIONS
    # One statement, which asyncpg prepares in a transaction of its own; and the server's own work may come in between.
    assert full - bare < CONNECTIONS


def test_cursor_is_kept_for_as_long_as_it_holds_no_rows(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    make = _Connection.cursor

    def counted(connection: _Connection, **options: Any) -> Any:
        cursor = make(connection, **options)
        made.append(weakref.ref(cursor))
        return cursor

    monkeypatch.setattr(_Connection, "cursor", counted)
    db = Pg(empty_postgres_url, extension=False)

    def ask(text: str, *params: Any) -> list[Row]:
        def steps() -> Steps[list[Row]]:
            return (yield Query(text, params))

        return db.run(steps, Deadline.after(PATIENCE))

    def alive() -> list[bool]:
        gc.collect()
        return [cursor() is not None for cursor in made]

    store = "insert into drinks values($1)"
    assert [ask("create table drinks(name text primary key)"), ask(store, "tea"), ask(store, "milk")] == [[], [], []]
    assert alive() == [True]
    assert ask("select name from drinks order by 1") == [("milk",), ("tea",)]
    assert alive() == [False], "its rows went with it"
    assert ask(store, "juice") == []
    assert alive() == [False, True]
    with pytest.raises(ProviderError):
        ask(store, "tea")
    assert ask(store, "water") == []
    assert ask("select count(*) from drinks") == [(4,)]
    assert db.stats()["size"] == 1
    db.close()
