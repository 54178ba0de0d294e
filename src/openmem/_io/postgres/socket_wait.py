"""Waiting on the socket of a database connection, and asking whether an idle one has something to read."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from functools import partial
from typing import Final

READ: Final = 1
WRITE: Final = 2

if hasattr(select, "poll"):
    _MASKS: Final = {
        READ: select.POLLIN,
        WRITE: select.POLLOUT,
        READ | WRITE: select.POLLIN | select.POLLOUT,
    }

    def readable_check(fileno: int) -> Callable[[], object]:
        """Return a function that says whether there is something to read. An idle connection with that has ended.

        One thread at a time may call it.
        """
        poll = select.poll()  # kept: to make one each time takes longer than to ask
        poll.register(fileno, select.POLLIN)
        return partial(poll.poll, 0)

    def wait_ready(fileno: int, wanted: int, until: float | None) -> int:
        """Return what the socket is ready for; nothing if the time `until` on the monotonic clock comes first."""
        poll = select.poll()
        poll.register(fileno, _MASKS[wanted])
        events = poll.poll(None if until is None else max(0.0, until - time.monotonic()) * 1000)
        if not events:
            return 0
        seen = events[0][1]
        # An error is news to be read, and to a writer it is a reason to find out by writing.
        return (READ if seen & ~select.POLLOUT else 0) | (WRITE if seen & ~select.POLLIN else 0)

else:  # Windows

    def readable_check(fileno: int) -> Callable[[], object]:
        """Return a function that says whether there is something to read. An idle connection with that has ended."""
        return partial(wait_ready, fileno, READ, 0.0)

    def wait_ready(fileno: int, wanted: int, until: float | None) -> int:
        """Return what the socket is ready for; nothing if the time `until` on the monotonic clock comes first."""
        left = None if until is None else max(0.0, until - time.monotonic())
        reading = [fileno] if wanted & READ else []
        writing = [fileno] if wanted & WRITE else []
        read, write, failed = select.select(reading, writing, [fileno], left)
        return (READ if read or failed else 0) | (WRITE if write else 0)
