"""The same contract on hash-partitioned tables, made by an administrator beforehand; the provider does not know.

The server keeps unique keys, links and locks in another way there: the rules about what is written are always run. The
rules about what is found ask the same statements as everywhere, and all of them are run as `long`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from openmem import AsyncMemory, InvalidRequestError, migration_script
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.audit import AuditRules
from openmem.testing._async.batches import BatchRules
from openmem.testing._async.circles import CircleRules
from openmem.testing._async.deletion import DeletionRules
from openmem.testing._async.isolation import IsolationRules
from openmem.testing._async.keys_and_versions import KeyAndVersionRules
from openmem.testing._async.portability import PortabilityRules
from openmem.testing._async.rules import OpenMemory
from openmem.testing._async.stateful import StatefulRules
from openmem.testing.declared import Declared
from openmem.testing.postgres import PostgresServer
from tests.postgres_partitions import PARTITIONS, TABLES, empty_tables, make_partitions


@pytest.fixture(scope="module")
def partitioned_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database with partitioned tables, for all tests of this file."""
    url = postgres.new_database()
    make_partitions(url)
    yield url
    postgres.drop_database(url)


@pytest.fixture
def emptied_url(partitioned_url: str) -> str:
    """That database, without a row."""
    empty_tables(partitioned_url)
    return partitioned_url


class OnPartitions(Declared):
    """One database for all tests, emptied before each."""

    many_users = 20

    @pytest.fixture
    def open_memory(self, emptied_url: str) -> OpenMemory:
        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("postgres", url=emptied_url, **overrides)

        return open_memory


class TestWritten(
    OnPartitions,
    AuditRules,
    BatchRules,
    CircleRules,
    DeletionRules,
    IsolationRules,
    KeyAndVersionRules,
    PortabilityRules,
    StatefulRules,
):
    """The rules about what differs, keys and links over partitions, and all verbs in any order."""

    runs_of_the_machine = 10


@pytest.mark.long
class TestPartitioned(OnPartitions, AsyncProviderSuite):
    """All rules: the statements are those of a database without partitions."""


async def test_users_spread_over_the_partitions(emptied_url: str) -> None:
    async with AsyncMemory(url=emptied_url, embedder="none") as memory:
        await memory.add_many([{"content": "tea", "user_id": f"user{number}"} for number in range(60)])
    with psycopg.connect(emptied_url) as connection:
        rows = connection.execute("select distinct tableoid::regclass::text from openmem.memories").fetchall()
    assert len(rows) >= PARTITIONS - 4


def test_every_table_of_memories_is_partitioned_by_bucket(partitioned_url: str) -> None:
    with psycopg.connect(partitioned_url) as connection:
        rows = connection.execute(
            """
            select c.relname::text, pg_get_partkeydef(c.oid), (select count(*) from pg_inherits where inhparent = c.oid)
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = 'openmem' and c.relkind = 'p' order by 1
            """
        ).fetchall()
    assert rows == [(table, "HASH (bucket)", PARTITIONS) for table in sorted(TABLES)]


def test_partitions_keep_vectors_in_the_row(partitioned_url: str) -> None:
    with psycopg.connect(partitioned_url) as connection:
        rows = connection.execute(
            """
            select distinct attname::text, attstorage::text from pg_attribute
            where attrelid in (select inhrelid from pg_inherits where inhparent = 'openmem.memories'::regclass)
              and attname like 'embedding%' order by 1
            """
        ).fetchall()
    assert rows == [("embedding", "p"), ("embedding_far", "e"), ("embedding_half", "p")]


@pytest.mark.parametrize("count", [0, 1, 4_097])
def test_number_of_partitions_that_makes_no_sense_is_refused(count: int) -> None:
    with pytest.raises(InvalidRequestError, match="partitions must be from 2 to 4096"):
        migration_script(partitions=count)


def test_script_for_partitions_differs_from_the_other_in_nothing_else() -> None:
    lines, other = migration_script().splitlines(), migration_script(partitions=2).splitlines()
    added = [line for line in other if line not in lines]
    assert len(added) == len(TABLES) * 3
    assert all(line == ") partition by hash (bucket);" or " partition of openmem." in line for line in added)
    assert sorted(set(lines) - set(other)) == []
