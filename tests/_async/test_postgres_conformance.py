"""The Postgres provider keeps the contract: it passes the whole conformance kit, on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory


class TestPostgres(AsyncProviderSuite):
    """One database for all tests, emptied before each."""

    @pytest.fixture
    def open_memory(self, emptied_postgres_url: str) -> OpenMemory:
        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("postgres", url=emptied_postgres_url, **overrides)

        return open_memory
