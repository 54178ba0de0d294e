"""Gathering what comes at the same moment: who goes alone, who goes together, and who gets which error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from openmem import DeadlineExceededError, InvalidRequestError, OMPError, ProviderError
from openmem._io.concurrency.batching import MAX_BATCH, AsyncBatcher
from openmem._io.concurrency.call import Deadline
from openmem.errors import ProviderUnavailableError
from tests.promised_errors import fails

NEVER = Deadline()


class Backend:
    """Doubles numbers, one by one or together, when it is let go on; refuses those below zero."""

    def __init__(self, *, on: bool = True) -> None:
        self.batcher = AsyncBatcher[int, int](self.one, self.many, on=on)
        self.log: list[list[int]] = []
        self.deadlines: list[Deadline] = []
        self.open = asyncio.Event()
        self.cancelled = 0
        self.error: OMPError | None = None
        self.fault: Exception | None = None

    async def one(self, item: int, deadline: Deadline) -> int:
        return (await self._do([item], deadline))[0]

    async def many(self, items: Sequence[int], deadline: Deadline) -> Sequence[int]:
        if self.fault is not None:
            raise self.fault
        return await self._do(items, deadline)

    async def _do(self, items: Sequence[int], deadline: Deadline) -> list[int]:
        self.log.append([*items])
        self.deadlines.append(deadline)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        if min(items) < 0:
            raise ProviderError("refused")
        return [2 * item for item in items]

    def start(self, *items: int, deadline: Deadline = NEVER) -> list[asyncio.Task[int]]:
        return [asyncio.create_task(self.batcher.run(item, deadline)) for item in items]

    async def do(self, *items: int) -> list[int | BaseException]:
        """Start everything while nothing goes on, then let it go on."""
        tasks = self.start(*items)
        await settle()
        self.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_first_ones_go_alone_and_the_rest_together() -> None:
    backend = Backend()
    tasks = backend.start(*range(12))
    await settle()
    assert backend.log == [[0], [1]]
    backend.open.set()
    assert await asyncio.gather(*tasks) == [2 * number for number in range(12)]
    assert backend.log == [[0], [1], [*range(2, 12)]]


async def test_many_are_shared_out_and_no_group_is_too_large() -> None:
    backend = Backend()
    count = 5 * MAX_BATCH
    assert await backend.do(*range(count)) == [2 * number for number in range(count)]
    sizes = [len(items) for items in backend.log]
    assert max(sizes) == MAX_BATCH
    assert len(sizes) < 12
    assert sorted(item for items in backend.log for item in items) == [*range(count)]


async def test_switched_off_each_goes_at_once_by_itself() -> None:
    backend = Backend(on=False)
    tasks = backend.start(*range(5))
    await settle()
    assert backend.log == [[0], [1], [2], [3], [4]]
    backend.open.set()
    await asyncio.gather(*tasks)


async def test_bad_item_fails_alone() -> None:
    backend = Backend()
    done = await backend.do(1, 2, 3, -4, 5)
    assert done[:3] == [2, 4, 6]
    assert done[4] == 10
    assert isinstance(done[3], ProviderError)
    assert backend.log == [[1], [2], [3, -4, 5], [3], [-4], [5]]


@pytest.mark.parametrize("error", [ProviderUnavailableError("lost", details={"sqlstate": "08006"})])
async def test_unknown_outcome_is_not_tried_again_and_each_gets_an_error_of_its_own(error: OMPError) -> None:
    backend = Backend()
    tasks = backend.start(1, 2, 3, 4, 5)
    await settle()
    backend.error = error
    backend.open.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert backend.log == [[1], [2], [3, 4, 5]]
    assert all(type(found) is type(error) and str(found) == "lost" for found in done)
    mine = [found for found in done[2:] if isinstance(found, OMPError)]
    assert len({id(found) for found in mine}) == 3
    assert [found.details for found in mine] == [error.details] * 3


async def test_fault_in_the_program_reaches_every_waiter() -> None:
    backend = Backend()
    backend.fault = TypeError("a fault")
    done = await backend.do(1, 2, 3, 4)
    assert done[:2] == [2, 4]
    assert [type(found) for found in done[2:]] == [TypeError, TypeError]
    assert await backend.batcher.run(7, NEVER) == 14


async def test_cancelled_before_it_began_it_is_left_out() -> None:
    backend = Backend()
    tasks = backend.start(1, 2, 3, 4, 5)
    await settle()
    tasks[3].cancel()
    await settle()
    assert tasks[3].cancelled()
    backend.open.set()
    assert await asyncio.gather(*tasks[:3], tasks[4]) == [2, 4, 6, 10]
    assert backend.log == [[1], [2], [3, 5]]


async def into_group(backend: Backend) -> list[asyncio.Task[int]]:
    """Return three tasks that are under way together."""
    first = backend.start(1, 2)
    tasks = backend.start(3, 4, 5)
    await settle()
    first[0].cancel()
    await settle()
    first[1].cancel()
    await settle()
    assert backend.cancelled == 2
    backend.cancelled = 0
    assert backend.log[2:] == [[3, 4, 5]]
    return tasks


async def test_cancelled_under_way_it_leaves_at_once_and_the_others_go_on() -> None:
    backend = Backend()
    one, other, third = await into_group(backend)
    other.cancel()
    await settle()
    assert other.cancelled()
    assert not one.done()
    backend.open.set()
    assert [await one, await third] == [6, 10]
    assert backend.cancelled == 0


async def test_batch_without_a_waiter_is_cancelled_and_the_next_goes_on() -> None:
    backend = Backend()
    tasks = await into_group(backend)
    for task in tasks:
        task.cancel()
    await settle()
    assert all(task.cancelled() for task in tasks)
    assert backend.cancelled == 1
    backend.open.set()
    assert await asyncio.gather(*backend.start(6, 7, 8)) == [12, 14, 16]


async def test_group_has_the_latest_deadline_and_who_is_late_leaves() -> None:
    backend = Backend()
    first = backend.start(1, 2)
    late = backend.start(3, deadline=Deadline.after(0.05))
    last = Deadline.after(60.0)
    patient = backend.start(4, deadline=last)
    await settle()
    first[0].cancel()
    await settle()
    with fails(DeadlineExceededError, "0.05", within=2.0):
        await late[0]
    assert not patient[0].done()
    assert backend.deadlines[2] is last
    backend.open.set()
    assert await patient[0] == 8


async def test_waiter_that_is_late_before_it_began_is_left_out() -> None:
    backend = Backend()
    first = backend.start(1, 2)
    late = backend.start(3, deadline=Deadline.after(0.01))
    await settle()
    with fails(DeadlineExceededError, within=2.0):
        await late[0]
    backend.open.set()
    await asyncio.gather(*first)
    await settle()
    assert backend.log == [[1], [2]]


async def test_no_deadline_is_the_latest() -> None:
    backend = Backend()
    first = backend.start(1, 2)
    rest = [*backend.start(3, deadline=Deadline.after(60.0)), *backend.start(4)]
    await settle()
    backend.open.set()
    await asyncio.gather(*first, *rest)
    assert backend.deadlines[2].at is None


async def test_cancelled_first_one_lets_the_next_go_on() -> None:
    backend = Backend()
    tasks = backend.start(1, 2, 3, 4)
    await settle()
    tasks[0].cancel()
    await settle()
    assert backend.log == [[1], [2], [3, 4]]
    backend.open.set()
    assert await asyncio.gather(*tasks[1:]) == [4, 6, 8]


async def test_closing_waits_for_what_is_under_way_and_for_what_waits() -> None:
    backend = Backend()
    tasks = backend.start(*range(6))
    await settle()
    backend.error = InvalidRequestError("closed")
    backend.open.set()
    await settle()
    await backend.batcher.aclose()
    assert not backend.batcher._tasks
    assert all(type(task.exception()) is InvalidRequestError for task in tasks)
