"""The time limits of the calls of one instance."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

_ROUNDS: Final = 100  # of the loop, for calls to end in


class Running:
    """The time limits of one instance's calls, so that its closing can end them."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self.closed = False

    @contextlib.contextmanager
    def watch(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Know of a limit while it is in force."""
        self._limits.add(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)

    def add(self, limit: asyncio.Timeout) -> None:
        """Know of a limit."""
        self._limits.add(limit)

    def discard(self, limit: asyncio.Timeout) -> None:
        """Forget a limit."""
        self._limits.discard(limit)

    async def end(self) -> None:
        """Let every limit expire now, and the calls with it."""
        self.closed = True
        # The calls themselves know what to do when their limit expires; closing needs no second way to end them.
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            with contextlib.suppress(RuntimeError):  # it is expiring by itself
                limit.reschedule(now)
        for _ in range(_ROUNDS):
            if not self._limits:
                break
            await asyncio.sleep(0)
