"""Threads that call functions, in half the time that `loop.run_in_executor` takes to hand one over."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

Function = Callable[[], object]

_crews: Final[weakref.WeakSet[Crew]] = weakref.WeakSet()


class Crew:
    """Threads that are started when they are needed, and end when they are dismissed or the crew is dropped.

    Use it from one thread. A call that comes after the dismissal gets a thread of its own.

    Args:
        name: What to call the threads.
        finish: Whether the process waits at exit for calls that still run, so that none is left half done.
    """

    def __init__(self, name: str, *, finish: bool = True) -> None:
        self._name = name
        self._calls: SimpleQueue[Function | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._dismissed = False
        weakref.finalize(self, self._calls.put, None).atexit = False
        if finish:
            _crews.add(self)

    def call(self, function: Function, at_once: int) -> None:
        """Have a function called, which must not raise.

        Args:
            function: The function.
            at_once: How many calls run now, this one included: there are as many threads as that was at most.
        """
        if self._dismissed:
            Crew(self._name).call(function, 1)  # dropped at once, so that its thread ends after the call
            return
        if at_once > len(self._threads):
            # A daemon, for else the process would wait for it even where it has nothing to do.
            thread = threading.Thread(target=_serve, args=(self._calls,), name=self._name, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._calls.put(function)

    def dismiss(self) -> None:
        """Let the threads end after the calls that they have; nobody is waited for."""
        self._dismissed = True
        self._calls.put(None)

    def join(self, seconds: float | None = None) -> None:
        """Wait for dismissed threads, at most some seconds for each."""
        for thread in self._threads:
            thread.join(seconds)


def _serve(calls: SimpleQueue[Function | None]) -> None:
    while (function := calls.get()) is not None:
        function()
        del function  # what it holds must be free while nothing is to be done
    calls.put(None)  # for the next


@atexit.register
def _finish() -> None:
    crews = [*_crews]
    for crew in crews:
        crew.dismiss()
    for crew in crews:
        crew.join()
