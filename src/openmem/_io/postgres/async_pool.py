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
from openmem._io.postgres.options import PoolOptions, describe_pool
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
        # 1. An idle connection that is alive. The one that was used last goes first, so that those not needed grow old.
        while self._idle:
            session = self._idle.pop()
            if session.is_alive():
                return session
            # 2. It ended while it was idle, as after a restart of the server: the others have ended too, and what was
            #    found out about the server may be wrong.
            self._size -= 1
            session.abort()
            self.expire()
        # 3. There is room. It is counted before anything waits, so that no other caller fills it too.
        if self._size < self._options.max_size:
            self._size += 1
            given = None
        else:
            # 4. The pool is full: the caller gets a connection, or `None`, which is the right to open one.
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
            # 1. It was given something in the very moment in which its time was over: the next caller gets that.
            # 2. It was given nothing: a cancelled waiter stays in the queue and is passed over.
            if waiter.done() and not waiter.cancelled():  # both at once: what it got goes to the next
                self._release_to_waiter(waiter.result())
            else:
                waiter.cancel()
            # 3. The limit ended it: it is either the time, or `close`, which lets all limits of an instance expire.
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
            # 1. It was opened, or failed, in the moment in which the caller left.
            # 2. It goes on, and is for another caller.
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
        # Of the generation in which it was begun: an `expire` in between makes it too old to be kept.
        session.generation = generation
        return session

    def _on_opened(self, opening: asyncio.Task[AsyncSession]) -> None:
        # A failed one leaves its room to the next caller, who opens one for itself and meets the error, if it lasts.
        if opening.cancelled() or opening.exception() is not None:
            self._release_to_waiter(None)
        else:
            self.put(opening.result())

    def put(self, session: AsyncSession) -> None:
        """Take a connection back, in order."""
        # 1. Of no further use: it is closed, older than the last `expire`, or does not know the types of the extension,
        #    which did not exist when it was opened.
        if session.lost or session.generation != self._generation or not session.complete:
            self.drop(session)
            return
        # 2. In order: for the caller that waits longest, else it is idle.
        session.idle_since = asyncio.get_running_loop().time()
        self._release_to_waiter(session)
        # 3. The one that has been idle for longest is closed after some minutes. There is no task for that: a pool that
        #    is not used keeps its connections, which cost nothing but their sockets.
        oldest = self._idle[0] if self._idle else session
        if session.idle_since - oldest.idle_since > IDLE_SECONDS and self._size > self._options.min_size:
            self._idle.popleft()
            self.drop(oldest)

    def stop_preparing(self) -> None:
        """Keep no statements prepared from now on: something between here and the server loses them."""
        self._driver.stop_preparing()

    def take_back(self, session: AsyncSession, *, interrupted: bool) -> None:
        """Take a connection back whose work failed."""
        # 1. The connection is lost, and with it the trust in the others.
        if session.lost:
            self.drop(session)
            self.expire()
        # 2. The statement may still run at the server, or its transaction is open: a task of the pool sees to that,
        #    as the caller has left or must not wait.
        elif interrupted or session.busy:
            self._start(self._recover(session))
        # 3. The statement failed, and that was all.
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
            # 1. The server does not answer: the connection is closed, and the others are treated as lost, too.
            self.drop(session)
            self.expire()
            if not isinstance(error, Exception):
                raise
        else:
            # 2. The statement is over and its transaction rolled back.
            # 3. Its messages are not: it cannot be used again.
            (self.put if orderly else self.drop)(session)

    def expire(self) -> None:
        """Use no connection again that is open now: where one is dead, the others may be too."""
        # Connections in use are closed when they are put back: they are of an older generation then.
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
        # A task that has not ended by now waits for a server that does not answer.
        for task in self._tasks:
            task.cancel()
        await asyncio.sleep(0)  # sockets are closed by the loop's next round
        await asyncio.sleep(0)

    def stats(self) -> dict[str, int]:
        """Return the numbers of connections, of those that are idle, and of calls that wait for one."""
        waiting = sum(not waiter.done() for waiter in self._waiting)
        return {"size": self._size, "idle": len(self._idle), "waiting": waiting}

    def __repr__(self) -> str:
        return show_state(self, *describe_pool(self.stats(), self._options.max_size))

    def _release_to_waiter(self, session: AsyncSession | None) -> None:
        """Give a connection, or the right to open one, to the caller that waits longest."""
        # 1. A caller waits for it. Those that left are passed over.
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(session)
                return
        # 2. No caller waits, and there is no connection: the room is free.
        # 3. There is one: it is idle now.
        if session is None:
            self._size -= 1
        else:
            self._idle.append(session)


def _seconds(deadline: Deadline) -> float | None:
    # Unlike `remaining` it never raises: a call that counts in `_size` must come to the end.
    return None if deadline.at is None else deadline.at - time.monotonic()
