"""The yardstick on Postgres: its own statements, ready-made, through the bare drivers.

One connection without a pool, vectors encoded beforehand, rows left as the driver returns them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import psycopg
from benchmarks.corpus import DIM, Batch, Floats
from pgvector import Vector
from psycopg.adapt import Dumper
from psycopg.pq import Format

from openmem._model.ids import new_memory_ids, routing_bucket
from openmem._rules.drafting import make_draft
from openmem._rules.validation import make_search_query
from openmem._sql.postgres import search, write
from openmem._sql.postgres.names import Names
from openmem._sql.steps import Many, Query
from openmem._sql.writing import Incoming, Model, Stamp

MODEL = Model("given", DIM)
OWN = Names("bare")
"""The tables of the bare drivers: like openmem's, with the same indexes."""

_PLAIN = """
    select id, user_id, content, scope, tags, created_at, version, 1 - (embedding <=> $3) as cosine
    from openmem.memories where bucket = $1 and user_id = $2 order by embedding <=> $3 limit 10
"""

Asked = tuple[str, list[Any]]


class Encoded(bytes):
    """A vector as it goes over the wire."""


class EncodedDumper(Dumper):
    """Sends what is encoded already."""

    format = Format.BINARY

    def dump(self, obj: Encoded) -> bytes:
        """Return what is sent."""
        return obj


class BareAsync:
    """One connection through asyncpg."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> BareAsync:
        """Connect."""
        connection = await asyncpg.connect(url)
        await connection.set_type_codec("vector", encoder=bytes, decoder=bytes, format="binary")
        return cls(connection)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def fetch(self, asked: Asked) -> object:
        """Run one statement."""
        return await self._connection.fetch(asked[0], *asked[1])

    async def run(self, sql: str) -> object:
        """Run statements without parameters."""
        return await self._connection.execute(sql)

    async def insert_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows in one transaction."""
        async with self._connection.transaction():
            await self._connection.executemany(sql, rows)


class BareSync:
    """One connection through psycopg."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor)
        found = self._connection.execute("select 'vector'::regtype::oid::bigint").fetchone()
        assert found is not None
        self._connection.adapters.register_dumper(Encoded, type("Known", (EncodedDumper,), {"oid": found[0]}))

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def fetch(self, asked: Asked) -> object:
        """Run one statement."""
        return self._connection.cursor(binary=True).execute(*asked).fetchall()

    def run(self, asked: Asked) -> None:
        """Run one statement without rows."""
        self._connection.cursor(binary=True).execute(*asked)

    def insert_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows in one transaction."""
        with self._connection.transaction():
            self._connection.cursor(binary=True).executemany(sql, rows)


def same_search(text: str, user_id: str, vector: Floats, mode: str = "vector") -> Asked:
    """Return the statement that openmem's search runs, audit entry included."""
    query, stamp = make_search_query(text, user_id, mode=mode), _stamp()
    given = (Names(), query, vector, MODEL, stamp)
    statement = next(
        search.by_vector(*given) if mode == "vector" else search.hybrid(*given, search.RESULTS, fused=True)
    )
    assert isinstance(statement, Query)
    return statement.sql, _raw(statement.params)


def plain_search(user_id: str, vector: Floats) -> Asked:
    """Return the tables of a program that needs neither an audit log nor validity: the least there can be."""
    return _PLAIN, [routing_bucket(user_id), user_id, *_raw([Vector(vector)])]


def insert(batch: Batch, user_id: str, scope: str) -> tuple[str, list[list[Any]]]:
    """Return the statement that inserts memories into the tables of the bare drivers, and its rows."""
    stamp = _stamp()
    ids = new_memory_ids([user_id] * len(batch), stamp.now, secrets.randbits(71))
    items = [
        Incoming(make_draft(text, user_id, scope), id_, vector)
        for text, id_, vector in zip(batch.texts, ids, batch.vectors, strict=True)
    ]
    statement = next(write.insert(OWN, items, MODEL, stamp))
    assert isinstance(statement, Many)
    return statement.sql, [_raw(row) for row in statement.rows]


def same_add(text: str, user_id: str, scope: str, vector: Floats) -> Asked:
    """Return the statement that openmem's add runs, audit entry included, for the tables of the bare drivers."""
    stamp = _stamp()
    [id_] = new_memory_ids([user_id], stamp.now, secrets.randbits(71))
    item = Incoming(make_draft(text, user_id, scope), id_, vector)
    statement = next(write.add_one(OWN, item, MODEL, stamp))
    assert isinstance(statement, Query)
    return statement.sql, _raw(statement.params)


def _raw(values: Iterable[Any]) -> list[Any]:
    return [Encoded(value.to_binary()) if isinstance(value, Vector) else value for value in values]


def _stamp() -> Stamp:
    request_id = secrets.token_hex(16)
    return Stamp(datetime.now(UTC), "benchmark", request_id, f"bare{request_id}")
