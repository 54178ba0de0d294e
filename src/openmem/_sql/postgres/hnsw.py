"""The approximate index (HNSW) on Postgres, for those who ask for it, and the search that may use it.

Such an index holds the vectors of all users and is filtered afterwards, so by itself it finds too little: measured,
as few as none of ten. Hence the rails. It serves only users with many memories and searches without a further
filter; it is scanned on until several times the wanted number is found, of which the best are taken; where it ends
before that, the exact search answers; and it is used only as long as trials beside the exact search show that it finds
nearly everything (`hnsw_trials`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from openmem._model.ids import routing_bucket
from openmem._model.requests import SearchQuery, View
from openmem._sql.postgres import audit, cluster, search
from openmem._sql.postgres.hnsw_trials import share_found
from openmem._sql.postgres.large import lean
from openmem._sql.postgres.models import fits
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.options import DEFAULT_FROM_ROWS, check_approximation
from openmem._sql.postgres.rows import columns
from openmem._sql.postgres.schema import LOCK_KEY, vector_column
from openmem._sql.postgres.search import Floats
from openmem._sql.postgres.vectors import as_vector
from openmem._sql.postgres.view import searched
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Model, Stamp
from openmem.errors import ProviderError
from openmem.types import SearchResult

MAX_BUILD_BYTES: Final = 32 << 20
"""Size of the table above which the index is not made during a call: that takes seconds, and writers wait."""

OPTIONS: Final = {"hnsw": "on", "hnsw_from": "from_rows"}
"""The options of the provider, each with the field of `Approximation` that it sets."""

MAX_SCAN: Final = 20_000
"""Entries of the index after which a scan gives up: by then the exact search is quicker."""

_TYPES: Final = {"embedding": "vector", "embedding_half": "halfvec"}
_MAX_EF: Final = 1_000


@dataclass(frozen=True, slots=True)
class Approximation:
    """Whether and for whom a search may use an approximate index.

    Args:
        on: There is to be an index for each model that is used.
        from_rows: Users with fewer memories are searched exactly, which is quick enough and misses nothing.
    """

    on: bool = False
    from_rows: int = DEFAULT_FROM_ROWS

    def __post_init__(self) -> None:
        check_approximation(self.on, self.from_rows)

    def fits(self, view: View, model: Model) -> bool:
        """Return whether the index can help: no filter but the user, and vectors short enough for one."""
        unfiltered = view.visible is None and (view.scope is None or view.scope.matches(None))
        unfiltered = unfiltered and not view.tags and view.where is None
        return self.wants(model) and unfiltered and view.as_of is None

    def wants(self, model: Model) -> bool:
        """Return whether there is to be an index for this model."""
        return self.on and vector_column(model.dim) in _TYPES


def index_name(model: Model) -> str:
    """Return the name of a model's index; a model's own name may hold any character, so its hash stands there."""
    return f"memories_hnsw_{hashlib.sha256(f'{model.dim} {model.name}'.encode()).hexdigest()[:16]}"


def index_statement(db: Names, model: Model, *, concurrently: bool = False) -> str:
    """Return the statement that makes a model's index.

    Args:
        db: The names.
        model: The model and the length of its vectors.
        concurrently: Let writers go on meanwhile; not for partitioned tables.
    """
    column = vector_column(model.dim)
    kind = _TYPES[column]
    return (
        f"create index {'concurrently ' if concurrently else ''}if not exists {index_name(model)} on {db.memories} "
        f"using hnsw (({column}::{db.of_vector(kind)}({model.dim})) {db.of_vector(kind)}_cosine_ops) "
        f"where model = {_literal(model.name)} and {db.of_vector('vector_dims')}({column}) = {model.dim:d}"
    )


def make_index(db: Names, model: Model, allowed: bool) -> Steps[bool]:
    """Make a model's index unless it is there. For a transaction.

    Args:
        db: The names.
        model: The model and the length of its vectors.
        allowed: The schema may be changed.

    Returns:
        Whether it can be used: one that is still being built cannot.

    Raises:
        ProviderError: It is missing, and the table is too large to make it now, or may not be changed.
    """
    found = yield from _state(db, model)
    if found is not None:
        return found
    if not allowed:
        raise _missing(db, model, "the schema may not be changed (migrate=False)")
    # Also keeps it apart from migrations.
    yield Query("select pg_advisory_xact_lock($1::bigint)", (LOCK_KEY,))
    rows = yield Query(f"select {cluster.size_of_memories(db)} > $2::bigint", (db.memories, MAX_BUILD_BYTES))
    if rows[0][0]:
        raise _missing(db, model, "the table is too large to be indexed during a call")
    yield Query(index_statement(db, model))
    return True


def drop_index(db: Names, model: Model) -> Steps[None]:
    """Drop a model's index, if there is one: the store moves to vectors of another length of that name."""
    if vector_column(model.dim) in _TYPES and (yield from _state(db, model)) is not None:
        yield Query(f"drop index if exists {db.table(index_name(model))}")


