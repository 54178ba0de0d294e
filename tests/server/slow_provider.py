"""A provider over a service that takes as long for a write as the test says, and then finishes it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

from openmem import MemoryRecord
from openmem._async.providers.emulated import AsyncEmulatedProvider
from openmem._emulation.backend import Backend, Entry
from openmem.providers import ProviderSpec
from tests._async.late_provider import LateBackend

SPEC = ProviderSpec("slow", "tests.server.slow_provider:AsyncSlowProvider", None)


class Barrier:
    """Holds writes up while it is closed, and reads if it is told so; it is open at first."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.opened.set()
        self.reads = False

    def close(self, *, reads: bool = False) -> None:
        """Hold up what is to come."""
        self.reads = reads
        self.opened.clear()
        self.reached.clear()

    def hold(self) -> None:
        """Wait at the barrier."""
        self.reached.set()
        assert self.opened.wait(15)


class SlowBackend(LateBackend):
    """Every write waits at the barrier, then it is made."""

    name: ClassVar[str] = "slow"

    def __init__(self, barrier: Barrier) -> None:
        super().__init__()
        self._barrier = barrier

    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        self._barrier.hold()
        return super().insert(record, outdated=outdated)

    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        self._barrier.hold()
        return super().rewrite(entry, record, outdated=outdated)

    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        if self._barrier.reads:
            self._barrier.hold()
        return super().fetch(id, user_id)

    def remove(self, entry: Entry) -> None:
        self._barrier.hold()
        self.kept.pop(entry.handle, None)


class AsyncSlowProvider(AsyncEmulatedProvider):
    """Keeps memories in this process; `barrier` is the test's."""

    name: ClassVar[str] = "slow"
    options: ClassVar[frozenset[str]] = frozenset({"barrier", "workers"})

    def make_backend(self) -> Backend:
        barrier: Any = self.settings.options["barrier"]
        return SlowBackend(barrier)

    def dispose(self, backend: Backend) -> None:
        assert isinstance(backend, SlowBackend)
        backend.kept.clear()
