"""What writes do over a backend: one writer of a user at a time, and what fails is taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from openmem.checks import check_window
from openmem.errors import InvalidRequestError, OMPError, ProviderError
from openmem.native import changed_draft
from openmem.requests import Change, Draft
from openmem.scopes import ScopePattern
from openmem.translated import envelope
from openmem.translated.backend import Backend, Entry, Task
from openmem.translated.reading import find, oldest
from openmem.translated.views import equal_of, superseded_since
from openmem.types import ErasureReceipt, ImportConflict, ImportReport, MemoryRecord, MemorySource, stored_record

Undo = Callable[[], object]


def add(
    backend: Backend, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, task: Task
) -> list[MemoryRecord]:
    """Store drafts: all, or none if one fails. A draft whose key the user has already updates that memory."""
    records: list[MemoryRecord] = []
    done: list[Undo] = []
    with ExitStack() as held, _taking_back(backend, done):
        for owner in sorted({draft.user_id for draft in drafts if draft.key or draft.supersedes}):
            held.enter_context(task.hold(owner))
        for draft in drafts:
            task.check()
            records.append(_add_one(backend, draft, done, task))
            if on_progress is not None:
                on_progress(len(records), len(drafts))
    return records


def update(backend: Backend, id_: str, user_id: str | None, change: Change, task: Task) -> MemoryRecord:
    """Change a memory; a change of nothing returns it as it is."""
    owner = find(backend, id_, user_id).record.user_id
    with task.hold(owner):
        task.check()
        entry = find(backend, id_, owner)
        if not change.fields:
            return entry.record
        if id_ in (change.fields.get("supersedes") or ()):
            raise InvalidRequestError("supersedes: a memory cannot supersede itself")
        draft = changed_draft(entry.record, change.fields)
        check_window(draft.valid_from, draft.valid_to)
        mark_superseded(backend, draft)
        return _put(backend, entry, draft, task).record


def delete(backend: Backend, id_: str, user_id: str | None, task: Task) -> None:
    """Erase one memory."""
    task.check()
    backend.remove(find(backend, id_, user_id))


def erase(backend: Backend, user_id: str, scope: ScopePattern | None, task: Task) -> ErasureReceipt:
    """Erase a user's memories, or those of a scope, and count again what is left."""
    gone: list[str] = []
    with task.hold(user_id):
        for entry in _of_scope(backend, user_id, scope):
            task.check()
            backend.remove(entry)
            gone.append(entry.handle)
        left = len(_of_scope(backend, user_id, scope))
    return ErasureReceipt(
        user_id=user_id,
        scope=None if scope is None else str(scope),
        erased_at=task.now,
        erased={"memories": len(gone) - left},
        remaining={"memories": left, **backend.count_traces(gone)},
    )


def take_in(backend: Backend, drafts: Sequence[Draft], conflict: ImportConflict, task: Task) -> ImportReport:
    """Store records of another store under their own ids: all, or none if one fails."""
    report, done = ImportReport(), list[Undo]()
    users = sorted({draft.user_id for draft in drafts})
    with ExitStack() as held, _taking_back(backend, done):
        for owner in users:
            held.enter_context(task.hold(owner))
        hidden = {owner: set(_superseded(backend, owner)) for owner in users}
        for draft in drafts:
            task.check()
            _take_in_one(backend, draft, conflict, hidden[draft.user_id], report, done, task)
    return report


def record_of(draft: Draft, task: Task) -> MemoryRecord:
    """Return the record that storing a draft makes; its id is empty unless the draft has one."""
    source = MemorySource.model_validate(draft.source) if draft.source is not None else None
    fields: dict[str, Any] = {
        "id": draft.id or "",
        "content": draft.content,
        "user_id": draft.user_id,
        "created_at": draft.created_at or task.now,
        "scope": draft.scope,
        "tags": None if draft.tags is None else list(draft.tags),
        "source": source,
        "confidence": draft.confidence,
        "valid_from": draft.valid_from,
        "valid_to": draft.valid_to,
        "supersedes": None if draft.supersedes is None else list(draft.supersedes),
        "embedding_model": None,
        "updated_at": draft.updated_at,
        "version": draft.version,
        "key": draft.key,
    }
    return stored_record(fields, draft.extensions)


