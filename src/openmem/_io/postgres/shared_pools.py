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
from openmem._io.postgres.options import PoolOptions

LINGER_SECONDS: Final = 5.0

_Pools: TypeAlias = dict[PoolOptions, "Lease"]
_leases: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools] = weakref.WeakKeyDictionary()


class Lease:
    """A pool and how many use it."""

    def __init__(self, options: PoolOptions, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = AsyncPool(options)
        self._loop = loop
        self._users = 0
        self._ended = float("-inf")
        self._keeps = False
        self._keeper: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Count a user."""
        self._users += 1
        self._keeps = self._keeps or self._loop.time() - self._ended < LINGER_SECONDS
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None

    async def end(self) -> None:
        """A user leaves; the last one closes what is at rest, or leaves it for a moment."""
        self._users -= 1
        if self._users:
            return
        self._ended = self._loop.time()
        if self._keeps:
            self._keeper = self._loop.create_task(self._keep())
        else:
            await self.pool.drain()

    def abandon(self) -> None:
        """A user was forgotten without being closed. Called at any time, from any thread."""
        self._users -= 1
        if not self._users and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._empty)

    async def _keep(self) -> None:
        try:
            await asyncio.sleep(LINGER_SECONDS)
            self._keeps = False
        finally:  # also when the loop ends, which cancels its tasks
            self._empty()

    def _empty(self) -> None:
        if not self._users:
            self.pool.expire()


def lease(options: PoolOptions) -> Lease:
    """Return the running loop's pool for these options, with its users counted one up."""
    loop = asyncio.get_running_loop()
    pools = _leases.get(loop)
    if pools is None:
        for old in [known for known in _leases if known.is_closed()]:
            del _leases[old]
        pools = _leases[loop] = {}
    found = pools.get(options)
    if found is None:
        found = pools[options] = Lease(options, loop)
    found.begin()
    return found