def by_vector(
    db: Names, query: SearchQuery, vector: Floats, model: Model, from_rows: int, stamp: Stamp
) -> Steps[list[SearchResult]]:
    """Find the memories with the highest cosine, best first, by the index where it helps. For a transaction.

    Raises:
        InvalidRequestError: Some visible memory has no vector of this model, so the answer would be incomplete.
    """
    found = yield from _by_index(db, query, vector, model, from_rows, stamp, noted=True)
    if found is None:
        return (yield from search.by_vector(db, query, vector, model, stamp))
    return found


def by_trial(
    db: Names, query: SearchQuery, vector: Floats, model: Model, from_rows: int, stamp: Stamp
) -> Steps[tuple[list[SearchResult], float | None]]:
    """Search exactly, and look at what the index would have found. For a transaction.

    Returns:
        The exact answer, and which share of it the index found; `None` if the index does not serve this user.
    """
    exact = yield from search.by_vector(db, query, vector, model, stamp)
    found = yield from _by_index(db, query, vector, model, from_rows, stamp, noted=False)
    return exact, None if found is None else share_found(found, exact)


def _by_index(
    db: Names, query: SearchQuery, vector: Floats, model: Model, from_rows: int, stamp: Stamp, *, noted: bool
) -> Steps[list[SearchResult] | None]:
    """Ask the index; `None` if the user has too few memories for it, or it finds too few."""
    wanted = 4 * query.limit + 60
    user_id = query.view.user_id
    rows = yield Query(
        f"""
        select case when mine.n >= $4 then {_settings(wanted)} end from (
          select count(*) as n from (
            select 1 from {db.memories} where bucket = $1 and user_id = $2 and model = $3 limit $4
          ) as up_to_that
        ) as mine
        """,
        (routing_bucket(user_id), user_id, model.name, from_rows),
    )
    if rows[0][0] is None:
        return None
    rows = yield _nearest(db, query, vector, model, wanted, stamp, noted=noted)
    if not rows[0][0] and rows[0][-1] < wanted:
        return None
    if noted:
        yield from search.entered(db, query, stamp)
    return (yield from search.answer_of(db, query, model, [row[:-1] for row in rows], stamp))


def _nearest(
    db: Names, query: SearchQuery, vector: Floats, model: Model, wanted: int, stamp: Stamp, *, noted: bool
) -> Query:
    """Return the statement that asks the index; the last column says how many it found.

    The order of the index is only roughly that of the distance, so what it found is sorted once more. The audit log
    is written only if this is the answer, and to be noted.
    """
    given = search.start(db, query, stamp)
    conditions = " and ".join(searched(query.view, stamp.now, given))
    column, name = vector_column(model.dim), given.add(model.name)
    kind = db.of_vector(_TYPES[column])
    distance = f"m.{column}::{kind}({model.dim}) {db.distance} {given.add(as_vector(vector))}::{kind}({model.dim})"
    source = f"{db.memories} m where m.bucket = $1 and m.user_id = $2 and {conditions}"
    most = given.add(wanted)
    entry = audit.entry_before(db, 3, f"(select count(*) from near) >= {most}" if noted else "false")
    return Query(
        f"""
        with near as materialized (
          select {columns("m")}, {distance} as distance from {source} and {fits(db, "m", model, name)}
          order by {distance} limit {most}
        ),
        {entry} size as materialized (select count(*) as n from near)
        select exists(select 1 from {source} and (m.model is null or m.model < {name} or m.model > {name})),
          {lean("found")}, 1 - found.distance, size.n
        from size left join lateral (
          select * from near order by distance, created_at desc, id desc limit {given.add(query.limit)}
        ) as found on true
        """,
        given.values,
    )


def _settings(wanted: int) -> str:
    # All of them end with the transaction. With sorting discouraged, and the model known to the planner, the index
    # is the plan; before version 18 that looks so expensive that the server would compile it.
    values = {
        "hnsw.iterative_scan": "relaxed_order",
        "hnsw.max_scan_tuples": f"{MAX_SCAN}",
        "hnsw.ef_search": f"{min(4 * wanted, _MAX_EF)}",
        "plan_cache_mode": "force_custom_plan",
        "enable_sort": "off",
        "jit": "off",
    }
    return " || ".join(f"set_config('{name}', '{value}', true)" for name, value in values.items())


def _state(db: Names, model: Model) -> Steps[bool | None]:
    rows = yield Query(
        """
        select i.indisvalid from pg_catalog.pg_index i
        join pg_catalog.pg_class c on c.oid = i.indexrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1::text and c.relname = $2::text
        """,
        (db.schema, index_name(model)),
    )
    return bool(rows[0][0]) if rows else None


def _literal(text: str) -> str:
    # Read the same whatever `standard_conforming_strings` says. The server refuses a NUL by itself.
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


def _missing(db: Names, model: Model, reason: str) -> ProviderError:
    return ProviderError(
        f"hnsw=True: the model {model.name!r} has no index yet, and {reason}: run\n"
        f"{index_statement(db, model, concurrently=True)};\n(without concurrently if the table is partitioned)",
        provider="postgres",
    )
