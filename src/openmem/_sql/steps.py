"""Transactions as generators: they yield statements and are sent rows, and never touch a connection.

A pipe drives them (`openmem._io.sqlite.database`): one text serves both forms, and every step is testable without I/O.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One statement; its rows are sent back.

    With `most`, SQLite reads rows only until their texts have more characters than that; the last one is sent, too.
    """

    sql: str
    params: Sequence[Any] = ()
    most: int | None = None


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


def characters_of(row: Row) -> int:
    """Return how many characters the texts of a row have."""
    return sum([len(value) for value in row if type(value) is str])
