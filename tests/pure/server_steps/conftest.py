from __future__ import annotations

from collections.abc import Iterator

import pytest

from openmem._sql.server.schema import FILE
from tests.pure.sqlite_steps.database import Database


@pytest.fixture
def db() -> Iterator[Database]:
    database = Database(FILE)
    yield database
    database.connection.close()
