"""Doing as one what comes at the same moment: what arrives while others are under way waits and goes with the next."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from openmem._io.concurrency.call import Deadline
from openmem.errors import DeadlineExceededError, OMPError, ProviderUnavailableError

T = TypeVar("T")
A = TypeVar("A")

MOST: Final = 256
"""Items that go together at most."""

_AT_ONCE: Final = 2  # with one, two callers in turns would wait for each other
_CLOSE_SECONDS: Final = 5.0


class AsyncGroups(Generic[A, T]):
    """Gathers items on one event loop. Who finds nothing under way goes at once, alone, and waits for nobody.

    A group that fails for a reason of its items is done anew, each item by itself, so that a bad one fails alone.
    Where the backend could not be reached, or nobody can know what it did, each gets the error.

    Args:
        one: Does one item.
        many: Does several items, all or none, and returns their results in order.
        on: Gather at all; without it, each item goes by itself, as many at once as come.
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
        self._waiting: deque[_Place[A, T]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, item: A, deadline: Deadline) -> T:
        """Do an item and return its result.

        Whoever is cancelled or late leaves at once. What had not begun is not done then; what had begun for
        others too goes on for them.

        Raises:
            DeadlineExceededError: The time is used up.
            OMPError: What `one` or `many` raised.
        """
        if not self._on:
            return await self._one(item, deadline)
        if self._under_way < _AT_ONCE:
            self._under_way += 1
            try:
                return await self._one(item, deadline)
            finally:
                self._under_way -= 1
                self._go_on()
        place: _Place[A, T] = _Place(item, deadline)
        self._waiting.append(place)
        return await place.wait()

    async def aclose(self) -> None:
        """Wait for what is under way. Call it when `one` and `many` refuse or end by themselves."""
        until = time.monotonic() + _CLOSE_SECONDS
        while self._tasks and time.monotonic() < until:
            await asyncio.wait(self._tasks, timeout=until - time.monotonic())
        for task in self._tasks:
            task.cancel()

    def _go_on(self) -> None:
        while self._waiting and self._under_way < _AT_ONCE:
            group: _Group[A, T] = _Group()
            while self._waiting and len(group.places) < MOST:
                place = self._waiting.popleft()
                if not place.answer.done():
                    place.group = group
                    group.places.append(place)
            if group.places:
                self._under_way += 1
                group.left = len(group.places)
                group.task = asyncio.get_running_loop().create_task(self._do(group))
                self._tasks.add(group.task)
                group.task.add_done_callback(self._tasks.discard)

    async def _do(self, group: _Group[A, T]) -> None:
        try:
            if len(group.places) == 1:
                await self._alone(group.places[0])
            else:
                await self._together(group.places)
        except BaseException as error:
            for place in group.places:
                place.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            group.over = True
            self._under_way -= 1
            self._go_on()

    async def _together(self, places: Sequence[_Place[A, T]]) -> None:
        try:
            results = await self._many([place.item for place in places], _latest(places))
        except (ProviderUnavailableError, DeadlineExceededError):
            raise
        except OMPError:
            for place in places:
                if not place.answer.done():
                    await self._alone(place)
        else:
            for place, result in zip(places, results, strict=True):
                place.succeed(result)

    async def _alone(self, place: _Place[A, T]) -> None:
        try:
            place.succeed(await self._one(place.item, place.deadline))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever waits for the place
            place.fail(error)


class Groups(Generic[A, T]):
    """The sync form gathers nothing: its callers are threads, each with a connection of its own."""

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


class _Group(Generic[A, T]):
    """Places that go together, and how many of them somebody still waits at."""

    def __init__(self) -> None:
        self.places: list[_Place[A, T]] = []
        self.left = 0
        self.over = False
        self.task: asyncio.Task[None] | None = None

    def leave(self) -> None:
        """Somebody waits no longer; what nobody waits for is cancelled."""
        self.left -= 1
        if not self.left and not self.over and self.task is not None:
            self.task.cancel()


class _Place(Generic[A, T]):
    """An item whose caller waits for the answer."""

    __slots__ = ("answer", "deadline", "group", "item")

    def __init__(self, item: A, deadline: Deadline) -> None:
        self.item = item
        self.deadline = deadline
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.group: _Group[A, T] | None = None

    async def wait(self) -> T:
        """Return the answer, unless the deadline comes first."""
        expiry = None
        if self.deadline.at is not None:
            left = self.deadline.at - time.monotonic()
            expiry = asyncio.get_running_loop().call_later(left, self._expire)
        try:
            return await self.answer
        finally:
            if expiry is not None:
                expiry.cancel()
            if self.answer.done() and not self.answer.cancelled():
                self.answer.exception()  # seen, also by a caller that was cancelled at the same moment
            if self.group is not None:
                self.group.leave()

    def succeed(self, result: T) -> None:
        """Answer, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Answer with an error of the caller's own: callers put their marks on it."""
        if self.answer.done():
            return
        if isinstance(error, DeadlineExceededError):
            self.answer.set_exception(self.deadline.exceeded())
        elif isinstance(error, OMPError):
            own = copy.copy(error)
            own.__cause__, own.__suppress_context__ = error.__cause__, True
            self.answer.set_exception(own)
        elif isinstance(error, Exception):
            self.answer.set_exception(error)
        else:
            self.answer.cancel()

    def _expire(self) -> None:
        self.fail(self.deadline.exceeded())


def _latest(places: Sequence[_Place[A, T]]) -> Deadline:
    deadlines = [place.deadline for place in places]
    return max(deadlines, key=lambda deadline: float("inf") if deadline.at is None else deadline.at)
