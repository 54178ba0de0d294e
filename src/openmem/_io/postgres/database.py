"""Postgres in both forms: `AsyncPg` on asyncpg, `Pg` on psycopg. One text of SQL serves both.

One connection serves one operation. What fails because a connection was dead, as after a restart of the server,
is done once more on another where that can do no harm.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from openmem._config.extras import install_extra
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.retrying import async_repeat, repeat
from openmem._io.postgres.failure import Failure
from openmem._io.postgres.options import PoolOptions, describe_pool
from openmem._io.postgres.run_steps import (
    AsyncRunner,
    Runner,
    async_in_transaction,
    async_run_autocommit,
    in_transaction,
    run_autocommit,
)
from openmem._io.postgres.running import Running, WorkLimit
from openmem._io.state import show_state
from openmem._model.retry import FailedAttempt, Retry
from openmem._sql.postgres.errors import PROVIDER, closed
from openmem._sql.steps import Steps
from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    from openmem._io.postgres.async_pool import AsyncPool
    from openmem._io.postgres.asyncpg_driver import AsyncSession
    from openmem._io.postgres.psycopg_driver import Session
    from openmem._io.postgres.shared_pools import SharedPool
    from openmem._io.postgres.thread_pool import Pool
    from openmem._sql.postgres.server_info import ServerInfo

T = TypeVar("T")
Make: TypeAlias = Callable[[], Steps[T]]


_ASYNC_POOL: Final = "openmem._io.postgres.shared_pools"
_POOL: Final = "openmem._io.postgres.thread_pool"
ONCE_MORE: Final = Retry(1, backoff=0.0)
"""A connection that is lost is replaced at once; if the next one is lost too, the server is."""


class AsyncPg:
    """One Postgres database. Nothing is opened, and the driver not loaded, before the first use.

    Instances with the same options on one event loop share their connections.

    Args:
        dsn: `postgresql://user:password@host:port/database?sslmode=…`.
        pool_min_size: Connections that are kept however long they are idle.
        pool_max_size: The most connections at a time.
        pool_timeout: Seconds to wait for a free connection.
        statement_cache: False behind a pooler that does not track prepared statements.
        application_name: Name on the server, unless the dsn has one.
        setup: Statements for each new connection. None behind a pooler: they would reach other clients.
        extension: Its statements use the types of the extension `vector`.

    Raises:
        InvalidRequestError: The dsn cannot be read, or the driver is not installed.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool_min_size: int = 0,
        pool_max_size: int = 10,
        pool_timeout: float = 30.0,
        statement_cache: bool = True,
        application_name: str = "openmem",
        setup: tuple[str, ...] = (),
        extension: bool = True,
    ) -> None:
        _check_installed("asyncpg")
        self._options = PoolOptions(
            dsn, pool_min_size, pool_max_size, pool_timeout, statement_cache, application_name, setup, extension
        )
        self._running = Running()
        self._shared: SharedPool | None = None
        self._finalizer: weakref.finalize[[], AsyncPg] | None = None

    async def prepare(self) -> None:
        """Load the driver, as every first use does.

        Raises:
            InvalidRequestError: It cannot be loaded.
        """
        await self._get_pool()

    async def run(self, make: Make[T], deadline: Deadline, *, retry: bool = False, heavy: bool = False) -> T:
        """Run steps whose every statement commits by itself: one round trip for each.

        Args:
            make: Makes the steps; called again for another attempt.
            deadline: When to give up.
            retry: Running the steps twice does no harm.
            heavy: The steps compute for more than a few milliseconds, which is then done beside the event loop.

        Raises:
            OMPError: What a step raised, or what the server's error means; `details` may hold `sqlstate` and
                `constraint`.
        """
        return await self._perform(async_run_autocommit, make, deadline, retry, heavy)

    async def transact(
        self,
        make: Make[T],
        deadline: Deadline,
        *,
        retry: bool = False,
        lock: int | None = None,
        heavy: bool = False,
    ) -> T:
        """Run the steps in one transaction; arguments and errors as in `run`.

        Args:
            make: Makes the steps.
            deadline: When to give up.
            retry: Running the steps twice does no harm.
            lock: An advisory lock to be had from the beginning to the end of the transaction.
            heavy: As in `run`.
        """
        runner: AsyncRunner[T] = partial(async_in_transaction, lock=lock) if lock is not None else async_in_transaction
        return await self._perform(runner, make, deadline, retry, heavy)

    async def plain(self, make: Make[T], deadline: Deadline, *, transaction: bool = False) -> T:
        """Run the steps on a connection of their own, which knows no types of extensions.

        Args:
            make: Makes the steps.
            deadline: When to give up.
            transaction: Run them in one transaction; else every statement commits by itself.
        """
        runner: AsyncRunner[T] = async_in_transaction if transaction else async_run_autocommit
        pool = await self._get_pool()
        session = await pool.open_plain(deadline, self._running)
        try:
            return await self._work(pool, session, runner, make, deadline, heavy=False)
        except Failure as caught:
            error = caught.attempt.error
        raise error  # not while it is handled: its own context may quote what was to be stored

    async def aclose(self) -> None:
        """Close what is open, within some seconds; calls in progress fail. Calling it again does nothing."""
        if self._running.closed:
            return
        await self._running.end()
        if self._shared is not None and self._finalizer is not None and self._finalizer.detach():
            await self._shared.release()

    def stats(self) -> dict[str, int]:
        """Return `size`, `idle` and `waiting`: connections, those that are idle, and calls that wait for one."""
        return self._shared.pool.stats() if self._shared else {"size": 0, "idle": 0, "waiting": 0}

    @property
    def server(self) -> ServerInfo:
        """The known facts about the server, for all who share the connections; forgotten when they are lost.

        To be asked after `prepare`.
        """
        return self._shared.pool.server if self._shared else _nothing_known()

    def __repr__(self) -> str:
        if self._running.closed or self._shared is None:
            return show_state(self, "closed" if self._running.closed else "unused")
        return show_state(self, *describe_pool(self.stats(), self._options.max_size))

    async def _get_pool(self) -> AsyncPool:
        if self._shared is None and _ASYNC_POOL not in _loaded:
            await asyncio.to_thread(_load, _ASYNC_POOL)  # a fifth of a second: not on the event loop
        if self._running.closed:
            raise closed()
        if self._shared is None:
            self._shared = _load(_ASYNC_POOL).shared_pool(self._options)
            self._finalizer = weakref.finalize(self, self._shared.release_from_gc)
        return self._shared.pool

    async def _perform(
        self, runner: AsyncRunner[T], make: Make[T], deadline: Deadline, retry: bool, heavy: bool = False
    ) -> T:
        pool = await self._get_pool()

        async def attempt() -> T | FailedAttempt:
            session = await pool.take(deadline, self._running)
            try:
                return await self._work(pool, session, runner, make, deadline, heavy)
            except Failure as failure:
                return failure.attempt

        return await async_repeat(attempt, ONCE_MORE, deadline, repeatable=retry)

    async def _work(
        self,
        pool: AsyncPool,
        session: AsyncSession,
        runner: AsyncRunner[T],
        make: Make[T],
        deadline: Deadline,
        heavy: bool,
    ) -> T:
        limit = WorkLimit(self._running, deadline)
        try:
            with limit:
                result = await runner(session, make(), heavy)
        except BaseException as error:
            # 1. Late: the time is over, or `close` let the limit expire. The statement may still run at the server.
            late = limit.expired and isinstance(error, TimeoutError)
            # 2. The driver failed: what that means decides about another attempt, and whether the connection is lost.
            failure = session.failure(error) if isinstance(error, session.errors) else None
            # Something between here and the server loses prepared statements: do without from now on.
            if failure is not None and failure.unprepared:
                pool.stop_preparing()
            # Not when late: that would lose the request to cancel the statement.
            if failure is not None and failure.lost and not late:
                session.abort()
            # 3. The caller was cancelled, or a step raised an error of its own: the connection is recovered, or put
            #    back.
            pool.take_back(session, interrupted=late or not isinstance(error, Exception))
            if late:
                raise (closed() if self._running.closed else deadline.exceeded()) from None
            if failure is not None:
                raise failure from None
            raise
        pool.put(session)
        return result


