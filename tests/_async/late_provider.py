"""A provider over a service that keeps memories in this process, and does not answer when it is asked to store one."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from openmem._async.providers.emulated import AsyncEmulatedProvider
from openmem._config.registry import ProviderSpec
from openmem._emulation.backend import Backend, Entry, Hit
from openmem._io.vendors.call_deadline import time_left
from openmem.errors import NotFoundError, ProviderUnavailableError
from openmem.types import MemoryRecord, SearchMode

SPEC = ProviderSpec("late", "tests._async.late_provider:AsyncLateProvider", "tests._sync.late_provider:LateProvider")
SILENT = "the service never takes this"
LATE = "the service takes this when it is too late"
GONE = "the service goes away before this"
ERASED = "another client erases this"
UNTOLD = "the service takes this and does not say so"


class LateBackend(Backend):
    """Like an SDK, every request takes the time that is left, and none is made when there is none."""

    name: ClassVar[str] = "late"

    def __init__(self) -> None:
        self.kept: dict[str, Entry] = {}
        self.gone = False

    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        self.gone = record.content == GONE
        self._check_there()
        self._wait_for(record.content, SILENT, LATE)
        if record.content != LATE:
            time_left()
        handle = f"h{len(self.kept)}"
        record = record.model_copy(update={"id": record.id or handle})
        self.kept[handle] = Entry(handle, record, outdated)
        return self.kept[handle]

    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        time_left()
        if record.content == ERASED:
            self.kept.clear()
        if entry.handle not in self.kept:
            raise NotFoundError("it is gone")
        self.kept[entry.handle] = Entry(entry.handle, record, outdated)
        self._wait_for(record.content, UNTOLD)
        time_left()
        return self.kept[entry.handle]

    def remove(self, entry: Entry) -> None:
        time_left()
        self._check_there()
        self.kept.pop(entry.handle, None)

    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        return [entry for entry in self.kept.values() if entry.record.id == id]

    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        return [entry for entry in self.kept.values() if entry.record.user_id == user_id]

    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        return [Hit(entry, 1.0) for entry in self.entries(user_id, equal) if text in entry.record.content][:count]

    def users(self) -> Sequence[str]:
        return sorted({entry.record.user_id for entry in self.kept.values()})

    def _wait_for(self, content: str, *slow: str) -> None:
        if content in slow:
            threading.Event().wait(time_left())

    def _check_there(self) -> None:
        if self.gone:
            raise ProviderUnavailableError("the service cannot be reached")

    def ping(self) -> Mapping[str, Any]:
        return {"kept": len(self.kept)}


class AsyncLateProvider(AsyncEmulatedProvider):
    """One worker, so that a verb begins when the one before it has ended."""

    name: ClassVar[str] = "late"
    options: ClassVar[frozenset[str]] = frozenset({"workers"})

    def make_backend(self) -> Backend:
        return LateBackend()

    def dispose(self, backend: Backend) -> None:
        assert isinstance(backend, LateBackend)
        backend.kept.clear()
