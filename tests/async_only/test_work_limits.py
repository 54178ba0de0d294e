"""The limit of what a verb does on a connection: it ends that at its deadline, or when the instance closes."""

from __future__ import annotations

import asyncio

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.running import Running, WorkLimit

FAR = Deadline.after(60.0)
SOON = 5.0


async def sleep_within(limit: WorkLimit, begun: asyncio.Event) -> None:
    with limit:
        begun.set()
        await asyncio.sleep(60.0)


async def start(limit: WorkLimit) -> asyncio.Task[None]:
    begun = asyncio.Event()
    task = asyncio.create_task(sleep_within(limit, begun))
    await begun.wait()
    return task


@pytest.mark.parametrize("seconds", [0.01, -1.0])
async def test_work_ends_at_its_deadline_even_if_that_was_before_it(seconds: float) -> None:
    running = Running()
    limit = WorkLimit(running, Deadline(FAR.at - 60.0 + seconds if FAR.at else None, seconds))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sleep_within(limit, asyncio.Event()), SOON)
    assert limit.expired
    assert not running.works


async def test_work_without_a_deadline_ends_when_the_instance_closes() -> None:
    running = Running()
    limits = [WorkLimit(running, Deadline()), WorkLimit(running, FAR)]
    tasks = [await start(limit) for limit in limits]
    await running.end()
    assert [type(task.exception()) for task in tasks] == [TimeoutError, TimeoutError]
    assert [limit.expired for limit in limits] == [True, True]
    assert not running.works


async def test_cancelling_by_another_counts_more() -> None:
    running = Running()
    limit = WorkLimit(running, FAR)
    task = await start(limit)
    limit.expire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not limit.expired


async def test_caller_that_is_cancelled_is_not_told_that_the_time_is_over() -> None:
    running = Running()
    limit = WorkLimit(running, FAR)
    task = await start(limit)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not limit.expired
    assert not running.works


async def test_work_that_ends_in_time_leaves_the_task_as_it_was() -> None:
    running, task = Running(), asyncio.current_task()
    assert task is not None
    limit = WorkLimit(running, FAR)
    with limit:
        await asyncio.sleep(0)
    assert (limit.expired, running.works, task.cancelling()) == (False, set(), 0)


async def test_error_of_the_work_counts_though_its_time_is_over() -> None:
    running = Running()
    limit = WorkLimit(running, FAR)

    async def fail() -> None:
        with limit:
            limit.expire()
            limit.expire()
            raise LookupError

    with pytest.raises(LookupError):
        await asyncio.create_task(fail())
    assert not limit.expired
