"""Deadlines on an event loop: who is late is told so at once, who is in time is left alone, and one timer is enough."""

from __future__ import annotations

import asyncio
import time

import pytest

from openmem import DeadlineExceededError
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.deadlines import DeadlineTimer, deadline_scope

SOON = 5.0


class Sleeper:
    """Is told when its time is over."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    def expire(self) -> None:
        self.told.set()


async def told(*sleepers: Sleeper) -> None:
    async with asyncio.timeout(SOON):
        for sleeper in sleepers:
            await sleeper.told.wait()


def timers() -> int:
    """Return how many timers of timer the loop has that were not cancelled."""
    loop = asyncio.get_running_loop()
    scheduled = loop._scheduled  # type: ignore[attr-defined]
    return sum("DeadlineTimer" in repr(handle) and not handle.cancelled() for handle in scheduled)


async def test_late_ones_are_told_in_whatever_order_they_were_set() -> None:
    timer, sleepers = DeadlineTimer(), [Sleeper() for _ in range(4)]
    now = time.monotonic()
    for sleeper, seconds in zip(sleepers, (0.06, 0.02, 60.0, 0.04), strict=True):
        timer.set(sleeper, now + seconds)
    await told(sleepers[0], sleepers[1], sleepers[3])
    assert not sleepers[2].told.is_set()
    timer.unset(sleepers[2])


async def test_expiry_is_never_told_too_early() -> None:
    timer, sleeper = DeadlineTimer(), Sleeper()
    at = time.monotonic() + 0.05
    timer.set(Sleeper(), at - 0.04)
    timer.set(sleeper, at)
    await told(sleeper)
    assert time.monotonic() >= at


async def test_waiter_that_is_in_time_is_not_told() -> None:
    timer, early, late = DeadlineTimer(), Sleeper(), Sleeper()
    timer.set(early, time.monotonic() + 0.02)
    timer.set(late, time.monotonic() + 0.03)
    timer.unset(early)
    await told(late)
    assert not early.told.is_set()


async def test_item_that_is_late_already_expires_at_once() -> None:
    timer, sleeper = DeadlineTimer(), Sleeper()
    timer.set(sleeper, time.monotonic() - 1.0)
    await told(sleeper)


async def test_one_timer_serves_all_and_none_is_left_without_need() -> None:
    timer = DeadlineTimer()
    first, second = Sleeper(), Sleeper()
    timer.set(first, time.monotonic() + 0.01)
    for _ in range(1_000):
        sleeper = Sleeper()
        timer.set(sleeper, time.monotonic() + 30.0)
        timer.unset(sleeper)
    assert timers() == 1
    timer.set(second, time.monotonic() + 0.005)
    assert timers() == 1
    await told(first, second)
    assert timers() == 0


def test_timer_goes_on_with_another_loop() -> None:
    timer = DeadlineTimer()

    async def leave() -> None:
        sleeper = Sleeper()
        timer.set(sleeper, time.monotonic() + 0.01)
        timer.unset(sleeper)

    async def ring() -> None:
        sleeper = Sleeper()
        timer.set(sleeper, time.monotonic() + 0.02)
        await told(sleeper)

    asyncio.run(leave())
    asyncio.run(ring())


async def forever() -> None:
    await asyncio.Event().wait()


async def test_limit_ends_what_takes_too_long() -> None:
    with (
        pytest.raises(DeadlineExceededError, match=r"within 0\.02 s"),
        deadline_scope(DeadlineTimer(), Deadline.after(0.02)),
    ):
        await forever()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_limit_does_not_reach_beyond_its_context() -> None:
    timer, sleeper = DeadlineTimer(), Sleeper()
    with deadline_scope(timer, Deadline.after(0.02)):
        await asyncio.sleep(0)
    timer.set(sleeper, time.monotonic() + 0.04)
    await told(sleeper)


async def test_limit_that_is_over_lets_nothing_begin() -> None:
    begun = []
    with pytest.raises(DeadlineExceededError), deadline_scope(DeadlineTimer(), Deadline(0.0, 1.0)):
        begun.append(1)
    assert begun == []


async def test_limit_lets_results_and_errors_pass() -> None:
    for deadline in (Deadline(), Deadline.after(SOON)):
        timer = DeadlineTimer()
        with deadline_scope(timer, deadline):
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError, match="of its own"), deadline_scope(timer, deadline):
            raise TimeoutError("of its own")


async def test_limit_leaves_the_cancelling_of_others_alone() -> None:
    async def work() -> None:
        with deadline_scope(DeadlineTimer(), Deadline.after(SOON)):
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inner_and_outer_limits_are_told_apart() -> None:
    timer = DeadlineTimer()
    with deadline_scope(timer, Deadline.after(SOON)):
        with pytest.raises(DeadlineExceededError, match=r"within 0\.02 s"), deadline_scope(timer, Deadline.after(0.02)):
            await forever()
        await asyncio.sleep(0)
    outer, inner = deadline_scope(timer, Deadline.after(0.03)), deadline_scope(timer, Deadline.after(SOON))
    with pytest.raises(DeadlineExceededError, match=r"within 0\.03 s"), outer, inner:
        await forever()
