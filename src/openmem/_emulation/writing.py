"""Writes over a backend: one writer of a user at a time, and what fails is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Backend, Entry, Task
from openmem._emulation.failures import is_refusal
from openmem._emulation.reading import find, with_key
from openmem._emulation.views import equal_of, with_last_word
from openmem._model.ids import Named
from openmem._model.requests import Change, Draft
from openmem._model.scopes import ScopePattern
from openmem._model.where import Where, matches
from openmem._rules import writing
from openmem.errors import NotFoundError, OMPError, ProviderError, ProviderUnavailableError
from openmem.types import ErasureReceipt, MemoryRecord

Undo = Callable[[], object]


def add(
    backend: Backend, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, task: Task
) -> list[MemoryRecord]:
    """Store drafts: all, or none if one fails. A draft whose key the user has already updates that memory."""
    if len(drafts) == 1 and on_progress is None and is_plain(drafts[0]):
        task.check()
        return [backend.insert(record_of(drafts[0], task), outdated=False).record]
    records: list[MemoryRecord] = []
    with ExitStack() as held, taking_back(backend, task) as done:
        for owner in sorted({draft.user_id for draft in drafts if draft.key or draft.supersedes}):
            held.enter_context(task.hold(owner))
        for run in _runs(backend, drafts):
            task.check()
            records += _add_run(backend, run, done, task)
            if on_progress is not None:
                on_progress(len(records), len(drafts))
        task.check()  # who is late was told that nothing is stored
    return records


def update(backend: Backend, named: Named, user_id: str | None, change: Change, task: Task) -> MemoryRecord:
    """Change a memory; a change of nothing returns it as it is."""
    owner = find(backend, named, user_id).record.user_id
    with task.hold(owner):
        task.check()
        entry = find(backend, named, owner)
        draft = writing.updated(entry.record, change)
        if draft is None:
            return entry.record
        mark_superseded(backend, draft)
        return backend.rewrite(entry, _last_word(backend, _changed(entry, draft, task)), outdated=entry.outdated).record


def delete(backend: Backend, named: Named, user_id: str | None, task: Task) -> str:
    """Erase one memory and return its id."""
    task.check()
    entry = find(backend, named, user_id)
    backend.remove(entry)
    return entry.record.id


def erase(
    backend: Backend, user_id: str, scope: ScopePattern | None, task: Task, where: Where | None = None
) -> ErasureReceipt:
    """Erase a user's memories, or those of a scope and a filter, and count again what is left."""
    gone: list[str] = []
    with task.hold(user_id):
        for entry in _chosen(backend, user_id, scope, where):
            task.check()
            backend.remove(entry)
            gone.append(entry.handle)
        left = len(_chosen(backend, user_id, scope, where))
    return ErasureReceipt(
        user_id=user_id,
        scope=None if scope is None else str(scope),
        erased_at=task.now,
        erased={"memories": len(gone) - left},
        remaining={"memories": left, **backend.count_traces(gone)},
        where=None if where is None else where.json,
    )


def record_of(draft: Draft, task: Task) -> MemoryRecord:
    """Return the record that storing a draft makes; its id is empty unless the draft has one."""
    return writing.record_of(draft, draft.id or "", draft.created_at or task.now, None)


@contextmanager
def taking_back(backend: Backend, task: Task) -> Iterator[list[Undo]]:
    """Collect what takes steps back, and do that if the block fails, also where it ran out of time."""
    done: list[Undo] = []
    try:
        yield done
    except BaseException as error:
        with task.fresh_deadline():
            left = sum(not _undone(undo) for undo in reversed(done))
        if left:
            kind = ProviderUnavailableError if isinstance(error, ProviderUnavailableError) else ProviderError
            message = f"a write failed, and {left} memories that it stored, or may have, could not be taken back"
            raise kind(message, provider=backend.name, details={"left": left}) from error
        raise


def _undone(undo: Undo) -> bool:
    try:
        undo()
    except NotFoundError:
        return True  # another client erased it
    except OMPError:
        return False
    return True


def is_plain(draft: Draft) -> bool:
    """Return whether storing a draft asks for no look at other memories."""
    return draft.key is None and not draft.supersedes


def insert_all(
    backend: Backend, records: Sequence[MemoryRecord], outdated: Sequence[bool], done: list[Undo]
) -> list[MemoryRecord]:
    """Store new memories of one user as a part of more, so that they can be taken back."""
    entries = backend.insert_many(records, outdated, lambda entry: done.append(partial(backend.remove, entry)))
    done += [partial(backend.remove, entry) for entry in entries]
    return [entry.record for entry in entries]


def _runs(backend: Backend, drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """Yield drafts that can be stored together, in order."""
    run: list[Draft] = []
    for draft in drafts:
        fits = is_plain(draft) and len(run) < backend.most_inserts
        if run and not (fits and is_plain(run[0]) and run[0].user_id == draft.user_id):
            yield run
            run = []
        run.append(draft)
    if run:
        yield run


def _add_run(backend: Backend, run: Sequence[Draft], done: list[Undo], task: Task) -> list[MemoryRecord]:
    if not is_plain(run[0]):
        return [_add_one(backend, run[0], done, task)]
    return insert_all(backend, [record_of(draft, task) for draft in run], [False] * len(run), done)


def _add_one(backend: Backend, draft: Draft, done: list[Undo], task: Task) -> MemoryRecord:
    known = with_key(backend, draft.user_id, draft.key)
    if known is not None:
        writing.check_takes_over(known.record, draft, None)
    mark_superseded(backend, draft)
    if known is None:
        return insert_all(backend, [record_of(draft, task)], [False], done)[0]
    return change(backend, known, _changed(known, draft, task), done).record


def change(backend: Backend, known: Entry, record: MemoryRecord, done: list[Undo]) -> Entry:
    """Replace a memory as a part of more; it can be taken back even if the service does not say that it did it."""
    record = _last_word(backend, record)
    try:
        entry = backend.rewrite(known, record, outdated=known.outdated)
    except OMPError as error:
        if not is_refusal(error):
            done.append(_back_to(backend, known, Entry(known.handle, record, known.outdated)))
        raise
    done.append(_back_to(backend, known, entry))
    return entry


def _back_to(backend: Backend, old: Entry, new: Entry) -> Undo:
    return partial(backend.rewrite, new, old.record, outdated=old.outdated)


def _changed(entry: Entry, draft: Draft, task: Task) -> MemoryRecord:
    old = entry.record
    changed = {
        "id": old.id,
        "created_at": old.created_at,
        "updated_at": max(task.now, old.created_at),
        "version": old.version + 1,
    }
    return record_of(draft, task).model_copy(update=changed)


def _last_word(backend: Backend, record: MemoryRecord) -> MemoryRecord:
    if not record.supersedes:
        return record
    linking = backend.entries(record.user_id, {envelope.LINKS: True})
    return with_last_word(record, (entry.record for entry in linking))


def mark_superseded(backend: Backend, draft: Draft) -> None:
    """Mark the user's memories that a draft names as ones that may be superseded."""
    if not backend.marks_outdated:
        return
    for id_ in draft.supersedes or ():
        for entry in backend.fetch(id_, draft.user_id):
            if entry.record.user_id == draft.user_id and not entry.outdated:
                backend.rewrite(entry, entry.record, outdated=True)


def _chosen(backend: Backend, user_id: str, scope: ScopePattern | None, where: Where | None) -> list[Entry]:
    found = backend.entries(user_id, equal_of(scope))
    found = [entry for entry in found if scope is None or scope.matches(entry.record.scope)]
    return [entry for entry in found if matches(where, entry.record.metadata)]
