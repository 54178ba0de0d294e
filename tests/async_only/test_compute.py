"""Computing beside the event loop with something that the caller uses again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from openmem._io.concurrency.primitives import async_compute_to_end


async def test_a_cancelled_caller_leaves_when_the_function_is_done() -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(10)
        ended.set()

    task = asyncio.create_task(async_compute_to_end(work))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_work_that_had_not_begun_when_its_caller_was_cancelled_never_does() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        assert go_on.wait(10)

    done: list[int] = []
    ahead = asyncio.create_task(async_compute_to_end(first))
    await asyncio.to_thread(begun.wait, 10)
    behind = asyncio.create_task(async_compute_to_end(done.append, 1))
    await asyncio.sleep(0)
    behind.cancel()
    with pytest.raises(asyncio.CancelledError):
        await behind
    go_on.set()
    await ahead
    await async_compute_to_end(done.append, 2)
    assert done == [2]


async def test_a_generator_can_be_closed_whatever_it_was_at() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def steps() -> Generator[int, None, None]:
        begun.set()
        assert go_on.wait(10)
        yield 1

    made = steps()

    async def use() -> None:
        try:
            await async_compute_to_end(next, made)
        finally:
            made.close()

    task = asyncio.create_task(use())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):  # and no ValueError: generator already executing
        await task


async def test_errors_and_results_come_back() -> None:
    assert await async_compute_to_end(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await async_compute_to_end(divmod, 1, 0)
