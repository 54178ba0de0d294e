"""A service of our own for the rules over backends: it keeps memories in a dictionary, and says what it was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Backend, Entry, Hit, Task
from openmem._model.requests import Draft
from openmem.errors import OMPError
from openmem.types import UTC, MemoryRecord, SearchMode

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def record(id_: str, content: str = "likes tea", **fields: Any) -> MemoryRecord:
    given: dict[str, Any] = {"user_id": "ann", "created_at": NOW - 10 * DAY, **fields}
    return MemoryRecord(id=id_, content=content, **given)


def draft(content: str = "likes tea", **fields: Any) -> Draft:
    return Draft(content, **{"user_id": "ann", **fields})


class KeptBackend(Backend):
    """A service that finds a memory for a text that it holds.

    Args:
        records: What it has from the start.
        troubles: Errors by content: what it raises instead of storing such a memory.
    """

    name: ClassVar[str] = "kept"

    def __init__(self, *records: MemoryRecord, troubles: Mapping[str, OMPError] | None = None) -> None:
        self.kept: dict[str, Entry] = {}
        self.asked: list[Any] = []
        self.troubles = dict(troubles or {})
        self.dead = False
        for one in records:
            self.kept[f"h{len(self.kept)}"] = Entry(f"h{len(self.kept)}", one)
        self.outdate(*(old for one in records for old in one.supersedes or ()))

    def outdate(self, *ids: str) -> None:
        for handle, entry in self.kept.items():
            if entry.record.id in ids:
                self.kept[handle] = Entry(handle, entry.record, True)

    @property
    def contents(self) -> dict[str, str]:
        """The stored memories, by id."""
        return {entry.record.id: entry.record.content for entry in self.kept.values()}

    def one(self, id_: str) -> Entry:
        (found,) = (entry for entry in self.kept.values() if entry.record.id == id_)
        return found

    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        self._try(record)
        handle = f"h{len(self.asked)}-{len(self.kept)}"
        entry = Entry(handle, record.model_copy(update={"id": record.id or handle}), outdated)
        self.kept[handle] = entry
        self.asked.append(("insert", record.content))
        return entry

    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        self._try(record)
        self.kept[entry.handle] = Entry(entry.handle, record, outdated)
        self.asked.append(("rewrite", record.id))
        return self.kept[entry.handle]

    def remove(self, entry: Entry) -> None:
        if self.dead:
            raise OMPError("it is dead")
        self.kept.pop(entry.handle, None)
        self.asked.append(("remove", entry.record.id))

    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        found = (entry for entry in self.kept.values() if entry.record.id == id)
        return [entry for entry in found if user_id is None or entry.record.user_id == user_id]

    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        self.asked.append(("entries", dict(equal)))
        return [entry for entry in self.kept.values() if self._fits(entry, user_id, equal)]

    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        self.asked.append(("nearest", count))
        found = [entry for entry in self.kept.values() if self._fits(entry, user_id, equal)]
        found = [entry for entry in found if text in entry.record.content]
        return [Hit(entry, entry.record.confidence or 0.5) for entry in found][:count]

    def users(self) -> Sequence[str]:
        return list({entry.record.user_id: None for entry in self.kept.values()})

    def ping(self) -> Mapping[str, Any]:
        return {"kept": len(self.kept)}

    def _try(self, record: MemoryRecord) -> None:
        if record.content in self.troubles:
            raise self.troubles[record.content]

    @staticmethod
    def _fits(entry: Entry, user_id: str, equal: Mapping[str, str | bool]) -> bool:
        mirrors = envelope.pack(entry.record, outdated=entry.outdated)
        return entry.record.user_id == user_id and all(mirrors[name] == value for name, value in equal.items())


class Watch:
    """The calls of a task: how often it is asked whether there is time left, and whose writers wait."""

    def __init__(self, now: datetime = NOW, late_from: int | None = None) -> None:
        self.checks = 0
        self.held: list[str] = []
        self.renewed = 0
        self.late_from = late_from
        self.task = Task(now, self._check, self._hold, self._anew)

    def _check(self) -> None:
        self.checks += 1
        if self.late_from is not None and self.checks >= self.late_from:
            raise OMPError("the time is over")

    @contextmanager
    def _hold(self, user_id: str) -> Iterator[None]:
        self.held.append(user_id)
        yield

    @contextmanager
    def _anew(self) -> Iterator[None]:
        self.renewed += 1
        yield
