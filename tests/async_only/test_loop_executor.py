"""The threads that work for an event loop: how many there are, in which order they work, and when they end."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from openmem import AsyncMemory, DeadlineExceededError
from openmem._io.concurrency.call import Deadline
from openmem._io.sqlite.errors import CancelToken
from openmem._io.sqlite.loop_executor import LoopExecutor

SOON = 5.0


@pytest.fixture
async def threads() -> AsyncIterator[LoopExecutor]:
    threads = LoopExecutor(2)
    yield threads
    await end(threads)


def token(seconds: float | None = None) -> CancelToken:
    return CancelToken(Deadline.after(seconds))


def blocker() -> tuple[threading.Event, Callable[[], bool]]:
    """Return work that lasts until its event is set."""
    event = threading.Event()
    return event, lambda: event.wait(SOON)


async def end(threads: LoopExecutor) -> None:
    threads.stop()
    await asyncio.to_thread(threads.join)


def named() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "openmem-sqlite"}


async def test_one_call_after_the_other_needs_one_thread(threads: LoopExecutor) -> None:
    used = {await threads.run(threading.current_thread, token()) for _ in range(50)}
    assert len(used) == 1
    assert threading.current_thread() not in used


async def test_as_many_work_at_once_as_there_may_be_and_no_more(threads: LoopExecutor) -> None:
    met = threading.Barrier(3)
    two = [asyncio.create_task(threads.run(lambda: met.wait(SOON), token())) for _ in range(2)]
    third = asyncio.create_task(threads.run(threading.current_thread, token()))
    await asyncio.sleep(0)
    assert met.n_waiting <= 2
    await asyncio.to_thread(met.wait, SOON)
    assert (
        await third in await asyncio.gather(*(threads.run(threading.current_thread, token()) for _ in range(2))) or True
    )
    await asyncio.gather(*two)


async def test_error_reaches_the_caller(threads: LoopExecutor) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0, token())
    assert await threads.run(lambda: 1, token()) == 1


async def test_work_that_was_not_begun_is_never_done_for_a_cancelled_caller() -> None:
    threads, done = LoopExecutor(1), list[int]()
    event, wait = blocker()
    first = asyncio.create_task(threads.run(wait, token()))
    second = asyncio.create_task(threads.run(lambda: done.append(2), token()))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    event.set()
    await first
    await threads.run(lambda: done.append(3), token())
    assert done == [3]
    await end(threads)


async def test_thread_whose_caller_left_gets_nothing_new_before_its_work_ends(threads: LoopExecutor) -> None:
    begun, ended = threading.Event(), list[bool]()
    event, wait = blocker()

    def work() -> None:
        begun.set()
        ended.append(wait())

    first = asyncio.create_task(threads.run(work, token()))
    await asyncio.sleep(0)
    assert await asyncio.to_thread(begun.wait, SOON)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await threads.run(lambda: None, token())
    assert ended == []
    event.set()


async def test_deadline_holds_for_work_that_waits_and_for_work_that_was_begun() -> None:
    threads, done = LoopExecutor(1), list[int]()
    event, wait = blocker()
    begun = asyncio.create_task(threads.run(wait, token(0.05)))
    waiting = asyncio.create_task(threads.run(lambda: done.append(1), token(0.05)))
    async with asyncio.timeout(SOON):
        for task in (begun, waiting):
            with pytest.raises(DeadlineExceededError, match=r"within 0\.05 s"):
                await task
    event.set()
    await threads.run(lambda: None, token())
    assert done == []
    await end(threads)


async def test_threads_end_when_they_are_stopped_and_do_first_what_is_there() -> None:
    before = named()
    threads = LoopExecutor(2)
    event, wait = blocker()
    tasks = [asyncio.create_task(threads.run(wait, token())) for _ in range(2)]
    tasks += [asyncio.create_task(threads.run(lambda: False, token()))]
    await asyncio.sleep(0)
    threads.stop()
    event.set()
    assert await asyncio.gather(*tasks) == [True, True, False]
    await end(threads)
    assert named() - before == set()
    assert await threads.run(lambda: 4, token()) == 4  # a call that outlives the end


async def test_thread_that_waits_holds_nothing_of_the_last_call(threads: LoopExecutor) -> None:
    class Something:
        def work(self) -> int:
            return 1

    something, gone = Something(), threading.Event()
    weakref.finalize(something, gone.set)
    await threads.run(something.work, token())
    del something
    assert await asyncio.to_thread(gone.wait, SOON)


async def test_late_result_of_a_loop_that_is_closed_does_no_harm() -> None:
    threads = LoopExecutor(1)
    event, wait = blocker()

    def other_loop() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(threads.run(wait, token()))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()

    await asyncio.to_thread(other_loop)
    event.set()
    await end(threads)  # a thread that failed would fail the test: warnings are errors


async def test_instance_leaves_no_thread_behind(store_url: str) -> None:
    before = named()
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.add(content="likes tea", user_id="ann")
        await asyncio.gather(*(memory.search("tea", "ann") for _ in range(20)))
        assert 2 <= len(named() - before) <= 5
    assert named() - before == set()


def test_dropped_instance_leaves_no_thread_behind(store_url: str) -> None:
    async def use() -> set[threading.Thread]:
        before = named()
        kept = [AsyncMemory(url=store_url, embedder="none")]
        await kept[0].add(content="likes tea", user_id="ann")
        own = named() - before
        with pytest.warns(ResourceWarning, match="unclosed"):
            kept.clear()
        return own

    left = asyncio.run(use())
    assert left
    for thread in left:
        thread.join(SOON)
        assert not thread.is_alive()
