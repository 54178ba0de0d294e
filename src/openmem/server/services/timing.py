"""The only module of the server that waits: time limits, clocks, and questions that are asked once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

log: Final = logging.getLogger("openmem.server")

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


def clock() -> float:
    """Return seconds that never go backwards."""
    return time.monotonic()


def cancelled() -> type[BaseException]:
    """Return the exception that ends work which is told to stop."""
    return asyncio.CancelledError


async def within(work: Awaitable[T], seconds: float | None) -> T:
    """Return what `work` returns.

    Raises:
        TimeoutError: It took longer.
    """
    async with asyncio.timeout(seconds):
        return await work


async def pause(seconds: float) -> None:
    """Wait for some seconds."""
    await asyncio.sleep(seconds)


def watch_loop() -> None:
    """Make what goes wrong in the event loop of this task one line in the log, without a traceback for each."""
    asyncio.get_running_loop().set_exception_handler(_note)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if isinstance(error, OSError) and "accept" in str(context.get("message")):
        log.error("no connection could be taken in: %s", error.strerror or type(error).__name__)
    else:
        loop.default_exception_handler(context)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own."""
    return asyncio.run(work)


async def off_loop(function: Callable[..., T], *args: Any) -> T:
    """Return what a function returns that takes long, without keeping others from being answered meanwhile.

    One at a time runs, in a thread: several would not be done sooner, and would leave the event loop less time.
    """
    loop = asyncio.get_running_loop()
    lane = _lanes.get(loop)
    if lane is None:
        lane = _lanes[loop] = asyncio.Lock()
    async with lane:
        work = asyncio.ensure_future(asyncio.to_thread(function, *args))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])  # the thread cannot be stopped, and the next one waits for it
            raise


_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


class TtlCache(Generic[T]):
    """The result of a question that is asked again only when it is old, and once for all that ask together.

    Args:
        ask: The question; what it raises is not kept.
        seconds: The time for which an answer holds.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._answer: tuple[float, T] | None = None

    def __repr__(self) -> str:
        age = "no answer" if self._answer is None else f"an answer of {clock() - self._answer[0]:.1f} s"
        return f"<TtlCache [{age} | {'asking' if self._lock.locked() else 'idle'}]>"

    async def get(self) -> T:
        """Return an answer that is not too old."""
        async with self._lock:
            if self._answer is None or clock() - self._answer[0] >= self._seconds:
                answer = await self._ask()
                self._answer = (clock(), answer)
            return self._answer[1]


class SingleFlight(Generic[K, T]):
    """Callers that have the same question at the same moment ask once. Nothing is remembered."""

    def __init__(self) -> None:
        self._asked: dict[K, _Question[T]] = {}

    def __repr__(self) -> str:
        waiting = sum(question.waiting for question in self._asked.values())
        return f"<SingleFlight [{len(self._asked)} questions | {waiting} waiting]>"

    async def ask(self, about: K, question: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the answer, or raise what the question raises.

        1. The first caller starts the question as a task of its own; later ones wait for the same task.
        2. A caller that is cancelled leaves the others waiting: the task is shielded.
        3. When the last one leaves, the question is given up and forgotten, so that a later caller asks again.
        """
        asked = self._asked.get(about)
        if asked is None:
            asked = self._asked[about] = _Question(asyncio.create_task(question()))
        asked.waiting += 1
        try:
            return await asyncio.shield(asked.task)
        finally:
            asked.waiting -= 1
            if not asked.waiting:
                asked.task.cancel()
            if (asked.task.done() or not asked.waiting) and self._asked.get(about) is asked:
                del self._asked[about]


class _Question(Generic[T]):
    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # should its callers all be gone
