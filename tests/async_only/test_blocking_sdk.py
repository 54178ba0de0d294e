"""Blocking SDKs beside an event loop: it is never blocked, a caller never waits for what it gave up."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.vendors.blocking_sdk import ORPHAN, AsyncBlockingClient, BlockingClient
from openmem._io.vendors.call_deadline import time_left
from openmem._io.vendors.writer_locks import WriterLocks
from openmem.errors import DeadlineExceededError

SOON = 5.0


class Client:
    """A client whose calls last until the gate opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.calls = 0
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def slow(self) -> str:
        with self._lock:
            self.calls += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.gate.wait(SOON)
        with self._lock:
            self.at_once -= 1
        return "done"


class Place:
    """Counts what is made and let go of."""

    def __init__(self) -> None:
        self.client = Client()
        self.made: list[int] = []
        self.gone: list[int] = []

    def make(self) -> Client:
        self.made.append(threading.get_ident())
        return self.client

    def dispose(self, client: Client) -> None:
        self.gone.append(threading.get_ident())


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.client.gate.set()


def sdk_of(place: Place, workers: int = 4) -> AsyncBlockingClient[Client]:
    return AsyncBlockingClient(place.make, place.dispose, workers, "AsyncMemory")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():  # noqa: ASYNC110 - other threads make it true
            await asyncio.sleep(0.001)


async def test_client_is_made_once_by_the_first_call_and_in_a_worker(place: Place) -> None:
    sdk = sdk_of(place, workers=8)
    assert place.made == []
    results = await asyncio.gather(*(sdk.run(lambda client: id(client), Deadline()) for _ in range(8)))
    assert set(results) == {id(place.client)}
    assert len(place.made) == 1
    assert place.made[0] != threading.get_ident()
    await sdk.aclose()
    assert len(place.gone) == 1
    assert place.gone[0] != threading.get_ident()


async def test_client_that_could_not_be_made_is_tried_again(place: Place) -> None:
    attempts: list[int] = []

    def make() -> Client:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("not yet")
        return place.make()

    sdk = AsyncBlockingClient(make, place.dispose, 2, "AsyncMemory")
    with pytest.raises(ConnectionError):
        await sdk.run(lambda client: 1, Deadline())
    assert await sdk.run(lambda client: 2, Deadline()) == 2
    await sdk.aclose()


async def test_loop_turns_while_many_slow_calls_run(place: Place) -> None:
    sdk = sdk_of(place, workers=32)
    tasks = [asyncio.create_task(sdk.run(Client.slow, Deadline())) for _ in range(32)]
    await until(lambda: place.client.at_once == 32)
    lags = []
    for _ in range(30):
        before = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - before - 0.01)
    place.client.gate.set()
    assert await asyncio.gather(*tasks) == ["done"] * 32
    assert sorted(lags)[len(lags) // 2] < 0.02
    await sdk.aclose()


async def test_calls_beyond_the_workers_wait_for_their_turn(place: Place) -> None:
    sdk = sdk_of(place, workers=3)
    tasks = [asyncio.create_task(sdk.run(Client.slow, Deadline())) for _ in range(10)]
    await until(lambda: place.client.at_once == 3)
    await asyncio.sleep(0)
    assert place.client.calls == 3
    place.client.gate.set()
    assert await asyncio.gather(*tasks) == ["done"] * 10
    assert place.client.most == 3
    await sdk.aclose()


async def test_cancelled_caller_leaves_at_once_and_the_late_result_is_dropped(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "openmem.shim")
    sdk = sdk_of(place)
    task = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: place.client.calls == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert place.client.at_once == 1  # it goes on, and no caller waited for it
    assert caplog.messages == []
    place.client.gate.set()
    await until(lambda: caplog.messages == [ORPHAN])
    assert await sdk.run(lambda client: "next", Deadline()) == "next"
    assert caplog.messages == [ORPHAN]
    await sdk.aclose()


async def test_orphans_keep_their_places_until_they_end(place: Place) -> None:
    sdk = sdk_of(place, workers=2)
    for _ in range(2):
        task = asyncio.create_task(sdk.run(Client.slow, Deadline()))
        calls = place.client.calls
        await until(lambda: place.client.calls == calls + 1)  # noqa: B023 - used up within the round
        task.cancel()
        await asyncio.wait({task})
    third = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: repr(sdk) == "<AsyncBlockingClient open, 2 of 2 workers busy, 1 waiting>")
    assert place.client.calls == 2
    place.client.gate.set()
    assert await third == "done"
    await sdk.aclose()


