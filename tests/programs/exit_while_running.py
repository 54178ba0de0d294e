"""Ends while a function of an executor still runs, and another executor has nothing to do."""

from __future__ import annotations

import threading

from openmem._io.concurrency.executor import ThreadExecutor


def call() -> None:
    """Begin before the end of the program and end after it."""
    begun.set()
    threading.main_thread().join()
    print("the call is done", flush=True)


begun = threading.Event()
idle, busy = ThreadExecutor("idle"), ThreadExecutor("busy")
idle.submit(lambda: None, 1)
busy.submit(call, 1)
begun.wait()
print("main is done", flush=True)
