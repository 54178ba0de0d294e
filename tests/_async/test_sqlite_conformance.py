"""The embedded provider keeps the contract: it passes the whole conformance kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.testing import AsyncProviderSuite
from openmem.testing._async.rules import OpenMemory


class TestSqlite(AsyncProviderSuite):
    """One fresh file for each test."""

    @pytest.fixture
    def open_memory(self, tmp_path: Path) -> OpenMemory:
        def open_memory(**overrides: Any) -> AsyncMemory:
            return AsyncMemory("sqlite", url=f"sqlite:///{tmp_path / 'kit.db'}", **overrides)

        return open_memory
