"""The threads of one SQLite file that work for an event loop. There is no other form: without a loop, callers work.

`anyio.to_thread.run_sync` would do, but its limiter, scope and context take longer than many a statement.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeAlias, TypeVar

from openmem._io.alarms import Alarms
from openmem._io.sqlite_errors import Job

T = TypeVar("T")

JOIN_SECONDS = 5.0


class LoopThreads:
    """Up to `most` threads, each started when it is needed, which do what comes in the order in which it comes.

    All calls of `run`, and of `stop` while others may come, must be made on one event loop.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads: list[threading.Thread] = []
        self._errands: _Errands = SimpleQueue()
        self._idle: deque[None] = deque()  # one entry for each thread that has nothing to do
        self._alarms = Alarms()
        self._dismissed = 0
        self._stopped = False

    async def run(self, work: Callable[[], T], job: Job) -> T:
        """Return what the work returns.

        A caller who is cancelled leaves at once; the job is told, and work that was not begun never is.

        Raises:
            DeadlineExceededError: The job's time is up, whether the work was begun or not.
        """
        job.check()
        errand = _Errand(work, job, asyncio.get_running_loop(), self._idle)
        if job.deadline.at is not None:
            self._alarms.set(errand, job.deadline.at)
        self._give(errand)
        try:
            return await errand.future
        except asyncio.CancelledError:
            job.cancelled = True
            raise
        finally:
            self._alarms.unset(errand)
            del errand  # an error that passes refers to this frame, and the errand to the error

    def stop(self) -> None:
        """Let the threads end once they have done what is there. What comes later gets a thread of its own."""
        self._stopped = True
        for _ in range(len(self._threads) - self._dismissed):
            self._errands.put(None)
            self._dismissed += 1

    def join(self) -> None:
        """Wait until the threads have ended, for `JOIN_SECONDS` at most."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_SECONDS)

    def _give(self, errand: _Errand[Any]) -> None:
        if self._stopped:
            _start(errand.do)
            return
        try:
            self._idle.pop()
        except IndexError:
            if len(self._threads) < self._most:
                self._threads.append(_start(_work, self._errands))
        self._errands.put(errand)


class _Errand(Generic[T]):
    """Some work and the future in which a loop waits for it."""

    __slots__ = ("_idle", "_job", "_work", "future", "loop")

    def __init__(self, work: Callable[[], T], job: Job, loop: asyncio.AbstractEventLoop, idle: deque[None]) -> None:
        self._work, self._job, self._idle = work, job, idle
        self.loop = loop
        self.future: asyncio.Future[T] = loop.create_future()

    def do(self) -> None:
        """Do the work in this thread, which is idle before anybody hears of the result."""
        try:
            self._job.check()
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._report(self._fail, error)
        else:
            self._report(self._succeed, result)

    def expire(self) -> None:
        """Give up: the time is over."""
        self._job.cancelled = True
        self._fail(self._job.deadline.exceeded())

    def _report(self, end: Callable[[Any], None], outcome: object) -> None:
        self._idle.append(None)
        try:  # noqa: SIM105 - every microsecond here is one that the loop waits for
            self.loop.call_soon_threadsafe(end, outcome)
        except RuntimeError:
            pass  # the loop is closed, so nobody waits

    def _succeed(self, result: T) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


_Errands: TypeAlias = SimpleQueue[_Errand[Any] | None]


def _start(target: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, name="openmem-sqlite", daemon=True)
    thread.start()
    return thread


def _work(errands: _Errands) -> None:
    while (errand := errands.get()) is not None:
        errand.do()
        del errand  # what it refers to may be dropped while the thread waits for the next one
