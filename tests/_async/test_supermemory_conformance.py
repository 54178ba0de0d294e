"""The supermemory provider keeps the contract, and supermemory's own: its OpenAPI file judges each exchange.

This proves agreement with the published contract, not with the service.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory
from openmem.types import ScopeSupport
from tests.vendor.supermemory import KEY, NEEDED, SupermemoryService

pytest.importorskip("supermemory", reason=NEEDED)


@pytest.fixture(scope="module")
def service() -> Iterator[SupermemoryService]:
    """The service, emptied for each test."""
    service = SupermemoryService()
    yield service
    service.close()


@pytest.fixture(scope="module")
def clients(service: SupermemoryService) -> Iterator[list[Any]]:
    """Two clients of the SDK, for tests with more than one."""
    supermemory = pytest.importorskip("supermemory", reason=NEEDED)
    clients = [supermemory.Supermemory(api_key=KEY, base_url=service.url) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


class TestSupermemory(AsyncProviderSuite):
    """One emptied service for each test, over a real socket. What is sent is queued first and done a look later."""

    vector_search: ClassVar[bool] = False
    keyword_search: ClassVar[bool] = False
    scopes: ClassVar[ScopeSupport] = "tags"
    versions: ClassVar[bool] = False
    conditional_add: ClassVar[bool] = False
    history: ClassVar[bool] = False
    audit: ClassVar[bool] = False
    changes: ClassVar[bool] = False
    client_embeddings: ClassVar[bool] = False
    ready_vectors: ClassVar[bool] = False
    synchronous_ingestion: ClassVar[bool] = False
    many_users: ClassVar[int] = 30
    runs_of_the_machine: ClassVar[int] = 2

    @pytest.fixture
    def open_memory(self, service: SupermemoryService, clients: list[Any]) -> Iterator[OpenMemory]:
        service.reset()
        service.looks = 1
        unused = itertools.cycle(clients)

        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("supermemory", client=next(unused), **overrides)

        yield open_memory
        assert service.broken == []
