"""Transactions as generators: they yield statements and are sent rows, and never touch a connection.

How a verb becomes steps. A provider calls a function of `openmem._sql.sqlite` or `openmem._sql.postgres` with the
request. The call returns a generator, *steps*: nothing has run yet. The generator yields statements, one after the
other, and returns the answer of the verb. Steps that are made of others delegate with `yield from`, so a whole verb,
its audit entry included, is one generator. Nothing in it waits, so one text serves both forms, and a test can play the
database.

Who runs them. A driver loop in `openmem._io` sends each statement to the server and the rows back into the generator:

- SQLite (`_io/sqlite/connections.py`): all steps of a verb are one transaction, in a thread of the store for the async
  form. Reads run on one snapshot, writes after `begin immediate`. Steps that are given to `erase` are made a second
  time if the disk is full.
- Postgres (`_io/postgres/run_steps.py`): `run` lets each statement commit by itself, one round trip for each;
  `transact` wraps all of them in one transaction, with an advisory lock if one is named. Both take a function that
  makes the steps, and may call it again after a lost connection or a conflict (`retry`).

What a statement is answered with:

1. `Query`: its rows, as a list of tuples; an empty list for a statement that returns none. With `most`, SQLite stops
   reading once the rows weigh too much, and sends `Overfull`: those rows are whole, and more may be left.
2. `Many`: an empty list. Its rows may be a generator, which runs while the server stores those before.
3. A failure of the driver is raised by the loop and not inside the steps: the loop closes the generator, the
   transaction is rolled back, and the caller gets the error that `openmem._io` made of it. So steps catch no errors of
   the database, and code behind a `yield` may rely on the statement.

What steps raise (`NotFoundError`, `VersionConflictError` and so on) rolls the transaction back as well: a refusal
behind some statements leaves nothing behind where they run as one transaction. Under `run`, what was committed stays,
so steps that can refuse do so before their first statement that writes, or are given to `transact`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Row: TypeAlias = tuple[Any, ...]


class Overfull(list[Row]):
    """Rows of which more may be left, as these weigh too much for one page."""


class Weight(NamedTuple):
    """The most that some rows may weigh, in characters of the texts of a row that may be long."""

    most: int
    texts: Callable[[Row], tuple[str | None, ...]]

    def of(self, rows: Iterable[Row]) -> int:
        """Return how much they weigh together."""
        texts = self.texts
        return sum([len(text) for row in rows for text in texts(row) if text is not None])


@dataclass(slots=True)  # never changed, but a frozen one takes three times as long to make, and each verb makes some
class Query:
    """One statement; its rows are sent back.

    With `most`, SQLite reads rows, a few at a time, only until they weigh more than that; then `Overfull` is sent.
    """

    sql: str
    params: Sequence[Any] = ()
    most: Weight | None = None


@dataclass(slots=True)  # never changed; see `Query`
class Many:
    """One statement run for many rows of parameters; nothing is sent back.

    With `large`, a single row may take long to make.
    """

    sql: str
    rows: Iterable[Sequence[Any]]
    large: bool = False


Statement: TypeAlias = Query | Many
Steps: TypeAlias = Generator[Statement, list[Row], T]
