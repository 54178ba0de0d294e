"""The cost of a new connection, in both forms: the types of the extension are looked up once, not by each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import urlsplit

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import AsyncPg, Pg
from openmem._sql.steps import Query, Steps
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
