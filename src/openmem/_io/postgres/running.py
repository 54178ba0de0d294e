"""The time limits of the calls of one instance."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.deadlines import DeadlineTimer

_ROUNDS: Final = 100  # of the loop, for calls to end in


class Running:
    """The time limits of one instance's calls, so that its closing can end them."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self.works: set[WorkLimit] = set()
        self.timer = DeadlineTimer()
        self.closed = False

    @contextlib.contextmanager
    def watch(self, limit: asyncio.Timeout) -> Iterator[None]:
        """Know of a limit while it is in force."""
        self._limits.add(limit)
        try:
            yield
        finally:
            self._limits.discard(limit)

    async def end(self) -> None:
        """Let every limit expire now, and the calls with it."""
        self.closed = True
        # The calls themselves know what to do when their limit expires; closing needs no second way to end them.
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            with contextlib.suppress(RuntimeError):  # it is expiring by itself
                limit.reschedule(now)
        for work in [*self.works]:
            work.expire()
        for _ in range(_ROUNDS):
            if not self._limits and not self.works:
                break
            await asyncio.sleep(0)


class WorkLimit:
    """Cancels what the task does in this context at a deadline, or when the instance closes: a `TimeoutError`.

    What `asyncio.timeout` does, with one timer for many. It is used once.

    Attributes:
        expired: It has ended the work.
    """

    __slots__ = ("_at", "_cancelling", "_fired", "_running", "_task", "expired")

    def __init__(self, running: Running, deadline: Deadline) -> None:
        # It never raises that the time is over: a call that has a connection must come to the end.
        self._running, self._at = running, deadline.at
        self._fired = self.expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._running.works.add(self)
        self._running.timer.set(self, self._at)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.timer.unset(self)
        self._running.works.discard(self)
        # 1. Our cancellation, and no other: it becomes the error.
        # 2. Another caller cancelled the task too: that counts more.
        # 3. The work ended in the same moment: its result, or its own error, counts.
        if self._fired and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            self.expired = True
            raise TimeoutError from error

    def expire(self) -> None:
        """Cancel the work, once."""
        if not self._fired:
            self._fired = True
            self._task.cancel()
