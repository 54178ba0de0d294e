"""Batching: items that arrive while others are under way wait, and go together in one call."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.deadlines import DeadlineTimer
from openmem._io.state import show_state
from openmem.errors import DeadlineExceededError, OMPError, ProviderUnavailableError

T = TypeVar("T")
A = TypeVar("A")

MAX_BATCH: Final = 256
"""Items that go together at most."""

_AT_ONCE: Final = 2  # with one, two callers in turns would wait for each other
_CLOSE_SECONDS: Final = 5.0


class AsyncBatcher(Generic[A, T]):
    """Batches items on one event loop. An item that finds nothing under way goes at once, alone.

    An item is in one of three states:

    1. *Alone under way*: fewer than two calls run, so it goes at once.
    2. *Waiting* in the queue. Its caller may leave, and nothing is done.
    3. *Under way in a batch*. When all its callers have left, the batch is cancelled; else it goes on for the others.

    A batch that fails for a reason of its items is done again, item by item, so that a bad one fails alone. Where
    the backend could not be reached, or it is unknown what it did, each gets the error.

    Args:
        one: Does one item.
        many: Does several items, all or none, and returns their results in order.
        on: Batch at all; without it, each item goes by itself, as many at once as come.
    """

    def __init__(
        self,
        one: Callable[[A, Deadline], Awaitable[T]],
        many: Callable[[Sequence[A], Deadline], Awaitable[Sequence[T]]],
        *,
        on: bool = True,
    ) -> None:
        self._one = one
        self._many = many
        self._on = on
        self._under_way = 0
        self._waiting: deque[_Waiter[A, T]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer = DeadlineTimer()

    async def run(self, item: A, deadline: Deadline) -> T:
        """Do an item and return its result.

        A caller that is cancelled or late leaves at once. What had not begun is not done then; what had begun for
        others too goes on for them.

        Raises:
            DeadlineExceededError: The time is used up.
            OMPError: What `one` or `many` raised.
        """
        if not self._on:
            return await self._one(item, deadline)
        # 1. Few are under way: at once, alone, without a task or a future.
        if self._under_way < _AT_ONCE:
            self._under_way += 1
            try:
                return await self._one(item, deadline)
            finally:
                self._under_way -= 1
                self._dispatch()
        # 2. It waits: the end of one that is under way takes it along.
        waiter: _Waiter[A, T] = _Waiter(item, deadline)
        self._waiting.append(waiter)
        self._timer.set(waiter, deadline.at)
        try:
            return await waiter.wait()
        finally:
            self._timer.unset(waiter)

    async def aclose(self) -> None:
        """Wait for what is under way. Call it when `one` and `many` refuse or end by themselves."""
        until = time.monotonic() + _CLOSE_SECONDS
        while self._tasks and time.monotonic() < until:
            await asyncio.wait(self._tasks, timeout=until - time.monotonic())
        for task in self._tasks:
            task.cancel()

    def __repr__(self) -> str:
        state = "off" if not self._on else "busy" if self._under_way else "idle"
        waiting = sum(not waiter.answer.done() for waiter in self._waiting)
        return show_state(self, state, f"{self._under_way} under way", f"{waiting} waiting")

    def _dispatch(self) -> None:
        while self._waiting and self._under_way < _AT_ONCE:
            # All that wait, up to the most; those whose callers left are passed over.
            batch: _Batch[A, T] = _Batch()
            while self._waiting and len(batch.waiters) < MAX_BATCH:
                waiter = self._waiting.popleft()
                if not waiter.answer.done():
                    waiter.batch = batch
                    batch.waiters.append(waiter)
            # None may be left: then nothing is under way for them.
            if batch.waiters:
                self._under_way += 1
                batch.left = len(batch.waiters)
                batch.task = asyncio.get_running_loop().create_task(self._do(batch))
                self._tasks.add(batch.task)
                batch.task.add_done_callback(self._tasks.discard)

    async def _do(self, batch: _Batch[A, T]) -> None:
        try:
            # 1. One: no batch is needed.
            if len(batch.waiters) == 1:
                await self._alone(batch.waiters[0])
            # 2. Several: together.
            else:
                await self._together(batch.waiters)
        except BaseException as error:
            # 3. None of them was answered: each gets an error of its own.
            for waiter in batch.waiters:
                waiter.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            batch.over = True
            self._under_way -= 1
            self._dispatch()

    async def _together(self, waiters: Sequence[_Waiter[A, T]]) -> None:
        try:
            results = await self._many([waiter.item for waiter in waiters], _latest(waiters))
        # 1. It is unknown what was done: doing each again might do it twice, and would take as long again.
        except (ProviderUnavailableError, DeadlineExceededError):
            raise
        except OMPError:
            # 2. One of them was bad, and nothing was done. Each is done by itself: that one fails, the others do not.
            for waiter in waiters:
                if not waiter.answer.done():
                    await self._alone(waiter)
        else:
            # 3. All were done.
            for waiter, result in zip(waiters, results, strict=True):
                waiter.succeed(result)

    async def _alone(self, waiter: _Waiter[A, T]) -> None:
        try:
            waiter.succeed(await self._one(waiter.item, waiter.deadline))
        except Exception as error:  # noqa: BLE001 - it belongs to the caller that waits
            waiter.fail(error)


class Batcher(Generic[A, T]):
    """The sync form batches nothing: its callers are threads, each with a connection of its own."""

    def __init__(
        self,
        one: Callable[[A, Deadline], T],
        many: Callable[[Sequence[A], Deadline], Sequence[T]],
        *,
        on: bool = True,
    ) -> None:
        self._one = one

    def run(self, item: A, deadline: Deadline) -> T:
        """Do an item and return its result."""
        return self._one(item, deadline)

    def close(self) -> None:
        """Nothing is ever left under way."""

    def __repr__(self) -> str:
        return show_state(self, "off")


class _Batch(Generic[A, T]):
    """Items that go together, and how many of their callers still wait."""

    def __init__(self) -> None:
        self.waiters: list[_Waiter[A, T]] = []
        self.left = 0
        self.over = False
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """Count a caller that left; a batch without callers is cancelled."""
        self.left -= 1
        # The last one leaves: no caller wants the results. A batch that is over has nothing to cancel.
        if not self.left and not self.over and self.task is not None:
            self.task.cancel()


class _Waiter(Generic[A, T]):
    """An item whose caller waits for the answer."""

    __slots__ = ("answer", "batch", "deadline", "item")

    def __init__(self, item: A, deadline: Deadline) -> None:
        self.item = item
        self.deadline = deadline
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.batch: _Batch[A, T] | None = None

    async def wait(self) -> T:
        """Return the answer, which may be that the time is over."""
        try:
            return await self.answer
        finally:
            if self.answer.done() and not self.answer.cancelled():
                self.answer.exception()  # seen, also by a caller that was cancelled at the same moment
            if self.batch is not None:
                self.batch.leave()

    def succeed(self, result: T) -> None:
        """Answer, if the caller still waits."""
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Answer with an error of the caller's own: callers put their marks on it."""
        if self.answer.done():
            return
        if isinstance(error, DeadlineExceededError):
            self.answer.set_exception(self.deadline.exceeded())
        elif isinstance(error, OMPError):
            # A copy: callers put the id of their request on it.
            own = copy.copy(error)
            own.__cause__, own.__suppress_context__ = error.__cause__, True
            self.answer.set_exception(own)
        elif isinstance(error, Exception):
            self.answer.set_exception(error)
        else:
            self.answer.cancel()

    def expire(self) -> None:
        """Answer that the time is over."""
        self.fail(self.deadline.exceeded())


def _latest(waiters: Sequence[_Waiter[A, T]]) -> Deadline:
    deadlines = [waiter.deadline for waiter in waiters]
    return max(deadlines, key=lambda deadline: float("inf") if deadline.at is None else deadline.at)
