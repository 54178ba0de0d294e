"""Running steps on a connection: one by one, or as one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from openmem._io.concurrency.primitives import async_compute, async_compute_to_end
from openmem._sql.postgres.values import has_large_json, with_json_encoded, with_json_read
from openmem._sql.steps import Many, Row, Statement, Steps

if TYPE_CHECKING:
    from openmem._io.postgres.asyncpg_driver import AsyncSession
    from openmem._io.postgres.psycopg_driver import Session

T = TypeVar("T")
AsyncRunner: TypeAlias = Callable[["AsyncSession", Steps[T], bool], Awaitable[T]]
Runner: TypeAlias = Callable[["Session", Steps[T]], T]

MANY_ROWS: Final = 200
MANY_VALUES: Final = 4_000
"""More rows and values than that are looked at beside the event loop: to make records of them takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """The value that steps returned at their end."""

    value: T


def _opening(lock: int | None) -> str:
    # One message, and so no round trip more. The statements after it see what was committed before the lock was had.
    return "begin" if lock is None else f"begin; select pg_advisory_xact_lock({lock:d})"


def begin(steps: Steps[T]) -> Statement | Result[T]:
    """Return the first statement, or the result where there is none."""
    try:
        return next(steps)
    except StopIteration as stop:
        return Result(stop.value)


def resume(steps: Steps[T], rows: list[Row], late: bool) -> Statement | Result[T]:
    """Return the next statement, or the result.

    Args:
        steps: The steps.
        rows: What came of the last statement.
        late: Some JSON in them is still to be read.
    """
    try:
        return steps.send([with_json_read(row) for row in rows] if late else rows)
    except StopIteration as stop:
        return Result(stop.value)


def encoded(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return rows of parameters, all of them made and with their JSON encoded."""
    return [with_json_encoded(row) for row in rows]


async def async_run_autocommit(session: AsyncSession, steps: Steps[T], heavy: bool = False) -> T:
    """Run steps; what takes long to compute is done in a worker thread, so that the event loop is free meanwhile.

    Args:
        session: The connection.
        steps: The steps.
        heavy: The steps compute for long whatever the rows are that they are sent.
    """
    rows: list[Row] = []
    session.begun = late = False
    try:
        statement: Statement | Result[T] = await async_compute_to_end(begin, steps) if heavy else next(steps)
        while not isinstance(statement, Result):
            # 1. One statement for many rows: nothing comes back.
            if isinstance(statement, Many):
                given = await async_compute(encoded, statement.rows) if statement.large else statement.rows
                await session.execute_many(statement.sql, given)
                rows, late = [], False
            else:
                # 2. One statement. Large JSON is encoded in a worker thread, small JSON by the codec, on the event
                #    loop.
                params: Sequence[Any] = statement.params
                if has_large_json(params):
                    params = await async_compute(with_json_encoded, params)
                # The codec leaves large JSON of a reply as it is, and says so: the steps get it read, in a worker
                # thread.
                rows = await session.fetch(statement.sql, params)
                late = session.late
            # From here on the work may have had an effect: it is repeated only if that does no harm.
            session.begun = True
            heavy = heavy or late  # what was read is used in what follows, too
            # 3. The steps compute for long: beside the event loop.
            # 4. Nearly always: at once.
            if heavy or (len(rows) > MANY_ROWS and len(rows) * len(rows[0]) > MANY_VALUES):
                statement = await async_compute_to_end(resume, steps, rows, late)
            else:
                statement = steps.send(rows)
        return statement.value
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        steps.close()  # at once, not when an exception that refers to them is forgotten


async def async_in_transaction(
    session: AsyncSession, steps: Steps[T], heavy: bool = False, lock: int | None = None
) -> T:
    """Run steps as one transaction, which has an advisory lock if one is named; the arguments are as above."""
    connection = session.connection
    try:
        # Before it nothing was done: whatever fails here may be done again.
        await connection.execute(_opening(lock))
    except session.errors as error:
        raise session.failure(error, harmless=True) from None
    try:
        result = await async_run_autocommit(session, steps, heavy)
    except Exception:
        # Rolled back, so nothing had an effect. The connection may be lost, in which case the server rolls back.
        session.begun = False
        with contextlib.suppress(*session.errors):
            await connection.execute("rollback")
        raise
    # If this fails, it is not known whether it was done: no second attempt, unless that does no harm.
    await connection.execute("commit")
    return result


def run_autocommit(session: Session, steps: Steps[T]) -> T:
    """Run steps."""
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
    """Run steps as one transaction, which has an advisory lock if one is named."""
    try:
        # Before it nothing was done: whatever fails here may be done again.
        session.command(_opening(lock))
    except session.errors as error:
        raise session.failure(error, harmless=True) from None
    try:
        result = run_autocommit(session, steps)
    except Exception:
        session.begun = False  # what fails is rolled back when the connection is taken back
        raise
    # If this fails, it is not known whether it was done: no second attempt, unless that does no harm.
    session.command("commit")
    return result
