"""mem0 in process, on Qdrant's embedded store and on Postgres, keeps the contract as far as it is declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory
from openmem.testing.postgres import PostgresServer
from openmem.types import ScopeSupport
from tests.vendor.mem0_oss import NEEDED, close_memory, empty, make_memory, pgvector_config, qdrant_config

pytest.importorskip("mem0", reason=NEEDED)


@pytest.fixture(scope="module")
def on_qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """mem0's object over one folder."""
    folder = tmp_path_factory.mktemp("mem0")
    sdk = make_memory(qdrant_config(folder), folder)
    yield sdk
    close_memory(sdk)


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Any]:
    """mem0's object over one table."""
    folder, url = tmp_path_factory.mktemp("mem0"), postgres.new_database()
    sdk = make_memory(pgvector_config(folder, url, "kit"), folder)
    yield sdk
    close_memory(sdk)
    postgres.drop_database(url)


def opener(sdk: Any) -> OpenMemory:
    """Return what opens the emptied store; clients share mem0's object."""
    empty(sdk)

    def open_memory(**overrides: Any) -> AsyncMemory:
        return AsyncMemory("mem0", client=sdk, **overrides)

    return open_memory


class Mem0Oss(AsyncProviderSuite):
    """The rules for both stores."""

    keyword_search: ClassVar[bool] = False
    scopes: ClassVar[ScopeSupport] = "tags"
    versions: ClassVar[bool] = False
    conditional_add: ClassVar[bool] = False
    history: ClassVar[bool] = False
    audit: ClassVar[bool] = False
    changes: ClassVar[bool] = False
    client_embeddings: ClassVar[bool] = False
    ready_vectors: ClassVar[bool] = False
    many_users: ClassVar[int] = 40
    runs_of_the_machine: ClassVar[int] = 5


class TestMem0OnQdrant(Mem0Oss):
    """One folder, emptied for each test."""

    @pytest.fixture
    def open_memory(self, on_qdrant: Any) -> OpenMemory:
        return opener(on_qdrant)


class TestMem0OnPostgres(Mem0Oss):
    """One table, emptied for each test."""

    @pytest.fixture
    def open_memory(self, on_postgres: Any) -> OpenMemory:
        return opener(on_postgres)