class _taking_back:  # noqa: N801 - used like a function
    """Takes back what was done if the block fails."""

    def __init__(self, backend: Backend, done: list[Undo]) -> None:
        self._backend, self._done = backend, done

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        left = 0
        for undo in reversed(self._done):
            try:
                undo()
            except OMPError:
                left += 1
        if left:
            message = f"a write failed, and {left} of the memories stored before it could not be taken back"
            raise ProviderError(message, provider=self._backend.name, details={"left": left}) from error


def _add_one(backend: Backend, draft: Draft, done: list[Undo], task: Task) -> MemoryRecord:
    known = _with_key(backend, draft)
    mark_superseded(backend, draft)
    if known is None:
        entry = backend.insert(record_of(draft, task), outdated=False)
        done.append(lambda: backend.remove(entry))
    else:
        entry = _put(backend, known, draft, task)
        done.append(lambda: backend.rewrite(entry, known.record, outdated=known.outdated))
    return entry.record


def _take_in_one(
    backend: Backend,
    draft: Draft,
    conflict: ImportConflict,
    hidden: set[str],
    report: ImportReport,
    done: list[Undo],
    task: Task,
) -> None:
    found = [entry for entry in backend.fetch(draft.id or "", draft.user_id) if entry.record.user_id == draft.user_id]
    known = oldest(found) if found else _with_key(backend, draft)
    if known is not None and conflict == "skip":
        report.skipped += 1
        return
    mark_superseded(backend, draft)
    hidden.update(draft.supersedes or ())
    record = record_of(draft, task)
    if known is not None and conflict == "overwrite":
        changed = {"id": known.record.id, "version": known.record.version + 1, "updated_at": task.now}
        entry = backend.rewrite(known, record.model_copy(update=changed), outdated=known.outdated)
        done.append(lambda: backend.rewrite(entry, known.record, outdated=known.outdated))
        report.overwritten += 1
        return
    if known is not None:
        record = record.model_copy(update={"id": "", "key": None if _with_key(backend, draft) else draft.key})
    entry = backend.insert(record, outdated=record.id in hidden)
    done.append(lambda: backend.remove(entry))
    if known is None:
        report.imported += 1
    else:
        report.duplicated += 1


def _put(backend: Backend, entry: Entry, draft: Draft, task: Task) -> Entry:
    old = entry.record
    changed = {
        "id": old.id,
        "created_at": old.created_at,
        "updated_at": max(task.now, old.created_at),
        "version": old.version + 1,
    }
    return backend.rewrite(entry, record_of(draft, task).model_copy(update=changed), outdated=entry.outdated)


def mark_superseded(backend: Backend, draft: Draft) -> None:
    """Mark the user's memories that a draft names as ones that may be superseded."""
    if not backend.marks_outdated:
        return
    for id_ in draft.supersedes or ():
        for entry in backend.fetch(id_, draft.user_id):
            if entry.record.user_id == draft.user_id and not entry.outdated:
                backend.rewrite(entry, entry.record, outdated=True)


def _with_key(backend: Backend, draft: Draft) -> Entry | None:
    if draft.key is None:
        return None
    found = backend.entries(draft.user_id, {envelope.KEY: draft.key})
    found = [entry for entry in found if entry.record.key == draft.key]
    return oldest(found) if found else None


def _superseded(backend: Backend, user_id: str) -> dict[str, Any]:
    return superseded_since(entry.record for entry in backend.entries(user_id, {envelope.LINKS: True}))


def _of_scope(backend: Backend, user_id: str, scope: ScopePattern | None) -> list[Entry]:
    found = backend.entries(user_id, equal_of(scope))
    return [entry for entry in found if scope is None or scope.matches(entry.record.scope)]
