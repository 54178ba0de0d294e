"""Threads that call functions: as many as are needed, gone when nobody needs them, and no call cut off at exit."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from openmem._io.concurrency.executor import Crew

PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "exit_with_a_crew.py"
SOON = 5.0


def named(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON
    while not condition() and time.monotonic() < limit:
        threading.Event().wait(0.001)
    assert condition()


def hold(crew: Crew, count: int) -> threading.Event:
    """Keep some threads of a crew busy until the event is set, and return once they are."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def call() -> None:
        begun.release()
        gate.wait(SOON)

    for number in range(count):
        crew.call(call, number + 1)
    for _ in range(count):
        assert begun.acquire(timeout=SOON)
    return gate


def test_as_many_threads_are_started_as_calls_run_at_once() -> None:
    crew, done = Crew("crew-needed"), threading.Semaphore(0)
    assert named("crew-needed") == 0
    for _ in range(20):
        crew.call(done.release, 1)
        assert done.acquire(timeout=SOON)
    assert named("crew-needed") == 1
    hold(crew, 3).set()
    assert named("crew-needed") == 3
    crew.dismiss()


def test_dismissed_threads_do_what_they_were_given_and_end() -> None:
    crew, done = Crew("crew-dismissed"), threading.Semaphore(0)
    gate = hold(crew, 2)
    crew.call(done.release, 2)
    crew.dismiss()
    gate.set()
    crew.join()
    assert done.acquire(timeout=SOON)
    assert named("crew-dismissed") == 0


def test_thread_that_is_stuck_is_joined_no_longer_than_the_limit() -> None:
    crew = Crew("crew-stuck")
    gate = hold(crew, 1)
    crew.dismiss()
    crew.join(0.01)
    assert named("crew-stuck") == 1
    gate.set()
    crew.join()


def test_call_after_the_dismissal_gets_a_thread_that_ends_with_it() -> None:
    crew, done = Crew("crew-late"), threading.Semaphore(0)
    crew.call(done.release, 1)
    crew.dismiss()
    crew.join()
    crew.call(done.release, 1)
    for _ in range(2):
        assert done.acquire(timeout=SOON)
    until(lambda: named("crew-late") == 0)


def test_threads_of_a_dropped_crew_end_and_hold_nothing_meanwhile() -> None:
    crew = Crew("crew-dropped")
    hold(crew, 2).set()
    crew.call(lambda crew=crew: crew, 2)  # type: ignore[misc]
    del crew
    until(lambda: bool(gc.collect() + 1) and named("crew-dropped") == 0)


def test_process_ends_after_the_calls_that_run_and_not_for_idle_threads() -> None:
    done = subprocess.run([sys.executable, PROGRAM], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr, done.returncode) == ("main is done\nthe call is done\n", "", 0)
