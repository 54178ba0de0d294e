"""Budgets for the memory of bodies: of those on their way, and of the values that they are parsed to.

A body is in one of four states:

1. On its way: its bytes count in `BodyBudget`, and it is the next to give way if it began before all others.
2. Complete: its bytes still count, as it waits to be parsed, and it gives way no more.
3. Parsed: the values of a large one count in `ParsedBudget`, until the request ends.
4. Given way: its bytes count no more, and its block ends in `OverloadedError`, wherever it waits.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from types import TracebackType
from typing import Final

from openmem._protocol.refusals import OverloadedError

BODY_BYTES: Final = 48 * 1024 * 1024
"""Bytes of bodies that are on their way, or wait to be parsed, in one process."""
PARSED_BYTES: Final = 64 * 1024 * 1024
"""Bytes of what is made of them, in one process."""
TURN_SECONDS: Final = 0.001
"""Seconds that the event loop waits for its turn while a thread works on a large body."""
_BYTES_PER_VALUE: Final = 96


class BodyBudget:
    """Counts the bytes of bodies that are not complete yet.

    A body that is sent quickly is complete before others make it give way; one that is sent slowly holds nothing for
    long.

    Args:
        limit: The most bytes at once.
    """

    def __init__(self, limit: int = BODY_BYTES) -> None:
        self._limit = self._left = limit
        self._readings: OrderedDict[Reading, None] = OrderedDict()  # those on their way, the oldest first

    def __repr__(self) -> str:
        return f"<BodyBudget [{self._limit - self._left} of {self._limit} bytes | {len(self._readings)} on their way]>"

    def reading(self) -> Reading:
        """Return a block in which a body is taken."""
        return Reading(self)

    def complete(self, reading: Reading) -> None:
        """Note a body that is there, and stays counted until its block ends: it gives way no more."""
        self._readings.pop(reading, None)

    def begin(self, reading: Reading) -> None:
        """Note a body that begins."""
        self._readings[reading] = None

    def end(self, reading: Reading) -> None:
        """Forget a body."""
        self._readings.pop(reading, None)
        self._left += reading.size
        reading.size = 0

    def take(self, count: int) -> None:
        """Count bytes that came; make others give way if there are too many."""
        self._left -= count
        # The one that grew may be the oldest, and gives way itself. If none is left, all bytes are of complete bodies,
        # which are parsed soon.
        while self._left < 0 and self._readings:
            oldest, _ = self._readings.popitem(last=False)
            self.end(oldest)
            oldest.give_way()


class Reading:
    """One body. Its block ends in `OverloadedError` if it gives way to others."""

    __slots__ = ("_budget", "_gave_way", "_task", "size")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._gave_way = False
        self.size = 0

    def grow(self, count: int) -> None:
        """Note that more of it came."""
        self.size += count
        self._budget.take(count)
        if self._gave_way:
            raise too_many_bodies()

    def complete(self) -> None:
        """Note that all of it came."""
        self._budget.complete(self)

    def give_way(self) -> None:
        """End the block, wherever it waits."""
        self._gave_way = True
        # 1. It waits for its client or for its turn: the task is woken by a cancellation, which `__exit__` takes back.
        # 2. It is the one that grew just now: `grow` raises.
        if self._task is not asyncio.current_task():
            self._task.cancel()

    def __enter__(self) -> Reading:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._budget.begin(self)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._budget.end(self)
        # A cancellation from elsewhere (the server stops) came on top if `uncancel` leaves some: that one goes on.
        if self._gave_way and exc_type is asyncio.CancelledError and self._task.uncancel() == 0:
            raise too_many_bodies()


class ParsedBudget:
    """Lets bodies be parsed, in turn, as long as what is made of all of them fits.

    A value takes a hundred times its bytes in JSON. One body alone is always let through. As long as there is one,
    threads take turns more often, so that the event loop gets its own soon.

    Args:
        limit: The most bytes at once.
    """

    def __init__(self, limit: int = PARSED_BYTES) -> None:
        self._limit = limit
        self._used = 0
        self._waiting = 0
        self._changed = asyncio.Condition()
        self._usual_turn = 0.0

    def __repr__(self) -> str:
        return f"<ParsedBudget [{self._used} of {self._limit} bytes | {self._waiting} waiting]>"

    async def take(self, body: bytes) -> int:
        """Wait until a body may be parsed; return what to give back."""
        size = min(self._limit, size_when_parsed(body))
        async with self._changed:
            self._waiting += 1
            try:
                await self._changed.wait_for(lambda: self._used + size <= self._limit)
            finally:
                self._waiting -= 1
            # The first of several sets the interval of threads, the last one sets it back.
            if not self._used:
                self._usual_turn = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual_turn, TURN_SECONDS))
            self._used += size
        return size

    async def give_back(self, size: int) -> None:
        """Give back what `take` returned."""
        async with self._changed:
            self._used -= size
            if not self._used:
                sys.setswitchinterval(self._usual_turn)
            self._changed.notify_all()


def size_when_parsed(body: bytes) -> int:
    """Return about how many bytes the values of a JSON text take: more than they do, not less than half."""
    return len(body) + _BYTES_PER_VALUE * sum(body.count(mark) for mark in (b",", b"[", b"{", b":"))


def too_many_bodies() -> OverloadedError:
    """Return the answer to a body that gave way to others."""
    return OverloadedError("the server has too many bodies on their way", retry_after=1.0)
