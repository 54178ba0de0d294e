"""The Postgres provider keeps the contract: it passes the whole conformance kit, on a real server."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.isolation import IsolationRules
from openmem.testing._async.rules import OpenMemory
from openmem.testing._async.stateful import StatefulRules
from openmem.testing.declared import Declared


class OnPostgres(Declared):
    """One database for all tests, emptied before each."""

    @pytest.fixture
    def open_memory(self, emptied_postgres_url: str) -> OpenMemory:
        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("postgres", url=emptied_postgres_url, **overrides)

        return open_memory


class TestPostgres(OnPostgres, AsyncProviderSuite):
    """All rules. The users are enough for many to share a bucket; runs of the machine are other ones in each form."""

    many_users = 300
    runs_of_the_machine = 10


@pytest.mark.long
class TestPostgresAtLength(OnPostgres, IsolationRules, StatefulRules):
    """As many users and runs of the machine as the kit has for others."""
