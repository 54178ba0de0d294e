"""Steps that know how long the vectors of a model are: two lengths under one name would not be comparable.

The table is asked once for each model and connection pool. Every statement that stores a vector looks again, on the
server, and fails where the store was moved to another length meanwhile (`guarded`).
"""

from __future__ import annotations

from typing import Final

from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import vector_column
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Model

REFUSED: Final = "23502"
"""The SQLSTATE of a statement whose guard found vectors of another length: it has no value for `version`."""


def agree(db: Names, model: Model) -> Steps[int]:
    """Return how long the store's vectors of the model are; those of a new model are as long as they say."""
    find = Query(f"select dim from {db.models} where name = $1", (model.name,))
    rows = yield find
    if not rows:
        yield Query(f"insert into {db.models}(name, dim) values($1, $2) on conflict (name) do nothing", model)
        rows = yield find
    return int(rows[0][0])


def are_there(db: Names) -> Steps[bool]:
    """Return whether any memory of the store has, or once had, a vector."""
    rows = yield Query(f"select 1 from {db.models} limit 1", ())
    return bool(rows)


def other(db: Names, name: str) -> Steps[str | None]:
    """Return the name of another model of which a memory has a vector, if one has."""
    rows = yield Query(f"select name from {db.models} where name <> $1 order by name", (name,))
    for (known,) in rows:  # one by one: a router of many servers joins no such table with those that are spread
        if (yield Query(f"select 1 from {db.memories} m where m.model = $1 limit 1", (known,))):
            return str(known)
    return None


def move(db: Names, model: Model) -> Steps[int | None]:
    """Have the store's vectors be that long from now on; return how long they were, if they were of another length."""
    known = yield from agree(db, model)
    if known == model.dim:
        return None
    yield Query(f"update {db.models} set dim = $2 where name = $1", model)
    return known


def guarded(db: Names, value: str, name: str, dim: int) -> str:
    """Return an expression for the version of a row that gets a vector: nothing, unless the length is right.

    A router of many servers plans no statement that asks another table for a value. There, the pool asks by itself.

    Args:
        db: The names.
        value: The version, as SQL.
        name: The placeholder of the model's name.
        dim: How long its vectors are.
    """
    if db.distributed:
        return value
    other = f"select 1 from {db.models} where name = {name} and dim <> {dim:d}"
    return f"case when exists({other}) then null else {value} end"


def fits(db: Names, alias: str, model: Model, name: str) -> str:
    """Return the condition that a row has a vector of the model, of the right length.

    Args:
        db: The names.
        alias: The table's alias.
        model: The model.
        name: The placeholder of its name.
    """
    length = f"{db.of_vector('vector_dims')}({alias}.{vector_column(model.dim)})"
    return f"({alias}.model = {name} and {length} = {model.dim:d})"
