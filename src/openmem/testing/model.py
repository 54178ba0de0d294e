"""The model of a store, as a dictionary: the state machine holds a provider against it.

It knows the contract only, not how any provider works: one entry for each memory, and every question answered
by looking at all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from openmem._model.where import matches, parse_where
from openmem.types import UTC, MemoryRecord

Version = tuple[str, int]


@dataclass
class View:
    """The part of the memories that a read asks for."""

    user_id: str
    scope: str | None = None
    tag: str | None = None
    as_of: datetime | None = None
    include_superseded: bool = False
    include_expired: bool = False
    where: dict[str, Any] | None = None

    def options(self) -> dict[str, object]:
        """Return the arguments common to list and search; those at their default are left out."""
        given = {
            "scope": self.scope,
            "as_of": self.as_of,
            "include_superseded": self.include_superseded or None,
            "include_expired": self.include_expired or None,
            "where": self.where,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass
class StoreModel:
    """The memories that are stored, by id."""

    records: dict[str, MemoryRecord] = field(default_factory=dict)

    def of_user(self, user_id: str) -> Iterator[MemoryRecord]:
        """Yield a user's memories, hidden or not."""
        return (record for record in self.records.values() if record.user_id == user_id)

    def with_key(self, user_id: str, key: str | None) -> MemoryRecord | None:
        """Return the user's memory of that key."""
        if key is None:
            return None
        return next((record for record in self.of_user(user_id) if record.key == key), None)

    def visible(self, view: View) -> list[MemoryRecord]:
        """Return what a list shows, newest first."""
        moment = datetime.now(UTC) if view.as_of is None else view.as_of
        shown = [record for record in self.of_user(view.user_id) if self._shows(view, record, moment)]
        return sorted(shown, key=lambda record: (record.created_at, record.id), reverse=True)

    def scopes(self, user_id: str) -> dict[str | None, tuple[int, int, int]]:
        """Return how many memories of each scope are current, superseded and expired."""
        current = {record.id for record in self.visible(View(user_id))}
        valid_or_not = {record.id for record in self.visible(View(user_id, include_expired=True))}
        counts: dict[str | None, tuple[int, int, int]] = {}
        for record in self.of_user(user_id):
            now, superseded, expired = counts.get(record.scope, (0, 0, 0))
            if record.id in current:
                now += 1
            elif record.id in valid_or_not:
                expired += 1
            else:
                superseded += 1
            counts[record.scope] = (now, superseded, expired)
        return counts

    def _shows(self, view: View, record: MemoryRecord, moment: datetime) -> bool:
        if not in_scope(view.scope, record.scope) or (view.tag and view.tag not in (record.tags or [])):
            return False
        if not matches(parse_where(view.where), record.metadata):
            return False
        if not view.include_superseded and self._superseded(record, moment):
            return False
        return view.include_expired or (
            _begin(record) <= moment and (record.valid_to is None or moment < record.valid_to)
        )

    def _superseded(self, record: MemoryRecord, moment: datetime) -> bool:
        return any(
            record.id in (other.supersedes or []) and _begin(other) <= moment and not self._outvoted(other, record)
            for other in self.of_user(record.user_id)
            if other.id != record.id
        )

    def _outvoted(self, newer: MemoryRecord, older: MemoryRecord) -> bool:
        """Return whether the older one was written last of a circle through both: then it is not replaced."""
        before = {one.id: one for one in self.of_user(older.user_id) if _written(one) <= _written(older)}
        reached, pending = set(), [older.id]
        while pending:
            for id_ in before[pending.pop()].supersedes or []:
                if id_ in before and id_ not in reached:
                    reached.add(id_)
                    pending.append(id_)
        return newer.id in reached

    def history(self, record: MemoryRecord) -> list[Version]:
        """Return id and version of all that `history` of the memory holds, sorted."""
        earlier = [(record.id, version) for version in range(1, record.version)]
        seen = {record.id}
        pending = list(record.supersedes or [])
        while pending:
            past = self.records.get(pending.pop())
            if past is None or past.id in seen or past.user_id != record.user_id:
                continue
            seen.add(past.id)
            earlier += [(past.id, version) for version in range(1, past.version + 1)]
            pending += past.supersedes or []
        return sorted(earlier)

    def erase(self, user_id: str, scope: str | None) -> int:
        """Remove what the scope covers and return how many memories that were."""
        gone = [record.id for record in self.of_user(user_id) if in_scope(scope, record.scope)]
        for id_ in gone:
            del self.records[id_]
        return len(gone)


def in_scope(pattern: str | None, scope: str | None) -> bool:
    """Return whether a filter matches a memory's scope."""
    if pattern is None or pattern == "*":
        return True
    if scope is None:
        return False
    if pattern.endswith("/*"):
        return f"{scope}/".startswith(pattern[:-1])
    return scope == pattern


def words_of(record: MemoryRecord) -> set[str]:
    """Return the words that keyword search knows of a memory, for texts of plain lower-case words."""
    return set(" ".join([record.content, *(record.tags or [])]).split())


def _begin(record: MemoryRecord) -> datetime:
    return record.valid_from or record.created_at


def _written(record: MemoryRecord) -> tuple[datetime, str]:
    return record.updated_at or record.created_at, record.id
