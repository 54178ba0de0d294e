"""Deadlines on an event loop, at next to no cost for what is done in time.

A verb makes one `Deadline`, and everything below takes its time from that. Each kind of wait is ended by one mechanism:

1. On an event loop, for a peer on the network (a connection, an exchange, a turn in a pool of connections) and for the
   import of a module: `asyncio.timeout`. Such waits take milliseconds, and closing an instance lets the limit expire.
2. On an event loop, for a thread of this process, a function of the user, a batch or the statements of a verb:
   `DeadlineTimer`, here. A timer for each call, which nearly always is cancelled, takes longer than the wait that it
   watches.
3. On an event loop, for a worker with a blocking SDK: `anyio.CancelScope`, as the limiter of the workers is anyio's.
4. In a thread, for a socket (HTTP, psycopg): each single wait is given the time that is left, which bounds their sum.
   Only TLS within TLS waits several times unseen, so a `threading.Timer` shuts down that socket.
5. In a thread, for a lock, a turn or a queue: the `timeout` of `acquire`, `wait` and `get`.
6. In a thread, for SQLite: the `CancelToken`, which the progress handler and the loop around a busy file ask, since
   SQLite knows no deadline.

Between waits, code asks the deadline itself: `deadline.check()`.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Protocol

from openmem._io.concurrency.call import Deadline
from openmem._io.state import counted, show_state


class Expirable(Protocol):
    """Something with a deadline."""

    def expire(self) -> None:
        """Give up: the deadline has come."""


class DeadlineTimer:
    """Expires items at their deadlines. One timer of the loop serves all of them: it waits for the earliest.

    All calls must come from one event loop at a time.
    """

    def __init__(self) -> None:
        self._times: dict[Expirable, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def set(self, item: Expirable, at: float | None) -> None:
        """Call `item.expire()` once the monotonic clock shows `at`, unless that is `None` or `unset` comes first."""
        if at is None:
            return
        self._times[item] = at
        loop = asyncio.get_running_loop()
        # 1. Another loop: the timer of the old one does not exist any more.
        if loop is not self._loop:
            self._loop, self._timer = loop, None
        # 2. No timer, or one that is too late for this item.
        # 3. It looks soon enough: nothing to do, as nearly always.
        if self._timer is None or at < self._next:
            self._wait(loop, at)

    def unset(self, item: Expirable) -> None:
        """Forget it. The timer is left alone: it finds nothing to do, or waits for the next."""
        self._times.pop(item, None)

    def __repr__(self) -> str:
        if self._timer is None:
            return show_state(self, "unset")
        left = max(0.0, self._next - time.monotonic())
        return show_state(self, "set", counted(len(self._times), "deadline"), f"next look in {left:.3f} s")

    def _wait(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = at
        self._timer = loop.call_later(max(0.0, at - time.monotonic()), self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = time.monotonic()
        for item in [item for item, at in self._times.items() if at <= now]:
            self.unset(item)
            item.expire()
        if self._times:
            self._wait(loop, min(self._times.values()))


class deadline_scope:  # noqa: N801 - it is used like a function
    """Cancels what the task does in this context once the deadline has come, and raises `DeadlineExceededError`.

    What `asyncio.timeout` does, with one timer for many.
    """

    __slots__ = ("_cancelling", "_deadline", "_fired", "_task", "_timer")

    def __init__(self, timer: DeadlineTimer, deadline: Deadline) -> None:
        self._timer, self._deadline = timer, deadline
        self._fired = False

    def __enter__(self) -> None:
        self._deadline.check()
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._timer.set(self, self._deadline.at)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.unset(self)
        # 1. Our cancellation, and no other: it becomes the error.
        # 2. Another caller cancelled the task too: that counts more.
        # 3. The work ended in the same moment: its result, or its own error, counts.
        if self._fired and self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError):
            raise self._deadline.exceeded() from None

    def expire(self) -> None:
        """Cancel the task."""
        self._fired = True
        self._task.cancel()
