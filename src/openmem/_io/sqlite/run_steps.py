"""Running steps on a connection, inside a transaction that the caller begins and ends."""

from __future__ import annotations

import sqlite3
from typing import TypeVar

from openmem._sql.sqlite.purge import OVERWRITE, OVERWRITE_CHEAPLY
from openmem._sql.steps import Many, Overfull, Query, Row, Statement, Steps, Weight

T = TypeVar("T")

_ROWS_AT_ONCE = 8  # of those that may be large


def drive(connection: sqlite3.Connection, steps: Steps[T], told: list[Query] | None = None) -> T:
    """Run steps and return their result.

    Args:
        connection: The connection.
        steps: The steps.
        told: Holds how the connection was told last to overwrite what is deleted; changed where a step tells it.
    """
    rows: list[Row] = []
    send = steps.send
    try:
        statement: Statement = next(steps)
        while True:
            if isinstance(statement, Many):
                connection.executemany(statement.sql, statement.rows)
                rows = []
            elif statement is OVERWRITE or statement is OVERWRITE_CHEAPLY:
                rows = []
                if not told or told[0] is not statement:  # SQLite compiles it each time
                    connection.execute(statement.sql)
                    if told is not None:
                        told[:] = [statement]
            else:
                cursor = connection.execute(statement.sql, statement.params)
                rows = cursor.fetchall() if statement.most is None else _some(cursor, statement.most)
            statement = send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()  # at once, not when an exception that refers to them is forgotten: they may hold a lock


def nothing() -> Steps[None]:
    """Return steps that do nothing."""
    yield from ()


def _some(cursor: sqlite3.Cursor, weight: Weight) -> list[Row]:
    rows: list[Row] = []
    total, count = 0, 1
    while some := cursor.fetchmany(count):
        rows += some
        total += weight.of(some)
        if total > weight.most:
            cursor.close()
            return Overfull(rows)
        count = min(_ROWS_AT_ONCE, 1 + (weight.most - total) * len(rows) // (total + 1))  # if others are like these
    return rows
