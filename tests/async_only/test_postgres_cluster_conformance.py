"""The same contract where the statements take the shapes for tables that are spread over servers.

What differs there: the audit entry of a read and of an `add` is a statement of its own, entries are rows of values,
no statement asks another table for the length of vectors, and every change takes the lock of its user's links. Always
run are the rules about what is written: the audit log, erasing, links, batches, and whole stores. The rules about what
is found ask the same statements as everywhere but for their entries, and all of them are run as `long`. That every
statement has a shape that can be sent on is the subject of `tests/test_postgres_shapes.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from openmem import AsyncMemory, Memory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.audit import AuditRules
from openmem.testing._async.batches import BatchRules
from openmem.testing._async.circles import CircleRules
from openmem.testing._async.deletion import DeletionRules
from openmem.testing._async.portability import PortabilityRules
from openmem.testing._async.rules import OpenMemory
from openmem.testing.declared import Declared
from openmem.testing.postgres import PostgresServer
from tests.citus_standin import install
from tests.postgres_partitions import empty_tables


@pytest.fixture(scope="module")
def cluster_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database that says that its tables are spread, for all tests of this file."""
    url = postgres.new_database()
    install(url)
    with Memory(url=url, embedder="none", distribute=True) as memory:
        memory.health()
    yield url
    postgres.drop_database(url)


class OnSpreadTables(Declared):
    """One database for all tests, emptied before each."""

    many_users = 20

    @pytest.fixture
    def open_memory(self, cluster_url: str) -> OpenMemory:
        empty_tables(cluster_url)

        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("postgres", url=cluster_url, **overrides)

        return open_memory


class TestWritten(OnSpreadTables, AuditRules, DeletionRules, CircleRules, BatchRules, PortabilityRules):
    """The rules about what differs."""


@pytest.mark.long
class TestSpread(OnSpreadTables, AsyncProviderSuite):
    """All rules."""


async def test_adds_of_many_tasks_share_a_transaction(cluster_url: str) -> None:
    import asyncio

    empty_tables(cluster_url)
    async with AsyncMemory(url=cluster_url, embedder="none") as memory:
        made = await asyncio.gather(*(memory.add(content=f"tea {n}", user_id=f"user{n % 9}") for n in range(60)))
        assert len({record.id for record in made}) == 60
        for number in range(9):
            assert [entry.action for entry in await memory.audit(f"user{number}")] == ["add"] * (7 - (number >= 6))
