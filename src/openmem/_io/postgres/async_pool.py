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
from openmem._io.postgres.options import PoolOptions
from openmem._io.postgres.running import Running
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
        self._size = 0  # at rest, in use, being opened or put in order
        self._waiting: deque[asyncio.Future[AsyncSession | None]] = deque()
        self._era = 0
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
            if session.fresh():
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

    async def open_bare(self, deadline: Deadline, running: Running) -> AsyncSession:
        """Return a connection beside the pool, without codecs; it is closed when it is put back."""
        self._size += 1
        return await self._open(deadline, running, bare=True)

    async def _wait(self, deadline: Deadline, running: Running) -> AsyncSession | None:
        left = deadline.remaining()
        seconds = self._options.timeout if left is None else min(left, self._options.timeout)
        place: asyncio.Future[AsyncSession | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            limit = asyncio.timeout(seconds)
            with running.watch(limit):
                async with limit:
                    return await place
        except BaseException as error:
            if place.done() and not place.cancelled():  # both at once: the place goes to the next
                self._hand_on(place.result())
            else:
                place.cancel()
            if isinstance(error, TimeoutError) and limit.expired():
                raise (closed() if running.closed else exhausted(self._options.max_size, seconds)) from None
            raise

    async def _open(self, deadline: Deadline, running: Running, *, bare: bool = False) -> AsyncSession:
        # In a task of its own: whoever cannot wait any longer leaves, and the connection is for the next.
        opening = self._start(self._connect(bare))
        limit = asyncio.timeout(_seconds(deadline))
        try:
            with running.watch(limit):
                async with limit:
                    return await asyncio.shield(opening)
        except BaseException as error:
            if opening.done():
                self._adopt(opening)
            else:
                opening.add_done_callback(self._adopt)
            if isinstance(error, TimeoutError) and limit.expired():
                raise (closed() if running.closed else deadline.exceeded()) from None
            raise

    async def _connect(self, bare: bool) -> AsyncSession:
        era = self._era
        seconds = (await self._driver.find_access()).target.connect_seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                session = await self._driver.open(bare=bare)
        except TimeoutError:
            raise unreachable(f"the database server did not accept a connection within {seconds:g} s") from None
        session.era = era
        return session

    def _adopt(self, opening: asyncio.Task[AsyncSession]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._hand_on(None)
        else:
            self.put(opening.result())

    def put(self, session: AsyncSession) -> None:
        """Take a connection back, in order."""
        if session.lost or session.era != self._era or not session.complete:
            self.drop(session)
            return
        session.rested = asyncio.get_running_loop().time()
        self._hand_on(session)
        oldest = self._idle[0] if self._idle else session
        if session.rested - oldest.rested > IDLE_SECONDS and self._size > self._options.min_size:
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
            self._start(self._mend(session))
        else:
            self.put(session)

    def drop(self, session: AsyncSession) -> None:
        """Close a connection that was taken."""
        session.abort()
        self._hand_on(None)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _mend(self, session: AsyncSession) -> None:
        try:
            orderly = await session.settle()
        except BaseException as error:
            self.drop(session)
            self.expire()
            if not isinstance(error, Exception):
                raise
        else:
            (self.put if orderly else self.drop)(session)

    def expire(self) -> None:
        """Use no connection again that is open now: where one is dead, the others may be too."""
        self._era += 1
        self._driver.forget()
        self.server.forget()
        while self._idle:
            self.drop(self._idle.pop())

    async def drain(self) -> None:
        """Close what is at rest, and wait a little for what is being put in order."""
        self.expire()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(0)  # sockets are closed by the loop's next round
        await asyncio.sleep(0)

    def stats(self) -> dict[str, int]:
        """Return the numbers of connections, of those at rest, and of calls that wait for one."""
        waiting = sum(not place.done() for place in self._waiting)
        return {"size": self._size, "idle": len(self._idle), "waiting": waiting}

    def _hand_on(self, session: AsyncSession | None) -> None:
        """Give a connection, or the right to open one, to whoever waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(session)
                return
        if session is None:
            self._size -= 1
        else:
            self._idle.append(session)


def _seconds(deadline: Deadline) -> float | None:
    # Unlike `remaining` it never raises: whoever holds a place in the pool must come to the end.
    return None if deadline.at is None else deadline.at - time.monotonic()
