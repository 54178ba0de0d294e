"""How much the server takes on at once, and that it takes on nothing more once it was told to stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from openmem._protocol.refusals import OverloadedError

RETRY_SECONDS: Final = 1.0
DRAIN_RETRY_SECONDS: Final = 5.0

T = TypeVar("T")


class Drain:
    """Whether this process is about to stop. Set from a signal handler."""

    def __init__(self) -> None:
        self.draining = False

    def begin(self) -> None:
        """From now on nothing new is taken on."""
        self.draining = True


class Admission:
    """Bounds how many requests run at once. A request counts from when it is there as a whole.

    Args:
        concurrency: How many may run; `None` for no limit.
        drain: Whether the process is about to stop.
    """

    def __init__(self, concurrency: int | None = None, drain: Drain | None = None) -> None:
        self._concurrency = concurrency
        self._drain = drain or Drain()
        self._running = 0

    def check_open(self) -> None:
        """Raise `OverloadedError` if the process is about to stop."""
        if self._drain.draining:
            raise OverloadedError("the server is about to stop", retry_after=DRAIN_RETRY_SECONDS)

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
