from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pure.sqlite_steps.database import Database


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database()
    yield database
    database.connection.close()
