"""Worker threads for SQLite. docs/sqlite.md tells why they are not those of anyio or of `concurrent.futures`."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from openmem._io.state import counted, show_state

Function = Callable[[], object]

_executors: Final[weakref.WeakSet[ThreadExecutor]] = weakref.WeakSet()


class ThreadExecutor:
    """Threads that are started when they are needed, and end when they are shut down or the executor is dropped.

    Use it from one thread. A function that comes after the shutdown gets a thread of its own.

    Args:
        name: What to call the threads.
        wait_at_exit: Whether the process waits at exit for calls that still run, so that none is left half done.
    """

    def __init__(self, name: str, *, wait_at_exit: bool = True) -> None:
        self._name = name
        self._functions: SimpleQueue[Function | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._shut_down = False
        weakref.finalize(self, self._functions.put, None).atexit = False
        if wait_at_exit:
            _executors.add(self)

    def submit(self, function: Function, at_once: int) -> None:
        """Run a function, which must not raise.

        Args:
            function: The function.
            at_once: How many functions run now, this one included: there are as many threads as that was at most.
        """
        # 1. Shut down: a thread for this call alone.
        if self._shut_down:
            ThreadExecutor(self._name).submit(function, 1)  # dropped at once, so that its thread ends after the call
            return
        # 2. More at once than there are threads: one more.
        if at_once > len(self._threads):
            # A daemon, for else the process would wait for it even where it has nothing to do.
            thread = threading.Thread(target=_work, args=(self._functions,), name=self._name, daemon=True)
            thread.start()
            self._threads.append(thread)
        # 3. A thread is free, or will be: it takes the function from the queue.
        self._functions.put(function)

    def shutdown(self) -> None:
        """Let the threads end after the functions that they have, without waiting for them."""
        self._shut_down = True
        self._functions.put(None)

    def join(self, seconds: float | None = None) -> None:
        """Wait for threads that were shut down, at most some seconds for each."""
        for thread in self._threads:
            thread.join(seconds)

    def __repr__(self) -> str:
        state = "shut down" if self._shut_down else "open" if self._threads else "unused"
        # Of a queue that is shut down, the last item is the sign to end.
        waiting = max(0, self._functions.qsize() - self._shut_down)
        return show_state(self, state, counted(len(self._threads), "thread"), f"{waiting} waiting")


def _work(functions: SimpleQueue[Function | None]) -> None:
    while (function := functions.get()) is not None:
        function()
        del function  # what it holds must be free while nothing is to be done
    # The sign to end goes from thread to thread: one is enough for all of them.
    functions.put(None)  # for the next


@atexit.register
def _wait_at_exit() -> None:
    # All are told before any is waited for, so that they end at the same time.
    executors = [*_executors]
    for executor in executors:
        executor.shutdown()
    for executor in executors:
        executor.join()
