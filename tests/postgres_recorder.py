"""Writes down every statement that the provider sends, and which steps sent it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.postgres.database import Pg
from openmem._sql.steps import Many, Query, Steps

T = TypeVar("T")
Make = Callable[[], Steps[T]]


@dataclass(frozen=True)
class Sent:
    """A statement with its parameters.

    Attributes:
        step: The innermost of the steps that sent it, such as `write.put`.
        sql: Its text.
        params: Its parameters; of one for many rows those of the first.
    """

    step: str
    sql: str
    params: Sequence[Any]


@dataclass
class Record:
    """The statements that were sent in a block.

    Attributes:
        sent: They, in their order.
        steps: All steps that took part.
    """

    sent: list[Sent] = field(default_factory=list)
    steps: set[str] = field(default_factory=set)

    def follow(self, steps: Steps[T]) -> Steps[T]:
        """Do the steps' work and write down what they send."""
        try:
            statement = next(steps)
            while True:
                chain = [*_chain(steps)]
                self.steps.update(chain)
                if isinstance(statement, Many):
                    rows = [*statement.rows]  # they may come from a generator, which is read once
                    statement = Many(statement.sql, rows)
                    self.sent += [Sent(chain[-1], statement.sql, row) for row in rows[:1]]
                else:
                    self.sent.append(Sent(chain[-1], statement.sql, statement.params))
                statement = steps.send((yield statement))
        except StopIteration as stop:
            result: T = stop.value
            return result


@contextmanager
def recorded() -> Iterator[Record]:
    """Record what every `Memory` on Postgres sends that is opened in the block."""
    record = Record()

    class Recording(Pg):
        def run(self, make: Make[T], deadline: Deadline, *, retry: bool = False, heavy: bool = False) -> T:
            return super().run(lambda: record.follow(make()), deadline, retry=retry, heavy=heavy)

        def transact(
            self,
            make: Make[T],
            deadline: Deadline,
            *,
            retry: bool = False,
            lock: int | None = None,
            heavy: bool = False,
        ) -> T:
            return super().transact(lambda: record.follow(make()), deadline, retry=retry, lock=lock, heavy=heavy)

        def plain(self, make: Make[T], deadline: Deadline, *, transaction: bool = False) -> T:
            return super().plain(lambda: record.follow(make()), deadline, transaction=transaction)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("openmem._sync.providers.postgres.Pg", Recording)
        yield record


def explain(db: Pg, sent: Sent) -> str:
    """Return the plan that the server makes for a statement with its parameters."""

    def steps() -> Steps[str]:
        rows = yield Query(f"explain (costs off) {sent.sql}", sent.params)
        return "\n".join(row[0] for row in rows)

    return db.run(steps, Deadline.after(10.0))


def _chain(steps: Steps[Any]) -> Iterator[str]:
    """Yield the names of some steps and of those that they wait for by `yield from`, outermost first."""
    inner: Any = steps
    while inner is not None:
        module = inner.gi_frame.f_globals["__name__"].rpartition(".")[2]
        yield f"{module}.{inner.gi_code.co_name}"
        inner = inner.gi_yieldfrom
