"""Locks by name, among the threads of a process: writers of one user take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from openmem._io.vendors.call_deadline import call_deadline


class WriterLocks:
    """One lock for each name in use, among the threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep others out for as long as the context lasts.

        Raises:
            DeadlineExceededError: The lock was not free in time.
        """
        deadline = call_deadline()
        left = deadline.remaining()
        with self._lock:
            # A lock lives as long as a caller uses it or waits for it: users come and go, and there may be millions.
            own, users = self._named.get(name, (threading.Lock(), 0))
            self._named[name] = (own, users + 1)
        taken = False
        try:
            # 1. Its turn came in time.
            # 2. It did not: the lock was never had, and is not released.
            taken = own.acquire(timeout=-1 if left is None else left)
            if not taken:
                raise deadline.exceeded()
            yield
        finally:
            if taken:
                own.release()
            self._leave(name)

    def _leave(self, name: str) -> None:
        with self._lock:
            own, users = self._named[name]
            if users == 1:
                del self._named[name]
            else:
                self._named[name] = (own, users - 1)
