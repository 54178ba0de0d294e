"""A transaction that writes: what it is given, and the parts of it that are the same in every dialect.

The dialects say which rows to read and to change. Whether a write is allowed, what becomes of a memory and what is
answered is said here and in `openmem._rules.writing`, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from openmem._model.access import Access, Patterns
from openmem._model.ids import substitute_id
from openmem._model.requests import Draft
from openmem._rules.repeatable_add import answer_again, made_at
from openmem._rules.writing import record_of
from openmem._sql.steps import Steps
from openmem.types import ImportConflict, ImportReport, MemoryRecord

V = TypeVar("V")


@dataclass(slots=True)  # never changed; see `Draft`
class Stamp:
    """The app that writes, the time and the request.

    Where entries of the audit log have ids (Postgres), `entry_id` is what those of this call begin with.
    """

    now: datetime
    app: str | None
    request_id: str
    entry_id: str = ""


class Model(NamedTuple):
    """An embedding model and the length of its vectors."""

    name: str
    dim: int


@dataclass(slots=True)  # never changed; see `Draft`
class Incoming(Generic[V]):
    """A draft to be stored, its id, and its vector as the store takes it, if it has one."""

    draft: Draft
    id: str
    vector: V | None = None

    def record(self, model: Model | None, now: datetime) -> MemoryRecord:
        """Return the record that storing it makes, with vectors of a model."""
        name = None if model is None or self.vector is None else model.name
        return record_of(self.draft, self.id, self.draft.created_at or now, name)


def check_supersedes(ids: Iterable[str], access: Access, find: Callable[[str, Patterns], Steps[object]]) -> Steps[None]:
    """Check that the caller may write the memories that a write supersedes.

    Args:
        ids: Their ids.
        access: What the caller may do.
        find: Reads a memory of these scopes, or raises `NotFoundError`.
    """
    writable = access.patterns("write")
    if writable is not None:
        for id_ in dict.fromkeys(ids):
            yield from find(id_, writable)


def stored_before(
    items: Sequence[Incoming[V]],
    positions: Sequence[int],
    model: Model | None,
    now: datetime,
    access: Access | None,
    by_ids: Callable[[Sequence[str]], Steps[Sequence[MemoryRecord]]],
    by_key: Callable[[str], Steps[tuple[MemoryRecord, Sequence[MemoryRecord]] | None]],
) -> Steps[dict[int, MemoryRecord]]:
    """Return the answers to those items of one user that an equal, earlier `add` stored, by position.

    1. A new memory is known by its id, which comes from the seed of the call.
    2. One that replaced another under its key is known by the state that it made, which the other has, or had.

    Args:
        items: What is to be stored.
        positions: Which of it.
        model: The model of the vectors.
        now: The time that comes from the seed.
        access: What the caller may do.
        by_ids: Reads the memories of the user that have these ids.
        by_key: Reads the memory that has a key, if there is one, and those of its states that a change at `now` made.
    """
    found = yield from by_ids([items[position].id for position in positions])
    stored = {record.id: record for record in found}
    answers: dict[int, MemoryRecord] = {}
    for position in positions:
        item = items[position]
        record = stored.get(item.id)
        if record is not None:
            answers[position] = answer_again(access, record, item.record(model, now))
        elif item.draft.key is not None:
            holder = yield from by_key(item.draft.key)
            state = None if holder is None else made_at(holder[1], item.draft, now)
            if holder is not None and state is not None:
                answers[position] = answer_again(access, holder[0], state)
    return answers


def split_import(
    items: Sequence[tuple[Incoming[V], str]], ids: set[str], keys: set[str]
) -> tuple[list[Incoming[V]], list[tuple[Incoming[V], str]]]:
    """Return the imported memories of a user that are new, and those of which the user has the id or the key.

    Args:
        items: The memories, each with an id that it can get as a duplicate.
        ids: Ids that the user's memories have; those of the items are added.
        keys: The same for keys.
    """
    fresh: list[Incoming[V]] = []
    conflicting: list[tuple[Incoming[V], str]] = []
    for item, spare in items:
        if item.id in ids or item.draft.key in keys:
            conflicting.append((item, spare))
        else:
            fresh.append(item)
        ids.add(item.id)
        if item.draft.key is not None:
            keys.add(item.draft.key)
    return fresh, conflicting


def with_free_id(item: Incoming[V]) -> Incoming[V]:
    """Return an imported memory under another id, the same each time: another user of its bucket has its own."""
    return replace(item, id=substitute_id(item.id, item.draft.user_id, item.draft.created_at))


def settle_conflict(
    item: Incoming[V],
    spare_id: str,
    conflict: ImportConflict,
    report: ImportReport,
    insert: Callable[[Incoming[V]], Steps[object]],
    overwrite: Callable[[Incoming[V]], Steps[bool]],
) -> Steps[None]:
    """Do with an imported memory of which the user has the id or the key what is asked for, and count it.

    Args:
        item: The memory.
        spare_id: The id that it gets as a duplicate, without its key.
        conflict: What is asked for.
        report: What is counted.
        insert: Stores a memory as a new one.
        overwrite: Puts the memory in the place of the stored one, and takes its key from any other. It returns `False`
            if the stored one is not there any more: then the memory is stored as a new one.
    """
    if conflict == "skip":
        report.skipped += 1
    elif conflict == "duplicate":
        yield from insert(replace(item, id=spare_id, draft=replace(item.draft, key=None)))
        report.duplicated += 1
    elif (yield from overwrite(item)):
        report.overwritten += 1
    else:
        yield from insert(item)
        report.imported += 1
