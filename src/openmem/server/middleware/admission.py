"""Admission of requests: a bound on those that run at once, and none any more once the server was told to stop.

A request is in one of four cases when it arrives as a whole:

1. The server drains: it is refused, and told to come back when another process has taken over.
2. As many run as may: it is refused, and told to come back in a second.
3. Else it runs, and counts until its answer was taken.
4. While an import waits for its client's next lines it does not count: a slow client would hold one of the few slots.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from openmem._protocol.refusals import OverloadedError

RETRY_SECONDS: Final = 1.0
DRAIN_RETRY_SECONDS: Final = 5.0

T = TypeVar("T")


class Streams:
    """Counts the streams of a process, each of which asks the memory again and again.

    Args:
        most: The most that may be open.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    def __repr__(self) -> str:
        return f"<Streams [{self._open} of {self._most} open]>"

    @property
    def are_full(self) -> bool:
        """Whether there are as many as may be."""
        return self._open >= self._most

    def __enter__(self) -> None:
        self._open += 1

    def __exit__(self, *_: object) -> None:
        self._open -= 1


class Drain:
    """Whether this process is about to stop. Set from a signal handler."""

    def __init__(self) -> None:
        self.draining = False

    def __repr__(self) -> str:
        return f"<Drain [{'draining' if self.draining else 'open'}]>"

    def begin(self) -> None:
        """From now on nothing new is taken on."""
        self.draining = True


class Admission:
    """Bounds how many requests run at once. A request counts from when it is there as a whole.

    Args:
        concurrency: The most that may run; `None` for no limit.
        drain: Whether the process is about to stop.
    """

    def __init__(self, concurrency: int | None = None, drain: Drain | None = None) -> None:
        self._concurrency = concurrency
        self._drain = drain or Drain()
        self._running = 0

    def __repr__(self) -> str:
        most = "any number" if self._concurrency is None else self._concurrency
        return f"<Admission [{self._running} of {most} running | {'draining' if self._drain.draining else 'open'}]>"

    def check_open(self) -> None:
        """Raise `OverloadedError` if the process is about to stop."""
        if self._drain.draining:
            raise OverloadedError("the server is about to stop", retry_after=DRAIN_RETRY_SECONDS)

    @property
    def is_open(self) -> bool:
        """Whether the process takes on something new; else what lasts comes to its end, too."""
        return not self._drain.draining

    def acquire(self) -> None:
        """Count a request that begins, until `release`.

        Raises:
            OverloadedError: As many run as may.
        """
        if self._concurrency is not None and self._running >= self._concurrency:
            raise OverloadedError("the server has too many requests at once", retry_after=RETRY_SECONDS)
        self._running += 1

    def release(self) -> None:
        """Count it no more."""
        self._running -= 1

    def released_during(self, wait: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
        """Return a function that waits for a client, and does not count the request meanwhile."""

        async def waiting() -> T:
            self._running -= 1
            try:
                return await wait()
            finally:
                self._running += 1

        return waiting
