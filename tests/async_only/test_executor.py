"""Threads that call functions: as many as are needed, gone when no call needs them, and no call cut off at exit."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from openmem._io.concurrency.executor import ThreadExecutor

PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "exit_while_running.py"
SOON = 5.0


def named(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON
    while not condition() and time.monotonic() < limit:
        threading.Event().wait(0.001)
    assert condition()


def hold(executor: ThreadExecutor, count: int) -> threading.Event:
    """Keep some threads of a executor busy until the event is set, and return once they are."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def call() -> None:
        begun.release()
        gate.wait(SOON)

    for number in range(count):
        executor.submit(call, number + 1)
    for _ in range(count):
        assert begun.acquire(timeout=SOON)
    return gate


def test_as_many_threads_are_started_as_calls_run_at_once() -> None:
    executor, done = ThreadExecutor("executor-needed"), threading.Semaphore(0)
    assert named("executor-needed") == 0
    for _ in range(20):
        executor.submit(done.release, 1)
        assert done.acquire(timeout=SOON)
    assert named("executor-needed") == 1
    hold(executor, 3).set()
    assert named("executor-needed") == 3
    executor.shutdown()


def test_shut_down_threads_do_what_they_were_given_and_end() -> None:
    executor, done = ThreadExecutor("executor-shut-down"), threading.Semaphore(0)
    gate = hold(executor, 2)
    executor.submit(done.release, 2)
    executor.shutdown()
    gate.set()
    executor.join()
    assert done.acquire(timeout=SOON)
    assert named("executor-shut-down") == 0


def test_thread_that_is_stuck_is_joined_no_longer_than_the_limit() -> None:
    executor = ThreadExecutor("executor-stuck")
    gate = hold(executor, 1)
    executor.shutdown()
    executor.join(0.01)
    assert named("executor-stuck") == 1
    gate.set()
    executor.join()


def test_call_after_the_shutdown_gets_a_thread_that_ends_with_it() -> None:
    executor, done = ThreadExecutor("executor-late"), threading.Semaphore(0)
    executor.submit(done.release, 1)
    executor.shutdown()
    executor.join()
    executor.submit(done.release, 1)
    for _ in range(2):
        assert done.acquire(timeout=SOON)
    until(lambda: named("executor-late") == 0)


def test_threads_of_a_dropped_executor_end_and_hold_nothing_meanwhile() -> None:
    executor = ThreadExecutor("executor-dropped")
    hold(executor, 2).set()
    executor.submit(lambda executor=executor: executor, 2)  # type: ignore[misc]
    del executor
    until(lambda: bool(gc.collect() + 1) and named("executor-dropped") == 0)


def test_process_ends_after_the_calls_that_run_and_not_for_idle_threads() -> None:
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr, done.returncode) == ("main is done\nthe call is done\n", "", 0)
