"""The worker threads of one SQLite file, for an event loop. There is no sync twin: without a loop, callers do the work.

`anyio.to_thread.run_sync` would do, but its limiter, scope and context take longer than many a statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from openmem._io.concurrency.deadlines import DeadlineTimer
from openmem._io.concurrency.executor import ThreadExecutor
from openmem._io.sqlite.errors import CancelToken
from openmem._io.state import show_state

T = TypeVar("T")

JOIN_SECONDS = 5.0


class LoopExecutor:
    """Up to `most` threads, each started when it is needed, which do what comes in the order in which it comes.

    All calls of `run`, and of `stop` while others may come, must be made on one event loop.

    Attributes:
        busy: How many functions the threads have and have not reported yet.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # A transaction is never half done, and one that waits for a lock may wait for ever: exits do not wait for it.
        self._executor = ThreadExecutor("openmem-sqlite", wait_at_exit=False)
        self._timer = DeadlineTimer()
        self._stopped = False
        self.busy = 0

    async def run(self, work: Callable[[], T], token: CancelToken) -> T:
        """Return what the work returns.

        A caller who is cancelled leaves at once; the token says so to the worker, and work that was not begun never is.

        Raises:
            DeadlineExceededError: The token's time is up, whether the work was begun or not.
        """
        # 1. Too late already.
        token.check()
        item = _WorkItem(work, token, self)
        self._timer.set(item, token.deadline.at)
        # 2. It gets a thread, a new one if all are busy and there may be more, or waits for one.
        self.busy += 1
        self._executor.submit(item.run, min(self.busy, self._most))
        # 3. It is done, and the loop gets the result.
        try:
            return await item.future
        except asyncio.CancelledError:
            # 4. The caller left: work that runs is stopped by SQLite, work that waits is not begun.
            token.cancelled = True
            raise
        finally:
            self._timer.unset(item)
            del item  # an error that passes refers to this frame, and the item to the error

    def stop(self) -> None:
        """Let the threads end once they have done what is there. What comes later gets a thread of its own."""
        self._stopped = True
        self._executor.shutdown()

    def join(self) -> None:
        """Wait until the threads have ended, for `JOIN_SECONDS` each at most."""
        self._executor.join(JOIN_SECONDS)

    def __repr__(self) -> str:
        running = min(self.busy, self._most)
        state = "stopped" if self._stopped else "open"
        return show_state(self, state, f"{running} of {self._most} threads busy", f"{self.busy - running} waiting")


class _WorkItem(Generic[T]):
    """A function for a thread, and the future in which the event loop waits for its result."""

    __slots__ = ("_executor", "_loop", "_token", "_work", "future")

    def __init__(self, work: Callable[[], T], token: CancelToken, executor: LoopExecutor) -> None:
        self._work, self._token, self._executor = work, token, executor
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        """Call the function in this thread."""
        try:
            # It may have been given up while it waited for the thread.
            self._token.check()
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._report(self.future.set_exception, error)
        else:
            self._report(self.future.set_result, result)

    def expire(self) -> None:
        """Give up: the time is over."""
        self._token.cancelled = True
        if not self.future.done():
            self.future.set_exception(self._token.deadline.exceeded())

    def _report(self, settle: Callable[[Any], None], outcome: object) -> None:
        try:  # noqa: SIM105 - every microsecond here is one that the loop waits for
            self._loop.call_soon_threadsafe(self._end, settle, outcome)
        except RuntimeError:
            pass  # the loop is closed, so no caller waits

    def _end(self, settle: Callable[[Any], None], outcome: object) -> None:
        self._executor.busy -= 1
        # The caller may have left, or its time may be over: the result is dropped then.
        if not self.future.done():
            settle(outcome)