async def test_caller_cancelled_in_the_queue_never_reaches_the_client(place: Place) -> None:
    sdk = sdk_of(place, workers=1)
    first = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: place.client.calls == 1)
    waiting = [asyncio.create_task(sdk.run(Client.slow, Deadline())) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert repr(sdk) == "<AsyncBlockingClient open, 1 of 1 workers busy, 0 waiting>"
    place.client.gate.set()
    assert await first == "done"
    assert await sdk.run(lambda client: client.calls, Deadline()) == 1
    await sdk.aclose()


async def test_caller_cancelled_at_the_moment_of_its_turn_never_reaches_the_client(place: Place) -> None:
    sdk = sdk_of(place, workers=1)
    first = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: place.client.calls == 1)
    second = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: "1 waiting" in repr(sdk))
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    place.client.gate.set()
    end = time.monotonic() + SOON
    while not ready and time.monotonic() < end:  # the loop learns of both together
        time.sleep(0.001)  # noqa: ASYNC251
    second.cancel()
    await asyncio.wait({first, second})
    assert second.cancelled()
    assert await sdk.run(lambda client: client.calls, Deadline()) == 1
    await sdk.aclose()


@pytest.mark.parametrize("rounds", range(5))
async def test_call_cancelled_at_any_moment_gives_its_place_back(place: Place, rounds: int) -> None:
    sdk = sdk_of(place, workers=1)
    place.client.gate.set()
    for _ in range(20):
        task = asyncio.create_task(sdk.run(Client.slow, Deadline()))
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    async with asyncio.timeout(SOON):
        assert await sdk.run(lambda client: "free", Deadline()) == "free"
    await sdk.aclose()


async def test_deadline_ends_the_call_and_the_wait_for_a_turn(place: Place) -> None:
    sdk = sdk_of(place, workers=1)
    running = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: place.client.calls == 1)
    with pytest.raises(DeadlineExceededError, match=r"within 0\.05 s"):
        await sdk.run(Client.slow, Deadline.after(0.05))
    assert place.client.calls == 1
    place.client.gate.set()
    await running
    place.client.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await sdk.run(Client.slow, Deadline.after(0.05))
    place.client.gate.set()
    await sdk.aclose()


async def test_call_that_is_done_is_held_by_nothing_until_its_deadline(place: Place) -> None:
    class Something:
        def work(self, client: Client) -> int:
            return 1

    sdk, something, gone = sdk_of(place), Something(), threading.Event()
    weakref.finalize(something, gone.set)
    await sdk.run(something.work, Deadline.after(60))
    del something
    assert await asyncio.to_thread(gone.wait, SOON)
    await sdk.aclose()


async def test_worker_knows_the_deadline_of_its_call_and_the_callers_variables(place: Place) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")
    sdk = sdk_of(place)
    left, value = await sdk.run(lambda client: (time_left(), variable.get()), Deadline.after(10))
    assert left is not None
    assert 5 < left <= 10
    assert value == "mine"
    assert await sdk.run(lambda client: time_left(), Deadline()) is None
    await sdk.aclose()


async def test_close_does_not_wait_for_a_stuck_call_whose_end_lets_go(place: Place) -> None:
    sdk = sdk_of(place)
    task = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: place.client.calls == 1)
    task.cancel()
    await asyncio.wait({task})
    async with asyncio.timeout(SOON):
        await sdk.aclose()
        await sdk.aclose()
    assert place.gone == []
    place.client.gate.set()
    await until(lambda: len(place.gone) == 1)
    with pytest.raises(RuntimeError, match="AsyncMemory is closed"):
        await sdk.run(Client.slow, Deadline())


