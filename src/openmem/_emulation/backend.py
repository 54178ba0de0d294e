"""The contract between the rules of the protocol and the SDK of a service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from openmem._model.timestamps import micros
from openmem.types import MemoryRecord, SearchMode

Position = tuple[int, str]
"""The position of a memory among those of its user: a number, and a text for those of equal numbers."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A memory as a backend holds it.

    Attributes:
        handle: What the service calls it; only the backend looks at it.
        record: The memory. Its `id` is what users see.
        outdated: Some memory may supersede it: a reader must look.
    """

    handle: str
    record: MemoryRecord
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result of a backend: a score in [0, 1], higher is better, and its parts if the service tells."""

    entry: Entry
    score: float
    parts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """The state of one verb.

    Attributes:
        now: The time of the call.
        check: Raises once the deadline has passed.
        hold: Keeps other writers of a user out while the context lasts.
        fresh_deadline: Gives what is done in the context a limit of its own, whatever is left of the call's.
    """

    now: datetime
    check: Callable[[], None]
    hold: Callable[[str], AbstractContextManager[Any]]
    fresh_deadline: Callable[[], AbstractContextManager[Any]]


class Backend(ABC):
    """One service through its SDK. Methods run in worker threads, several at once.

    They raise errors of `openmem.errors` only, and never return what belongs to another user than the one asked for.
    """

    name: ClassVar[str]
    marks_outdated: ClassVar[bool] = True
    """Whether metadata can be rewritten in place; if not, supersession is looked up at every read."""
    filters: ClassVar[bool] = True
    """Whether `entries` costs less with values of mirrors than without; if not, an import reads all of a user once."""
    most_hits: ClassVar[int | None] = None
    """The most results that one search can return; `None` for any number."""
    most_inserts: ClassVar[int] = 1
    """The memories of a user that `insert_many` stores at once, at most."""
    lists_all_scored: ClassVar[bool] = False
    """Whether `nearest` in vector mode returns every memory of the user when asked for enough of them."""

    @abstractmethod
    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Store a new memory.

        Args:
            record: All that is known of it. An empty `id` lets the backend choose one; any other must be kept.
            outdated: The mark to store.
        """

    def insert_many(
        self, records: Sequence[MemoryRecord], outdated: Sequence[bool], note: Callable[[Entry], object]
    ) -> Sequence[Entry]:
        """Store new memories of one user in one request, as a part of more, and return them in order.

        Args:
            records: As for `insert`.
            outdated: The mark of each.
            note: To be called, before an error is raised, with each memory that is stored or may be: the caller
                removes those.
        """
        return [self.insert(record, outdated=mark) for record, mark in zip(records, outdated, strict=True)]

    @abstractmethod
    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Replace a memory by a record of the same id and user."""

    @abstractmethod
    def remove(self, entry: Entry) -> None:
        """Erase a memory; one that is gone already is no error."""

    @abstractmethod
    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        """Return the memories of this id: of one user, or of all users if there is no `user_id`."""

    @abstractmethod
    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        """Return all memories of a user whose mirrors (`envelope.FILTER_FIELDS`) have these values, in any order.

        More may be returned, never less.
        """

    def following(
        self, user_id: str, after: Position | None, count: int
    ) -> tuple[Sequence[tuple[Position, Entry]], Position | None]:
        """Return memories of a user behind a position, in an order that lasts, and where to go on.

        Here all are read, oldest first. A service that can be read in parts does better.

        Args:
            user_id: Whose memories.
            after: The position of a memory, or what this method returned; it need not be there any more.
            count: How many are wanted; it may be more or fewer.

        Returns:
            Memories with their positions, and the position to go on from, `None` at the end.
        """
        placed = [(position_of(entry.record), entry) for entry in self.entries(user_id, {})]
        return sorted((each for each in placed if after is None or each[0] > after), key=lambda each: each[0]), None

    @abstractmethod
    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        """Return up to `count` memories of a user that fit a text, best first; filters as in `entries`."""

    @abstractmethod
    def users(self) -> Sequence[str]:
        """Return every user who has a memory, and perhaps some who have none any more."""

    @abstractmethod
    def ping(self) -> Mapping[str, Any]:
        """Do something small and real, and return what is worth knowing."""

    def count_traces(self, handles: Sequence[str]) -> dict[str, int]:
        """Return what is left of erased memories elsewhere in the service, by store."""
        return {}


def position_of(record: MemoryRecord) -> Position:
    """Return the position of a memory by age."""
    return micros(record.created_at), record.id
