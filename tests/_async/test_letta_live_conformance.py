"""The Letta provider keeps the contract on a real server, `make test-letta`. All archives of ours there are erased."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from openmem import AsyncMemory
from openmem._io.vendors.letta.archives import PREFIX
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory
from openmem.types import ScopeSupport
from tests.vendor.letta import NEEDED

URL = os.environ.get("LETTA_TEST_BASE_URL")

pytest.importorskip("letta_client", reason=NEEDED)
pytestmark = [
    pytest.mark.skipif(URL is None, reason="a Letta server needs LETTA_TEST_BASE_URL; make test-letta starts one"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def clients() -> Iterator[list[Any]]:
    """Two clients of the SDK, for tests with more than one."""
    letta = pytest.importorskip("letta_client", reason=NEEDED)
    clients = [letta.Letta(base_url=URL) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


class TestLettaServer(AsyncProviderSuite):
    """One server without archives of ours for each test."""

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
    many_users: ClassVar[int] = 6
    runs_of_the_machine: ClassVar[int] = 1

    @pytest.fixture
    def open_memory(self, clients: list[Any]) -> OpenMemory:
        for archive in list(clients[0].archives.list(limit=100)):
            if archive.name.startswith(PREFIX):
                clients[0].archives.delete(archive.id)
        unused = itertools.cycle(clients)

        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("letta", client=next(unused), **{"timeout": 120, **overrides})

        return open_memory
