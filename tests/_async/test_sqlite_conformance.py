"""The embedded provider keeps the contract: it passes the whole conformance kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.isolation import IsolationRules
from openmem.testing._async.rules import OpenMemory
from openmem.testing._async.stateful import StatefulRules
from openmem.testing.declared import Declared


class OnSqlite(Declared):
    """One fresh file for each test."""

    @pytest.fixture
    def open_memory(self, tmp_path: Path) -> OpenMemory:
        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("sqlite", url=f"sqlite:///{tmp_path / 'kit.db'}", **overrides)

        return open_memory


class TestSqlite(OnSqlite, AsyncProviderSuite):
    """All rules. Runs of the machine are other ones in each form."""

    many_users = 300
    runs_of_the_machine = 10


@pytest.mark.long
class TestSqliteAtLength(OnSqlite, IsolationRules, StatefulRules):
    """As many users and runs of the machine as the kit has for others."""
