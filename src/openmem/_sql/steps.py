"""Transactions as generators: they yield statements and are sent rows, and never touch a connection.

A pipe drives them (`openmem._io.sqlite.database`): one text serves both forms, and every step is testable without I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]


class Overfull(list[Row]):
    """Rows of which more may be left, as these are too heavy."""


class Weight(NamedTuple):
    """How much some rows may weigh, in characters of the texts that may be long, and which of a row these are."""

    most: int
    texts: Callable[[Row], tuple[str | None, ...]]

    def of(self, rows: Iterable[Row]) -> int:
        """Return how much they weigh together."""
        texts = self.texts
        return sum([len(text) for row in rows for text in texts(row) if text is not None])


@dataclass(frozen=True, slots=True)
class Query:
    """One statement; its rows are sent back.

    With `most`, SQLite reads rows, a few at a time, only until they weigh more than that; then `Overfull` is sent.
    """

    sql: str
    params: Sequence[Any] = ()
    most: Weight | None = None


@dataclass(frozen=True, slots=True)
class Many:
    """One statement run for many rows of parameters; nothing is sent back.

    With `large`, a single row may take long to make.
    """

    sql: str
    rows: Iterable[Sequence[Any]]
    large: bool = False


Statement: TypeAlias = Query | Many
Steps: TypeAlias = Generator[Statement, list[Row], T]
