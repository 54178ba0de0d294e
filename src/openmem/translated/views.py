"""Which memories a view shows. Pure, for stores that cannot be asked such a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from openmem.requests import View
from openmem.scopes import ScopePattern
from openmem.translated import envelope
from openmem.types import MemoryRecord


def shows(view: View, record: MemoryRecord, now: datetime, superseded: Mapping[str, datetime]) -> bool:
    """Return whether a view shows one of its user's memories.

    Args:
        view: What is asked for.
        record: The memory.
        now: The time to judge at, unless the view names one.
        superseded: From when on a memory is superseded, by id, as `superseded_since` returns it.
    """
    at = now if view.as_of is None else view.as_of
    if record.user_id != view.user_id or (view.scope is not None and not view.scope.matches(record.scope)):
        return False
    if any(tag not in (record.tags or ()) for tag in view.tags):
        return False
    if view.as_of is not None and begin_of(record) > at:
        return False
    if not view.include_superseded and record.id in superseded and superseded[record.id] <= at:
        return False
    return view.include_expired or _is_valid(record, at)


def superseded_since(records: Iterable[MemoryRecord]) -> dict[str, datetime]:
    """Return the ids that some of a user's memories supersede, and from when on."""
    since: dict[str, datetime] = {}
    for record in records:
        for old in record.supersedes or ():
            if old != record.id:
                since[old] = min(since.get(old, begin_of(record)), begin_of(record))
    return since


def begin_of(record: MemoryRecord) -> datetime:
    """Return from when on a memory holds."""
    return record.valid_from or record.created_at


def equal_of(scope: ScopePattern | None) -> dict[str, str | bool]:
    """Return the part of a scope filter that is a plain equality; the rest is judged afterwards."""
    return {} if scope is None or scope.subtree else {envelope.SCOPE: scope.path}


def _is_valid(record: MemoryRecord, at: datetime) -> bool:
    started = record.valid_from is None or record.valid_from <= at
    return started and (record.valid_to is None or at < record.valid_to)
