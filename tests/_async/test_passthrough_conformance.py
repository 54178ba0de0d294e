"""Client and server together keep the contract: they pass the whole conformance kit, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory
from tests.running_server import Served, host


def opener(served: list[Served], provider: str, url: str, store: Path | None) -> OpenMemory:
    """Return what opens a store through a server; what belongs to the server goes there."""

    def open_memory(*, embedder: Any, **overrides: Any) -> AsyncMemory:
        served.append(host().serve(provider, url, embedder=embedder, store=store))
        return AsyncMemory(base_url=served[-1].url, **overrides)

    return open_memory


@pytest.fixture
def served() -> Iterator[list[Served]]:
    """The server behind an address."""
    served: list[Served] = []
    yield served
    for one in served:
        one.close()


class TestThroughTheServerToSqlite(AsyncProviderSuite):
    """One fresh file for each test. Runs of the machine are other ones in each form."""

    many_users = 100
    runs_of_the_machine = 4

    @pytest.fixture
    def open_memory(self, tmp_path: Path, served: list[Served]) -> OpenMemory:
        return opener(served, "sqlite", f"sqlite:///{tmp_path / 'kit.db'}", tmp_path / "server.db")


@pytest.mark.long
class TestThroughTheServerToPostgres(AsyncProviderSuite):
    """One fresh database for each test."""

    many_users = 100
    runs_of_the_machine = 8

    @pytest.fixture
    def open_memory(self, postgres_url: str, tmp_path: Path, served: list[Served]) -> OpenMemory:
        return opener(served, "postgres", postgres_url, tmp_path / "server.db")
