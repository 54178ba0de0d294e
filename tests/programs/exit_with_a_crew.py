"""Ends while a call of a crew still runs, and another crew has nothing to do."""

from __future__ import annotations

import threading

from openmem._io.concurrency.executor import Crew


def call() -> None:
    """Begin before the end of the program and end after it."""
    begun.set()
    threading.main_thread().join()
    print("the call is done", flush=True)


begun = threading.Event()
idle, busy = Crew("idle"), Crew("busy")
idle.call(lambda: None, 1)
busy.call(call, 1)
begun.wait()
print("main is done", flush=True)
