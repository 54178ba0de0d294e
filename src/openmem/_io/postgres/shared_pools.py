"""Instances with the same options on one event loop share a pool.

An instance for each request is a pattern that many follow; a new connection for each would cost more than the
work. So a pool that is used again soon after its last user left keeps its connections for a moment from then on.
One that is used once is emptied at once: nothing stays open behind a program that closes what it opened.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Final, TypeAlias

from openmem._io.postgres.async_pool import AsyncPool
from openmem._io.postgres.options import PoolOptions, describe_pool
from openmem._io.state import counted, show_state

LINGER_SECONDS: Final = 5.0

_ByOptions: TypeAlias = dict[PoolOptions, "SharedPool"]
_shared_pools: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _ByOptions] = weakref.WeakKeyDictionary()


class SharedPool:
    """A pool and how many use it."""

    def __init__(self, options: PoolOptions, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = AsyncPool(options)
        self._most = options.max_size
        self._loop = loop
        self._users = 0
        self._released_at = float("-inf")
        self._lingers = False
        self._linger_task: asyncio.Task[None] | None = None

    def acquire(self) -> None:
        """Count one user more."""
        self._users += 1
        # A pool that was left a moment ago and is used again will be so a third time: from then on it lingers.
        self._lingers = self._lingers or self._loop.time() - self._released_at < LINGER_SECONDS
        # It is in use again before its connections were closed.
        if self._linger_task is not None:
            self._linger_task.cancel()
            self._linger_task = None

    async def release(self) -> None:
        """Count one user less. The last one closes the idle connections, at once or after `LINGER_SECONDS`."""
        self._users -= 1
        # 1. Others still use it.
        if self._users:
            return
        self._released_at = self._loop.time()
        # 2. It is used again and again: the connections stay for some seconds.
        if self._lingers:
            self._linger_task = self._loop.create_task(self._linger())
        else:
            # 3. It was used once: all is closed before `close` of the program returns.
            await self.pool.drain()

    def release_from_gc(self) -> None:
        """Count one user less that was collected without being closed. Called at any time, from any thread."""
        self._users -= 1
        # The collector may run in any thread and at any line: the loop does the rest, and only if it is still there.
        if not self._users and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._empty)

    def __repr__(self) -> str:
        # 1. In use.
        # 2. Left by all, a moment ago: its connections stay.
        # 3. Left for longer, or used once: it is empty.
        state = "in use" if self._users else "lingering" if self._linger_task is not None else "left"
        _, *numbers = describe_pool(self.pool.stats(), self._most)
        return show_state(self, state, counted(self._users, "user"), *numbers)

    async def _linger(self) -> None:
        try:
            await asyncio.sleep(LINGER_SECONDS)
            self._lingers, self._linger_task = False, None
        finally:  # also when the loop ends, which cancels its tasks
            self._empty()

    def _empty(self) -> None:
        # Not if a user came meanwhile.
        if not self._users:
            self.pool.expire()


def shared_pool(options: PoolOptions) -> SharedPool:
    """Return the running loop's pool for these options, with its users counted one up."""
    loop = asyncio.get_running_loop()
    pools = _shared_pools.get(loop)
    # 1. The first pool on this loop: those of loops that have ended go.
    if pools is None:
        for old in [known for known in _shared_pools if known.is_closed()]:
            del _shared_pools[old]
        pools = _shared_pools[loop] = {}
    found = pools.get(options)
    # 2. The first with these options.
    # 3. It is there, in use or lingering.
    if found is None:
        found = pools[options] = SharedPool(options, loop)
    found.acquire()
    return found
