"""A pool of psycopg connections for threads. It starts none of its own, so a program that never closes it ends."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from typing import Final

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.options import PoolOptions, describe_pool
from openmem._io.postgres.psycopg_driver import Driver, Session
from openmem._io.state import show_state
from openmem._sql.postgres.errors import closed, exhausted
from openmem._sql.postgres.server_info import ServerInfo

IDLE_SECONDS: Final = 300.0

_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_left_by_fork: list[object] = []  # never closed: the parent goes on with the same sockets and locks


class Pool:
    """Connections with the same options.

    Args:
        options: The options; of them, `min_size` connections are kept however long they are idle.
    """

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._driver = Driver(options)
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self.server = ServerInfo()
        self._idle: deque[Session] = deque()
        self._busy: set[Session] = set()
        self._size = 0  # idle, in use or being opened
        self._waiting = 0
        self._generation = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, deadline: Deadline) -> Session:
        """Return a connection for one operation.

        Raises:
            ProviderUnavailableError: None became free within `pool_timeout` or the deadline.
            DeadlineExceededError: A new connection took too long.
        """
        session = self._find(deadline)
        if session is None:
            session = self._open(deadline)
        session.connection.deadline = deadline
        return session

    def _find(self, deadline: Deadline) -> Session | None:
        left = deadline.remaining()
        seconds = self._options.timeout if left is None else min(left, self._options.timeout)
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                # 1. Closed, perhaps while this caller waited.
                if self._closed:
                    raise closed()
                # 2. An idle connection that is alive. The one that was used last goes first, so that those not needed
                #    grow old.
                session = self._pop_alive()
                if session is not None:
                    self._busy.add(session)
                    return session
                # 3. There is room. It is counted under the lock; the connection is opened outside it, so that others
                #    go on.
                if self._size < self._options.max_size:
                    self._size += 1
                    return None
                # 4. The pool is full: a connection that is put back, or one that is closed, wakes one caller, who
                #    looks again.
                if not self._wait(until):
                    raise exhausted(self._options.max_size, seconds)

    def _pop_alive(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if session.is_alive():
                return session
            # It ended while it was idle, as after a restart of the server: the others have ended too.
            self._close(session)
            self._expire()
        return None

    def _wait(self, until: float) -> bool:
        self._waiting += 1
        try:
            left = until - time.monotonic()
            return left > 0 and self._changed.wait(left)
        finally:
            self._waiting -= 1

    def open_plain(self, deadline: Deadline) -> Session:
        """Return a connection beside the pool, without codecs; it is closed when it is put back."""
        with self._changed:
            if self._closed:
                raise closed()
            self._size += 1
        return self._open(deadline, plain=True)

    def _open(self, deadline: Deadline, *, plain: bool = False) -> Session:
        try:
            session = self._driver.open(deadline, plain=plain)
        except BaseException:
            with self._changed:
                self._size -= 1
                self._changed.notify()
            raise
        with self._changed:
            # Of the generation in which it was opened: the next `expire` makes it too old to be kept.
            session.generation = self._generation
            self._busy.add(session)
        return session

    def put(self, session: Session) -> None:
        """Take a connection back, in order or lost."""
        with self._changed:
            self._busy.discard(session)
            # 1. Of no further use: it is closed, older than the last `expire`, does not know the types of the
            #    extension, or the pool was closed while it was in use.
            if session.lost or session.generation != self._generation or not session.complete or self._closed:
                self._close(session)
            else:
                # 2. In order: it is idle, and the one that has been idle for longest is closed after some minutes. No
                #    thread does that: a pool that is not used keeps its connections, which cost nothing but their
                #    sockets.
                session.idle_since = time.monotonic()
                self._idle.append(session)
                oldest = self._idle[0]
                if session.idle_since - oldest.idle_since > IDLE_SECONDS and self._size > self._options.min_size:
                    self._close(self._idle.popleft())
            # 3. Either way there is something for the caller that waits longest.
            self._changed.notify()

    def stop_preparing(self) -> None:
        """Keep no statements prepared from now on: something between here and the server loses them."""
        self._driver.stop_preparing()

    def take_back(self, session: Session) -> None:
        """Take a connection back whose work failed."""
        try:
            # Outside the lock, for it may ask the server. In whatever way it ends, the connection is put back.
            session.recover()
        finally:
            self.put(session)
            if session.lost:
                with self._changed:
                    # It was lost, and with it the trust in the others: all waiting callers may open new ones.
                    self._expire()
                    self._changed.notify_all()

    def _expire(self) -> None:
        # Connections in use are closed when they are put back: they are of an older generation then.
        self._generation += 1
        self._driver.forget()
        self.server.forget()
        while self._idle:
            self._close(self._idle.pop())

    def _close(self, session: Session) -> None:
        # The room is free again, which a waiting caller has to be told.
        self._size -= 1
        with contextlib.suppress(Exception):
            session.abort()

    def close(self) -> None:
        """Close every connection and end what is done with them. Calling it again does nothing."""
        with self._changed:
            self._closed = True
            self._expire()
            busy = list(self._busy)
            self._changed.notify_all()
        # Outside the lock: each statement in progress is cancelled at the server, and its thread puts the connection
        # back.
        for session in busy:
            session.stop()

    @property
    def closed(self) -> bool:
        """Whether the pool was closed."""
        return self._closed

    def stats(self) -> dict[str, int]:
        """Return the numbers of connections, of those that are idle, and of calls that wait for one."""
        return {"size": self._size, "idle": len(self._idle), "waiting": self._waiting}

    def __repr__(self) -> str:
        return show_state(self, *describe_pool(self.stats(), self._options.max_size, closed=self._closed))

    def forked(self) -> None:
        """Start again in a child process; what the parent holds is left alone."""
        # Not closed: that would say good-bye to the server over a socket that the parent still uses.
        _left_by_fork.append((self._idle, self._busy, self._changed))
        self._reset()


def _after_fork() -> None:
    for pool in list(_pools):
        pool.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
