"""Fixtures over a real Postgres: one server for the whole run, a fresh database for every test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from openmem import Memory, migration_script
from openmem.testing.postgres import PostgresServer, postgres_server
from tests.postgres_partitions import empty_tables


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of the run, shared by all its workers; no test may stop it."""
    with postgres_server(fsync=False) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str | None:
    """The database that `postgres_url` copies: one with the schema. To migrate costs more than to copy."""
    key = hashlib.sha256(migration_script().encode()).hexdigest()[:16]
    # In a thread of its own: a coroutine test that is the first to ask for a database has a loop, which may not wait.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(postgres.template, key, _migrate).result()


def _migrate(url: str) -> None:
    with Memory(url=url, embedder="none") as memory:
        memory.health()


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_template: str | None) -> Iterator[str]:
    """The address of a database that was never used, with the schema."""
    url = postgres.new_database(template=postgres_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def _shared_postgres_url(postgres: PostgresServer, postgres_template: str | None) -> Iterator[str]:
    url = postgres.new_database(template=postgres_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def emptied_postgres_url(_shared_postgres_url: str) -> str:
    """The address of a database with the schema and without a row, for tests that leave the schema alone.

    To empty the tables takes a fifth of what it takes to make a database.
    """
    empty_tables(_shared_postgres_url)
    return _shared_postgres_url


@pytest.fixture
def empty_postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database without a schema."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def _own_postgres() -> Iterator[PostgresServer]:
    with postgres_server(private=True, fsync=False) as server:
        yield server


@pytest.fixture
def own_postgres(_own_postgres: PostgresServer) -> PostgresServer:
    """A running server that belongs to this test process alone: a test may stop and kill it."""
    if not _own_postgres.answers():
        _own_postgres.restart()
    return _own_postgres