class Pg:
    """One Postgres database, for threads. Nothing is opened before the first use; the arguments are as above."""

    def __init__(
        self,
        dsn: str,
        *,
        pool_min_size: int = 0,
        pool_max_size: int = 10,
        pool_timeout: float = 30.0,
        statement_cache: bool = True,
        application_name: str = "openmem",
        setup: tuple[str, ...] = (),
        extension: bool = True,
    ) -> None:
        _check_installed("psycopg")
        self._options = PoolOptions(
            dsn, pool_min_size, pool_max_size, pool_timeout, statement_cache, application_name, setup, extension
        )
        self._pool: Pool | None = None
        self._closed = False

    def prepare(self) -> None:
        """Load the driver, as every first use does.

        Raises:
            InvalidRequestError: It cannot be loaded.
        """
        self._get_pool()

    def run(self, make: Make[T], deadline: Deadline, *, retry: bool = False, heavy: bool = False) -> T:
        """Run steps whose every statement commits by itself: one round trip for each.

        Args:
            make: Makes the steps; called again for another attempt.
            deadline: When to give up.
            retry: Running the steps twice does no harm.
            heavy: Changes nothing: the caller waits.

        Raises:
            OMPError: What a step raised, or what the server's error means; `details` may hold `sqlstate` and
                `constraint`.
        """
        return self._perform(run_autocommit, make, deadline, retry)

    def transact(
        self,
        make: Make[T],
        deadline: Deadline,
        *,
        retry: bool = False,
        lock: int | None = None,
        heavy: bool = False,
    ) -> T:
        """Run the steps in one transaction; arguments and errors as in `run`.

        Args:
            make: Makes the steps.
            deadline: When to give up.
            retry: Running the steps twice does no harm.
            lock: An advisory lock to be had from the beginning to the end of the transaction.
            heavy: As in `run`.
        """
        runner: Runner[T] = partial(in_transaction, lock=lock) if lock is not None else in_transaction
        return self._perform(runner, make, deadline, retry)

    def plain(self, make: Make[T], deadline: Deadline, *, transaction: bool = False) -> T:
        """Run the steps on a connection of their own, which knows no types of extensions.

        Args:
            make: Makes the steps.
            deadline: When to give up.
            transaction: Run them in one transaction; else every statement commits by itself.
        """
        pool = self._get_pool()
        session = pool.open_plain(deadline)
        try:
            return self._work(pool, session, in_transaction if transaction else run_autocommit, make)
        except Failure as caught:
            error = caught.attempt.error
        raise error  # not while it is handled: its own context may quote what was to be stored

    def close(self) -> None:
        """Close what is open, within some seconds; calls in progress fail. Calling it again does nothing."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()

    def stats(self) -> dict[str, int]:
        """Return `size`, `idle` and `waiting`: connections, those that are idle, and calls that wait for one."""
        return self._pool.stats() if self._pool else {"size": 0, "idle": 0, "waiting": 0}

    @property
    def server(self) -> ServerInfo:
        """The known facts about the server; forgotten when connections are lost. To be asked after `prepare`."""
        return self._pool.server if self._pool else _nothing_known()

    def __repr__(self) -> str:
        if self._closed or self._pool is None:
            return show_state(self, "closed" if self._closed else "unused")
        return show_state(self, *describe_pool(self.stats(), self._options.max_size))

    def _get_pool(self) -> Pool:
        if self._pool is None:
            if self._closed:
                raise closed()
            made: Pool = _load(_POOL).Pool(self._options)
            # `setdefault` of a dict is one step of the interpreter: no lock is needed, and the others use what the
            # first made.
            found = vars(self).setdefault("_made", made)  # of several threads, one is first
            if found is made:
                weakref.finalize(self, type(made).close, made)
            self._pool = found
        return self._pool

    def _perform(self, runner: Runner[T], make: Make[T], deadline: Deadline, retry: bool) -> T:
        pool = self._get_pool()

        def attempt() -> T | FailedAttempt:
            session = pool.take(deadline)
            try:
                return self._work(pool, session, runner, make)
            except Failure as failure:
                return failure.attempt

        return repeat(attempt, ONCE_MORE, deadline, repeatable=retry)

    def _work(self, pool: Pool, session: Session, runner: Runner[T], make: Make[T]) -> T:
        try:
            result = runner(session, make())
        except BaseException as error:
            # 1. The driver failed: what that means decides about another attempt, and whether the connection is lost.
            # 2. A step raised an error of its own, or Ctrl-C came: the connection is recovered, or closed.
            failure = session.failure(error) if isinstance(error, session.errors) else None
            if failure is not None and failure.unprepared:
                pool.stop_preparing()
            if failure is not None and failure.lost:
                session.abort()
            pool.take_back(session)
            if failure is not None:
                # The failure was made by `close` in another thread, which cancelled the statement.
                raise (closed() if pool.closed else failure) from None
            raise
        pool.put(session)
        return result


_loaded: dict[str, Any] = {}


def _load(module: str) -> Any:
    """Return one of the modules that load a driver; it takes long the first time."""
    try:
        return _loaded.get(module) or _loaded.setdefault(module, import_module(module))
    except ImportError as error:
        raise _not_installed(error.name) from error


def _check_installed(driver: str) -> None:
    if find_spec(driver) is None:
        raise _not_installed(driver)


def _not_installed(name: str | None) -> InvalidRequestError:
    message = f"Postgres needs drivers that are not installed ({name}): {install_extra('postgres')}"
    return InvalidRequestError(message, provider=PROVIDER)


def _nothing_known() -> ServerInfo:
    from openmem._sql.postgres.server_info import ServerInfo  # here: it takes numpy, which a constructor need not load

    return ServerInfo()
