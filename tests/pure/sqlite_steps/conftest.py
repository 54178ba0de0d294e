from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pure.sqlite_steps.database import Database
from tests.pure.sqlite_steps.searching import Searching


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database()
    yield database
    database.connection.close()


@pytest.fixture
def store(db: Database) -> Searching:
    return Searching(db)