async def test_close_refuses_at_once_what_still_waits_for_a_turn(place: Place) -> None:
    sdk = sdk_of(place, workers=1)
    running = asyncio.create_task(sdk.run(Client.slow, Deadline()))
    await until(lambda: place.client.calls == 1)
    waiting = [asyncio.create_task(sdk.run(Client.slow, Deadline())) for _ in range(3)]
    await until(lambda: "3 waiting" in repr(sdk))
    closing = asyncio.create_task(sdk.aclose())
    for task in waiting:
        with pytest.raises(RuntimeError, match="AsyncMemory is closed"):
            await task
    assert not running.done()
    place.client.gate.set()
    await closing
    assert (await running, place.client.calls, len(place.gone)) == ("done", 1, 1)


async def test_closing_what_was_never_used_makes_nothing(place: Place) -> None:
    sdk = sdk_of(place)
    await sdk.aclose()
    assert (place.made, place.gone) == ([], [])


def test_threads_end_with_their_loop(place: Place) -> None:
    before = threading.active_count()

    async def use() -> None:
        sdk = sdk_of(place, workers=16)
        place.client.gate.set()
        await asyncio.gather(*(sdk.run(Client.slow, Deadline()) for _ in range(64)))
        await sdk.aclose()

    asyncio.run(use())
    limit = time.monotonic() + SOON
    while threading.active_count() > before and time.monotonic() < limit:
        threading.Event().wait(0.005)
    assert threading.active_count() <= before


def test_other_loop_is_refused_before_the_client_is_asked(place: Place) -> None:
    sdk = sdk_of(place)
    place.client.gate.set()
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(sdk.run(Client.slow, Deadline()))
        with pytest.raises(RuntimeError, match="bound to a different event loop"):
            other.run(sdk.run(Client.slow, Deadline()))
        assert place.client.calls == 1
        one.run(sdk.aclose())


async def test_relayed_progress_is_called_on_the_loop_in_order(place: Place) -> None:
    sdk = sdk_of(place)
    seen: list[tuple[int, int]] = []
    report = sdk.call_on_loop(lambda number: seen.append((number, threading.get_ident())))

    def work(client: Client) -> None:
        for number in range(50):
            report(number)

    await sdk.run(work, Deadline())
    assert seen == [(number, threading.get_ident()) for number in range(50)]
    await sdk.aclose()


def test_sync_form_is_a_plain_call(place: Place) -> None:
    sdk = BlockingClient(place.make, place.dispose, 1, "Memory")
    assert sdk.run(lambda client: threading.get_ident(), Deadline()) == threading.get_ident()
    with pytest.raises(DeadlineExceededError):
        sdk.run(Client.slow, Deadline.after(1e-9))
    sdk.close()
    sdk.close()
    assert (len(place.made), len(place.gone)) == (1, 1)
    with pytest.raises(RuntimeError, match="Memory is closed"):
        sdk.run(Client.slow, Deadline())


def test_fork_starts_without_the_old_client(place: Place) -> None:
    sdk = BlockingClient(place.make, place.dispose, 1, "Memory")
    sdk.run(id, Deadline())
    sdk.forked()
    sdk.run(id, Deadline())
    assert len(place.made) == 2
    sdk.close()
    assert len(place.gone) == 1


def test_writers_of_one_name_take_turns_and_names_do_not_pile_up() -> None:
    locks = WriterLocks()
    inside: list[str] = []
    worst: list[int] = []

    def write(name: str) -> None:
        for _ in range(200):
            with locks.hold(name):
                inside.append(name)
                worst.append(inside.count(name))
                inside.remove(name)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("ann", "ann", "bob", "ann")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(worst) == 1
    assert locks._named == {}
