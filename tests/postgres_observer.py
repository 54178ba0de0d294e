"""Looks on at a database, holds up the statements of a test, and ends its connections, from threads of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg

PATIENCE = 10.0
PAUSE = 0.005
LOCK = "lock table openmem.memories in access exclusive mode"

_OURS = "from pg_stat_activity where datname = current_database() and application_name = 'openmem'"
_HELD = f"{_OURS} and state = 'active' and wait_event_type = 'Lock'"


class Observer:
    """Connections of its own to a database.

    Args:
        url: The address of the database, which has the tables of openmem.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            found = connection.execute(sql.encode(), params or None)
            return found.fetchall() if found.description else []

    def value(self, sql: str, *params: Any) -> Any:
        """Run one statement and return the only value it gives."""
        return self.rows(sql, *params)[0][0]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let every statement over memories wait until the end of the block."""
        with psycopg.connect(self._url) as connection:
            connection.execute(LOCK)
            yield

    @contextmanager
    def interfere(self, act: Callable[[], Any]) -> Iterator[None]:
        """Hold up the statement of the block, act while it waits, and let it go."""
        with psycopg.connect(self._url) as holder, ThreadPoolExecutor(1) as thread:
            holder.execute(LOCK)

            def strike() -> None:
                try:
                    self.until_held()
                    act()
                finally:
                    holder.rollback()

            done = thread.submit(strike)
            yield
            done.result()

    def held(self) -> int:
        """Return how many statements of openmem are held up now."""
        return int(self.value(f"select count(*) {_HELD}"))

    def until_held(self, count: int = 1) -> float:
        """Return when so many are held up; the result is the seconds it took."""
        return until(lambda: self.held() == count)

    def until_held_since(self, moment: datetime, count: int = 1) -> float:
        """Return when so many are held up and all of them began after a moment of the server's clock."""
        both = f"select count(*), count(*) filter (where query_start > %s) {_HELD}"
        return until(lambda: self.rows(both, moment) == [(count, count)])

    def connections(self) -> int:
        """Return how many connections openmem has."""
        return int(self.value(f"select count(*) {_OURS}"))

    def open_transactions(self) -> int:
        """Return how many transactions of openmem are open and do nothing."""
        return int(self.value(f"select count(*) {_OURS} and state like 'idle in transaction%'"))

    def terminate(self) -> int:
        """End every connection of openmem as an administrator would; return how many there were."""
        return int(self.value(f"select count(pg_terminate_backend(pid, 5000)) {_OURS}"))


def until(found: Callable[[], Any], limit: float = PATIENCE) -> float:
    """Return when something is so; the result is the seconds it took."""
    started = time.monotonic()
    while not found():
        assert time.monotonic() - started < limit
        time.sleep(PAUSE)
    return time.monotonic() - started
