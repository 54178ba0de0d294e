"""The Letta provider keeps the contract, and Letta's own: each request and reply is held against its OpenAPI file.

This proves agreement with the published contract and the quirks that the stand-in has, not with the server.
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
from tests.vendor.letta import KEY, NEEDED, LettaService

letta_client = pytest.importorskip("letta_client", reason=NEEDED)


@pytest.fixture(scope="module")
def service() -> Iterator[LettaService]:
    """The service, emptied for each test."""
    service = LettaService()
    yield service
    service.close()


@pytest.fixture(scope="module")
def clients(service: LettaService) -> Iterator[list[Any]]:
    """Two clients of the SDK, for tests with more than one."""
    clients = [letta_client.Letta(api_key=KEY, base_url=service.url) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


class TestLetta(AsyncProviderSuite):
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
    def open_memory(self, service: LettaService, clients: list[Any]) -> Iterator[OpenMemory]:
        service.reset()
        service.dimensions = 4  # each passage comes with a vector, which openmem drops; test_letta has them in full
        unused = itertools.cycle(clients)

        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("letta", client=next(unused), **overrides)

        yield open_memory
        assert service.broken == []
