"""The hosted mem0 provider keeps the contract, and mem0's own: each request and reply is held against its OpenAPI file.

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
from tests.vendor.mem0_hosted import KEY, Mem0Service
from tests.vendor.mem0_oss import NEEDED

pytest.importorskip("mem0", reason=NEEDED)


@pytest.fixture(scope="module")
def service() -> Iterator[Mem0Service]:
    """The service, emptied for each test."""
    pytest.importorskip("mem0", reason=NEEDED)
    service = Mem0Service()
    yield service
    service.close()


@pytest.fixture(scope="module")
def clients(service: Mem0Service) -> Iterator[list[Any]]:
    """Two clients of the SDK, for tests with more than one."""
    mem0 = pytest.importorskip("mem0", reason=NEEDED)
    clients = [mem0.MemoryClient(api_key=KEY, host=service.url) for _ in range(2)]
    yield clients
    for client in clients:
        client.client.close()


class TestMem0Hosted(AsyncProviderSuite):
    """One emptied service for each test, over a real socket."""

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
    many_users: ClassVar[int] = 30
    runs_of_the_machine: ClassVar[int] = 4

    @pytest.fixture
    def open_memory(self, service: Mem0Service, clients: list[Any]) -> Iterator[OpenMemory]:
        service.reset()
        unused = itertools.cycle(clients)

        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("mem0", client=next(unused), **overrides)

        yield open_memory
        assert service.broken == []
