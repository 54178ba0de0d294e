"""The expected memories of one user: plain Python that shares nothing with openmem, not even a rule."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Kept:
    """One memory in one version."""

    id: str
    content: str
    created_at: datetime
    version: int = 1
    scope: str | None = None
    tags: tuple[str, ...] = ()
    key: str | None = None
    confidence: float | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    supersedes: tuple[str, ...] = ()
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def begins(self) -> datetime:
        """From when on it holds."""
        return self.valid_from or self.created_at

    @property
    def words(self) -> set[str]:
        """The words it is found by."""
        return {*self.content.split(), *self.tags}


@dataclass(frozen=True)
class Asked:
    """The arguments of a list or a search."""

    scope: str | None = None
    tag: str | None = None
    as_of: datetime | None = None
    superseded: bool = False
    expired: bool = False

    def options(self) -> dict[str, Any]:
        """Return it as arguments; those at their default are left out."""
        given = {"scope": self.scope, "as_of": self.as_of}
        flags = {"include_superseded": self.superseded, "include_expired": self.expired}
        return {name: value for name, value in {**given, **flags}.items() if value}


@dataclass
class UserOracle:
    """The memories of one user, their earlier versions, and what was done."""

    user_id: str
    memories: dict[str, Kept] = field(default_factory=dict)
    earlier: dict[str, list[Kept]] = field(default_factory=dict)
    actions: list[tuple[str, str | None]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def did(self, action: str, memory_id: str | None = None) -> None:
        """Note what the audit log must say."""
        self.actions.append((action, memory_id))

    def with_key(self, key: str | None) -> Kept | None:
        """Return the memory of a key."""
        return next((one for one in self.memories.values() if key is not None and one.key == key), None)

    def put(self, memory: Kept) -> None:
        """Keep a new memory, or a new version of one."""
        before = self.memories.get(memory.id)
        if before is not None:
            self.earlier.setdefault(memory.id, []).append(before)
        self.memories[memory.id] = memory

    def change(self, memory: Kept, **fields: Any) -> Kept:
        """Return the next version of a memory, and keep it."""
        after = replace(memory, version=memory.version + 1, **fields)
        self.put(after)
        return after

    def drop(self, memory_id: str) -> None:
        """Forget a memory and its versions."""
        del self.memories[memory_id]
        self.earlier.pop(memory_id, None)
        self.gone.append(memory_id)

    def erase(self, scope: str | None) -> list[str]:
        """Forget what a scope covers; return the ids."""
        ids = [one.id for one in self.memories.values() if covers(scope, one.scope)]
        for memory_id in ids:
            self.drop(memory_id)
        return ids

    def visible(self, asked: Asked, now: datetime) -> list[Kept]:
        """Return what a list shows, newest first."""
        at = asked.as_of or now
        shown = [one for one in self.memories.values() if self._is_shown(one, asked, at)]
        return sorted(shown, key=lambda one: (one.created_at, one.id), reverse=True)

    def _is_shown(self, one: Kept, asked: Asked, at: datetime) -> bool:
        if not covers(asked.scope, one.scope) or (asked.tag is not None and asked.tag not in one.tags):
            return False
        if asked.as_of is not None and one.begins > at:
            return False
        if not asked.superseded and self._is_superseded(one, at):
            return False
        return asked.expired or (one.begins <= at and (one.valid_to is None or one.valid_to > at))

    def _is_superseded(self, one: Kept, at: datetime) -> bool:
        return any(one.id in other.supersedes and other.begins <= at for other in self.memories.values())

    def history(self, memory: Kept) -> set[tuple[str, int, str]]:
        """Return id, version and content of the earlier versions of a memory, and of all that it superseded."""
        found = {state_of(one) for one in self.earlier.get(memory.id, ())}
        seen, waiting = {memory.id}, [*memory.supersedes]
        while waiting:
            older = self.memories.get(waiting.pop())
            if older is not None and older.id not in seen:
                seen.add(older.id)
                found |= {state_of(one) for one in (older, *self.earlier.get(older.id, ()))}
                waiting += older.supersedes
        return found


def state_of(one: Kept) -> tuple[str, int, str]:
    """Return what is compared of one state in a history."""
    return one.id, one.version, one.content


def covers(pattern: str | None, scope: str | None) -> bool:
    """Return whether a filter covers a scope: `a/b` itself, `a/*` all of `a`, `None` and `*` everything."""
    if pattern in (None, "*"):
        return True
    if scope is None or pattern is None:
        return False
    if pattern.endswith("/*"):
        return scope == pattern[:-2] or scope.startswith(pattern[:-1])
    return scope == pattern
