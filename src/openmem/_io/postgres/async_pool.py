"""A pool of asyncpg connections on one event loop.

Its own, and small: a connection is handed out without a round trip, nothing is reset as nothing is ever set for
longer than a transaction, and what was cancelled is put in order by a task of the pool, never by the caller.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.asyncpg_driver import AsyncDriver, AsyncSession
from openmem._io.postgres.options import PoolOptions, facts_of_pool
from openmem._io.postgres.running import Running
from openmem._io.state import show_state
from openmem._sql.postgres.errors import closed, exhausted, unreachable
from openmem._sql.postgres.server_info import ServerInfo

T = TypeVar("T")

IDLE_SECONDS: Final = 300.0


class AsyncPool:
    """Connections with the same options.

    Args:
        options: The options; of them, `min_size` connections are kept however long they are idle.
    """

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._driver = AsyncDriver(options)
        self.server = ServerInfo()
        self._idle: deque[AsyncSession] = deque()
        self._size = 0  # idle, in use, being opened or being recovered
        self._waiting: deque[asyncio.Future[AsyncSession | None]] = deque()
        self._generation = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, deadline: Deadline, running: Running) -> AsyncSession:
        """Return a connection for one operation.

        Raises:
            ProviderUnavailableError: None became free within `pool_timeout` or the deadline.
            DeadlineExceededError: A new connection took too long.
        """
        deadline.check()
        while self._idle:
            session = self._idle.pop()
            if session.is_alive():
                return session
            self._size -= 1
            session.abort()
            self.expire()
        if self._size < self._options.max_size:
            self._size += 1
            given = None
        else:
            given = await self._wait(deadline, running)
        return given or await self._open(deadline, running)

    async def open_plain(self, deadline: Deadline, running: Running) -> AsyncSession:
        """Return a connection beside the pool, without codecs; it is closed when it is put back."""
        self._size += 1
        return await self._open(deadline, running, plain=True)

    async def _wait(self, deadline: Deadline, running: Running) -> AsyncSession | None:
        left = deadline.remaining()
        seconds = self._options.timeout if left is None else min(left, self._options.timeout)
        waiter: asyncio.Future[AsyncSession | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            limit = asyncio.timeout(seconds)
            with running.watch(limit):
                async with limit:
                    return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():  # both at once: what it got goes to the next
                self._release_to_waiter(waiter.result())
            else:
                waiter.cancel()
            if isinstance(error, TimeoutError) and limit.expired():
                raise (closed() if running.closed else exhausted(self._options.max_size, seconds)) from None
            raise

    async def _open(self, deadline: Deadline, running: Running, *, plain: bool = False) -> AsyncSession:
        # In a task of its own: a caller whose time is up leaves, and the connection is for the next one.
        opening = self._start(self._connect(plain))
        limit = asyncio.timeout(_seconds(deadline))
        try:
            with running.watch(limit):
                async with limit:
                    return await asyncio.shield(opening)
        except BaseException as error:
            if opening.done():
                self._on_opened(opening)
            else:
                opening.add_done_callback(self._on_opened)
            if isinstance(error, TimeoutError) and limit.expired():
                raise (closed() if running.closed else deadline.exceeded()) from None
            raise

    async def _connect(self, plain: bool) -> AsyncSession:
        generation = self._generation
        seconds = (await self._driver.find_connect_arguments()).target.connect_seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                session = await self._driver.open(plain=plain)
        except TimeoutError:
            raise unreachable(f"the database server did not accept a connection within {seconds:g} s") from None
        session.generation = generation
        return session

    def _on_opened(self, opening: asyncio.Task[AsyncSession]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._release_to_waiter(None)
        else:
            self.put(opening.result())

    def put(self, session: AsyncSession) -> None:
        """Take a connection back, in order."""
        if session.lost or session.generation != self._generation or not session.complete:
            self.drop(session)
            return
        session.idle_since = asyncio.get_running_loop().time()
        self._release_to_waiter(session)
        oldest = self._idle[0] if self._idle else session
        if session.idle_since - oldest.idle_since > IDLE_SECONDS and self._size > self._options.min_size:
            self._idle.popleft()
            self.drop(oldest)

    def stop_preparing(self) -> None:
        """Keep no statements prepared from now on: something between here and the server loses them."""
        self._driver.stop_preparing()

    def take_back(self, session: AsyncSession, *, interrupted: bool) -> None:
        """Take a connection back whose work failed."""
        if session.lost:
            self.drop(session)
            self.expire()
        elif interrupted or session.busy:
            self._start(self._recover(session))
        else:
            self.put(session)

    def drop(self, session: AsyncSession) -> None:
        """Close a connection that was taken."""
        session.abort()
        self._release_to_waiter(None)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _recover(self, session: AsyncSession) -> None:
        try:
            orderly = await session.recover()
        except BaseException as error:
            self.drop(session)
            self.expire()
            if not isinstance(error, Exception):
                raise
        else:
            (self.put if orderly else self.drop)(session)

    def expire(self) -> None:
        """Use no connection again that is open now: where one is dead, the others may be too."""
        self._generation += 1
        self._driver.forget()
        self.server.forget()
        while self._idle:
            self.drop(self._idle.pop())

    async def drain(self) -> None:
        """Close the idle connections, and wait a second at most for those that are being recovered."""
        self.expire()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(0)  # sockets are closed by the loop's next round
        await asyncio.sleep(0)

    def stats(self) -> dict[str, int]:
        """Return the numbers of connections, of those that are idle, and of calls that wait for one."""
        waiting = sum(not waiter.done() for waiter in self._waiting)
        return {"size": self._size, "idle": len(self._idle), "waiting": waiting}

    def __repr__(self) -> str:
        return show_state(self, *facts_of_pool(self.stats(), self._options.max_size))

    def _release_to_waiter(self, session: AsyncSession | None) -> None:
        """Give a connection, or the right to open one, to the caller that waits longest."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(session)
                return
        if session is None:
            self._size -= 1
        else:
            self._idle.append(session)


def _seconds(deadline: Deadline) -> float | None:
    # Unlike `remaining` it never raises: a call that counts in `_size` must come to the end.
    return None if deadline.at is None else deadline.at - time.monotonic()
