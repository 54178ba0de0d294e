"""The threads of one SQLite file that work for an event loop. There is no other form: without a loop, callers work.

`anyio.to_thread.run_sync` would do, but its limiter, scope and context take longer than many a statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from openmem._io.concurrency.deadlines import Alarms
from openmem._io.concurrency.executor import Crew
from openmem._io.sqlite.errors import Job

T = TypeVar("T")

JOIN_SECONDS = 5.0


class LoopThreads:
    """Up to `most` threads, each started when it is needed, which do what comes in the order in which it comes.

    All calls of `run`, and of `stop` while others may come, must be made on one event loop.

    Attributes:
        busy: How many errands were given to the threads and not reported by them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # A transaction is never half done, and one that waits for a lock may wait for ever: exits do not wait for it.
        self._crew = Crew("openmem-sqlite", finish=False)
        self._alarms = Alarms()
        self.busy = 0

    async def run(self, work: Callable[[], T], job: Job) -> T:
        """Return what the work returns.

        A caller who is cancelled leaves at once; the job is told, and work that was not begun never is.

        Raises:
            DeadlineExceededError: The job's time is up, whether the work was begun or not.
        """
        job.check()
        errand = _Errand(work, job, self)
        self._alarms.set(errand, job.deadline.at)
        self.busy += 1
        self._crew.call(errand.do, min(self.busy, self._most))
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
        self._crew.dismiss()

    def join(self) -> None:
        """Wait until the threads have ended, for `JOIN_SECONDS` each at most."""
        self._crew.join(JOIN_SECONDS)


class _Errand(Generic[T]):
    """Some work and the future in which a loop waits for it."""

    __slots__ = ("_job", "_loop", "_threads", "_work", "future")

    def __init__(self, work: Callable[[], T], job: Job, threads: LoopThreads) -> None:
        self._work, self._job, self._threads = work, job, threads
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()

    def do(self) -> None:
        """Do the work in this thread."""
        try:
            self._job.check()
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._report(self.future.set_exception, error)
        else:
            self._report(self.future.set_result, result)

    def expire(self) -> None:
        """Give up: the time is over."""
        self._job.cancelled = True
        if not self.future.done():
            self.future.set_exception(self._job.deadline.exceeded())

    def _report(self, settle: Callable[[Any], None], outcome: object) -> None:
        try:  # noqa: SIM105 - every microsecond here is one that the loop waits for
            self._loop.call_soon_threadsafe(self._end, settle, outcome)
        except RuntimeError:
            pass  # the loop is closed, so nobody waits

    def _end(self, settle: Callable[[Any], None], outcome: object) -> None:
        self._threads.busy -= 1
        if not self.future.done():
            settle(outcome)
