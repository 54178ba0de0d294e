"""Running steps on a connection: one by one, or as one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from openmem.sql.steps import Many, Row, Statement, Steps

if TYPE_CHECKING:
    from openmem._io.postgres_asyncpg import AsyncSession
    from openmem._io.postgres_psycopg import Session

T = TypeVar("T")
AsyncManner: TypeAlias = Callable[["AsyncSession", Steps[T]], Awaitable[T]]
Manner: TypeAlias = Callable[["Session", Steps[T]], T]


def _opening(lock: int | None) -> str:
    # One message, and so no round trip more. The statements after it see what was committed before the lock was had.
    return "begin" if lock is None else f"begin; select pg_advisory_xact_lock({lock:d})"


async def async_one_by_one(session: AsyncSession, steps: Steps[T]) -> T:
    connection = session.connection
    rows: list[Row] = []
    session.begun = False
    try:
        statement: Statement = next(steps)
        while True:
            if isinstance(statement, Many):
                await session.execute_many(statement.sql, statement.rows)
                rows = []
            else:
                rows = await connection.fetch(statement.sql, *statement.params)
            session.begun = True
            statement = steps.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()  # at once, not when an exception that refers to them is forgotten


async def async_in_transaction(session: AsyncSession, steps: Steps[T], lock: int | None = None) -> T:
    connection = session.connection
    try:
        await connection.execute(_opening(lock))
    except session.errors as error:
        raise session.failure(error, harmless=True) from None
    try:
        result = await async_one_by_one(session, steps)
    except Exception:
        session.begun = False
        with contextlib.suppress(*session.errors):
            await connection.execute("rollback")
        raise
    await connection.execute("commit")
    return result


def one_by_one(session: Session, steps: Steps[T]) -> T:
    rows: list[Row] = []
    session.begun = False
    try:
        statement: Statement = next(steps)
        while True:
            if isinstance(statement, Many):
                session.execute_many(statement.sql, statement.rows)
                rows = []
            else:
                rows = session.fetch(statement.sql, statement.params)
            session.begun = True
            statement = steps.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()  # at once, not when an exception that refers to them is forgotten


def in_transaction(session: Session, steps: Steps[T], lock: int | None = None) -> T:
    try:
        session.command(_opening(lock))
    except session.errors as error:
        raise session.failure(error, harmless=True) from None
    try:
        result = one_by_one(session, steps)
    except Exception:
        session.begun = False  # what fails is rolled back when the connection is taken back
        raise
    session.command("commit")
    return result
