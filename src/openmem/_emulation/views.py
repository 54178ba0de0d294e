"""Decides which memories a view shows. Pure, for stores that cannot be asked such a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from openmem._emulation import metadata as envelope
from openmem._model.requests import View
from openmem._model.scopes import ScopePattern
from openmem._model.timestamps import MICROSECOND
from openmem._model.where import matches
from openmem._rules.supersession import Link, circle_of, void_links
from openmem.types import MemoryRecord


def shows(view: View, record: MemoryRecord, now: datetime, superseded: Mapping[str, Hiding]) -> bool:
    """Return whether a view shows one of its user's memories.

    Args:
        view: What is asked for.
        record: The memory.
        now: The time to judge at, unless the view names one.
        superseded: What hides a memory, by id, as `superseded_since` returns it.
    """
    at = now if view.as_of is None else view.as_of
    if record.user_id != view.user_id or (view.scope is not None and not view.scope.matches(record.scope)):
        return False
    if any(tag not in (record.tags or ()) for tag in view.tags):
        return False
    if view.where is not None and not matches(view.where, record.metadata):
        return False
    if view.as_of is not None and begin_of(record) > at:
        return False
    hiding = None if view.include_superseded else superseded.get(record.id)
    # A clock that runs ahead where the newer one was written must not show both.
    if hiding is not None and (hiding.since <= at or (hiding.at_once and view.as_of is None)):
        return False
    return view.include_expired or _is_valid(record, at)


class Hiding(NamedTuple):
    """A reason to hide a memory: from when on, and whether from when it was stored, whatever the clocks say."""

    since: datetime
    at_once: bool


def superseded_since(records: Iterable[MemoryRecord]) -> dict[str, Hiding]:
    """Return what hides the ids that some of a user's memories supersede; circles: `openmem._rules.supersession`."""
    linking = {record.id: record for record in records if record.supersedes}
    links = {Link(record.id, old) for record in linking.values() for old in record.supersedes or ()}
    written = {record.id: written_at(record) for record in linking.values()}
    since: dict[str, Hiding] = {}
    for new, old in links - void_links(links, written):
        if old != new:
            begin, at_once = begin_of(linking[new]), linking[new].valid_from is None
            known = since.get(old, Hiding(begin, at_once))
            since[old] = Hiding(min(known.since, begin), known.at_once or at_once)
    return since


def named_by(records: Iterable[MemoryRecord]) -> set[str]:
    """Return the ids that some memories name as superseded, whether that counts or not."""
    return {old for record in records for old in record.supersedes or ()}


def with_last_word(record: MemoryRecord, others: Iterable[MemoryRecord]) -> MemoryRecord:
    """Return a changed memory so that it was written last of the circle that it closes, whatever the clocks say."""
    known = {one.id: one for one in others if one.supersedes} | {record.id: record}
    circle = circle_of(record.id, [(one.id, old) for one in known.values() for old in one.supersedes or ()])
    newest = max((written_at(known[id_]) for id_ in circle - {record.id}), default=None)
    if newest is None or written_at(record) > newest:
        return record
    return record.model_copy(update={"updated_at": newest + MICROSECOND})


def written_at(record: MemoryRecord) -> datetime:
    """Return when a memory was stored or changed last."""
    return record.updated_at or record.created_at


def begin_of(record: MemoryRecord) -> datetime:
    """Return from when on a memory holds."""
    return record.valid_from or record.created_at


def equal_of(scope: ScopePattern | None) -> dict[str, str | bool]:
    """Return the part of a scope filter that is a plain equality; the rest is judged afterwards."""
    return {} if scope is None or scope.subtree else {envelope.SCOPE: scope.path}


def _is_valid(record: MemoryRecord, at: datetime) -> bool:
    started = record.valid_from is None or record.valid_from <= at
    return started and (record.valid_to is None or at < record.valid_to)
