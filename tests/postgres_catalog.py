"""The objects of a schema on Postgres, to compare, and roles with few rights."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import ledger, migrations

_COLUMNS = """
    select c.relname::text, a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
      a.attstorage::text, pg_get_expr(d.adbin, d.adrelid)
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relnamespace = %s::regnamespace and c.relkind = 'r' and a.attnum > 0 order by 1, 2
"""
_INDEXES = "select tablename::text, indexname::text, indexdef from pg_indexes where schemaname = %s order by 1, 2"
_CONSTRAINTS = """
    select conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = %s::regnamespace order by 1, 2
"""


def execute(url: str, *statements: str) -> None:
    """Run statements as the administrator of the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def catalog(url: str, schema: str = "openmem") -> list[tuple[object, ...]]:
    """Return all columns, indexes and constraints of a schema, and which migrations it knows."""
    with psycopg.connect(url) as connection:
        rows = [row for text in (_COLUMNS, _INDEXES, _CONSTRAINTS) for row in connection.execute(text, (schema,))]
        ledger = sql.SQL("select version from {}.migrations order by 1").format(sql.Identifier(schema))
        return [*rows, *connection.execute(ledger)]


def first_version() -> list[str]:
    """Return the statements that make the schema `openmem` as the first version did."""
    noted, statements = ledger(Names()), migrations(Names()).statements[0]
    return [noted.make_schema, noted.make_table, *statements, f"insert into {noted.table}(version) values(1)"]


@contextmanager
def plain_role(url: str) -> Iterator[tuple[str, str]]:
    """Make a role that may connect to the database and nothing else; provide its name and its address."""
    name = f"openmem_role_{uuid.uuid4().hex[:12]}"
    execute(url, f"create role {name} login password 'plain'")
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    try:
        yield name, urlunsplit(parts._replace(netloc=f"{name}:plain@{place}"))
    finally:
        execute(url, f"drop owned by {name} cascade", f"drop role {name}")
