"""An embedded store in memory: the driver loop runs the steps of a verb on it, without a file, a thread or a clock."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeAlias, TypeVar

from openmem._io.sqlite.run_steps import drive
from openmem._model.access import Access
from openmem._model.requests import Change, Draft
from openmem._model.scopes import ScopePattern, parse_grant, parse_pattern
from openmem._model.timestamps import micros
from openmem._sql.file_kind import FileKind
from openmem._sql.sqlite import write
from openmem._sql.sqlite.schema import MEMORIES
from openmem._sql.sqlite.writer import Blob
from openmem._sql.steps import Steps
from openmem._sql.writing import Incoming, Model, Stamp
from openmem.types import UTC, MemoryRecord

T = TypeVar("T")
Item: TypeAlias = Incoming[Blob]

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT = micros(NOW)
SECOND = 1_000_000
"""Microseconds."""
MODEL = Model("small", 2)
FIRST = 1 << 32
"""The place of the first user: a `rid` and an entry of that user are counted from here."""


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stamp(seconds: float = 0, app: str | None = "desk", request_id: str = "r0") -> Stamp:
    return Stamp(later(seconds), app, request_id)


def draft(content: str = "likes tea", **fields: Any) -> Draft:
    return Draft(content, **{"user_id": "ann", **fields})


def blob(*numbers: float) -> bytes:
    return array("f", numbers).tobytes()


def incoming(id_: str, content: str = "likes tea", vector: Sequence[float] | None = None, **fields: Any) -> Item:
    return Incoming(draft(content, **fields), id_, None if vector is None else blob(*vector))


def granted(*grants: str, user_id: str | None = None) -> Access:
    return Access(user_id, tuple(parse_grant(text) for text in grants))


def patterns(*texts: str) -> tuple[ScopePattern, ...]:
    return tuple(parse_pattern(text) for text in texts)


@cache
def _empty(kind: FileKind) -> sqlite3.Connection:
    """Return a store that is copied for each test, which takes a twentieth of what making one does."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("pragma auto_vacuum=incremental")
    for _, statements in kind.migrations.due(0):
        for statement in statements:
            connection.execute(statement)
    return connection


class Database:
    """One store, new and empty."""

    def __init__(self, kind: FileKind = MEMORIES) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        _empty(kind).backup(self.connection)

    def run(self, steps: Steps[T]) -> T:
        """Run steps as one transaction; an error takes back what they did."""
        self.connection.execute("begin immediate")
        try:
            result = drive(self.connection, steps)
            self.connection.execute("commit")
        finally:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
        return result

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, params).fetchall()

    def column(self, sql: str, *params: Any) -> list[Any]:
        return [row[0] for row in self.rows(sql, *params)]

    def value(self, sql: str, *params: Any) -> Any:
        [[found]] = self.rows(sql, *params)
        return found

    def add(
        self, id_: str, content: str = "likes tea", *, seconds: float = 0, model: Model | None = None, **fields: Any
    ) -> MemoryRecord:
        """Add one memory; a `vector` is one of `MODEL` unless another is named."""
        model = MODEL if model is None and "vector" in fields else model
        [record] = self.run(write.add([incoming(id_, content, **fields)], model, stamp(seconds)))
        return record

    def update(
        self,
        id_: str,
        *,
        seconds: float = 1,
        vector: Sequence[float] | None = None,
        model: Model | None = None,
        user_id: str | None = "ann",
        **fields: Any,
    ) -> MemoryRecord:
        given = None if vector is None else blob(*vector)
        model = MODEL if model is None and vector is not None else model
        return self.run(write.update(id_, user_id, Change(fields), given, model, stamp(seconds)))

    def indexed_words(self) -> dict[int, list[str]]:
        """Return what the index of words holds, by `rid`."""
        found: dict[int, list[str]] = {}
        for rid, term in self.rows('select doc, term from word_postings order by doc, "offset"'):
            found.setdefault(rid, []).append(term)
        return found
