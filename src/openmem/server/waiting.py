"""The only module of the server that waits: time limits, clocks and the end of a client's patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def clock() -> float:
    """Return seconds that never go backwards."""
    return time.monotonic()


async def within(work: Awaitable[T], seconds: float | None) -> T:
    """Return what `work` returns.

    Raises:
        TimeoutError: It took longer.
    """
    async with asyncio.timeout(seconds):
        return await work


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own."""
    return asyncio.run(work)


class Recent(Generic[T]):
    """The result of a question that is asked again only when it is old; those who ask together ask once.

    Args:
        ask: The question; what it raises is not kept.
        seconds: How long an answer holds.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._answer: tuple[float, T] | None = None

    async def get(self) -> T:
        """Return an answer that is not too old."""
        async with self._lock:
            if self._answer is None or clock() - self._answer[0] >= self._seconds:
                answer = await self._ask()
                self._answer = (clock(), answer)
            return self._answer[1]
