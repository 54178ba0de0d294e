"""Import over a backend: memories of another store under their own ids, all or none of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Backend, Entry, Task
from openmem._emulation.reading import oldest, with_key
from openmem._emulation.views import named_by
from openmem._emulation.writing import (
    Undo,
    change,
    insert_all,
    is_plain,
    mark_superseded,
    record_of,
    taking_back,
)
from openmem._model.requests import Draft
from openmem.types import ImportConflict, ImportReport, MemoryRecord


def take_in(backend: Backend, drafts: Sequence[Draft], conflict: ImportConflict, task: Task) -> ImportReport:
    """Store records of another store under their own ids: all, or none if one fails."""
    users = sorted({draft.user_id for draft in drafts})
    with ExitStack() as held, taking_back(backend, task) as done:
        for owner in users:
            held.enter_context(task.hold(owner))
        batch = _Import(backend, conflict, task, done, {owner: _Roll(backend, owner) for owner in users})
        for draft in drafts:
            task.check()
            batch.take(draft)
        batch.store()
        task.check()  # who is late was told that nothing is stored
    return batch.report


class _Import:
    """One import: what needs no look at other memories is collected, and stored in as few requests as can be.

    Args:
        backend: Where to.
        conflict: What to do with a memory that is there.
        task: The call.
        done: Gets what to do to take a step back.
        rolls: What is known of the memories that are there, by user.
    """

    def __init__(
        self, backend: Backend, conflict: ImportConflict, task: Task, done: list[Undo], rolls: dict[str, _Roll]
    ) -> None:
        self.report = ImportReport()
        self._backend, self._conflict, self._task, self._done = backend, conflict, task, done
        self._rolls = rolls
        self._waiting: list[MemoryRecord] = []

    def take(self, draft: Draft) -> None:
        """Take in one memory."""
        if not self._may_wait(draft):
            self.store()
        backend = self._backend
        roll = self._rolls[draft.user_id]
        known = roll.find(draft)
        if known is not None and self._conflict == "skip":
            self.report.skipped += 1
            return
        mark_superseded(backend, draft)
        roll.note(draft)
        if known is not None and self._conflict == "overwrite":
            self._overwrite(known, draft)
            return
        record = record_of(draft, self._task)
        if known is None:
            self.report.imported += 1
        else:
            record = record.model_copy(
                update={"id": "", "key": None if with_key(backend, draft.user_id, draft.key) else draft.key}
            )
            self.report.duplicated += 1
        self._waiting.append(record)
        if len(self._waiting) >= backend.most_inserts or not is_plain(draft):
            self.store()

    def store(self) -> None:
        """Store what was collected."""
        if self._waiting:
            records, self._waiting = self._waiting, []
            hidden = self._rolls[records[0].user_id].hidden
            insert_all(self._backend, records, [record.id in hidden for record in records], self._done)

    def _may_wait(self, draft: Draft) -> bool:
        """Return whether a memory can be judged while the collected ones are not stored."""
        same_user = all(record.user_id == draft.user_id for record in self._waiting)
        return is_plain(draft) and same_user and all(record.id != draft.id for record in self._waiting)

    def _overwrite(self, known: Entry, draft: Draft) -> None:
        backend, record = self._backend, record_of(draft, self._task)
        holder = with_key(backend, draft.user_id, draft.key)
        if holder is not None and holder.record.id != known.record.id:  # a third memory, which gives the key up
            change(backend, holder, holder.record.model_copy(update={"key": None}), self._done)
        changed = {"id": known.record.id, "version": known.record.version + 1, "updated_at": self._task.now}
        change(backend, known, record.model_copy(update=changed), self._done)
        self.report.overwritten += 1


class _Roll:
    """The known memories of a user.

    Args:
        backend: Where they are.
        user_id: Whose they are.
    """

    def __init__(self, backend: Backend, user_id: str) -> None:
        self._backend = backend
        entries = backend.entries(user_id, {envelope.LINKS: True} if backend.filters else {})
        self.hidden = named_by(entry.record for entry in entries)
        """The ids that memories of the user name as superseded."""
        self._names = None if backend.filters else {name for entry in entries for name in _names_of(entry.record)}

    def find(self, draft: Draft) -> Entry | None:
        """Return the memory that has the id or the key of a draft."""
        if self._names is not None and self._names.isdisjoint(_names_of(draft)):
            return None
        found = self._backend.fetch(draft.id or "", draft.user_id)
        own = [entry for entry in found if entry.record.user_id == draft.user_id]
        return oldest(own) if own else with_key(self._backend, draft.user_id, draft.key)

    def note(self, draft: Draft) -> None:
        """Add a memory that is to be there."""
        self.hidden.update(draft.supersedes or ())
        if self._names is not None:
            self._names.update(_names_of(draft))


def _names_of(memory: Draft | MemoryRecord) -> set[tuple[str, str | None]]:
    """Return by what a memory of a user is known."""
    return {("id", memory.id)} | ({("key", memory.key)} if memory.key is not None else set())
