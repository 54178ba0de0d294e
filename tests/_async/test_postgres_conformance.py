"""The Postgres provider keeps the contract: it passes the whole conformance kit, on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory


class TestPostgres(AsyncProviderSuite):
    """One fresh database for each test."""

    @pytest.fixture
    def open_memory(self, postgres_url: str) -> OpenMemory:
        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("postgres", url=postgres_url, **overrides)

        return open_memory
