"""A database whose tables are hash-partitioned, made as an administrator would: by the changed migration script."""

from __future__ import annotations

import psycopg

from openmem import migration_script

PARTITIONS = 16
TABLES = ("memories", "versions", "supersessions", "vectors", "audit", "feed")
"""The tables with rows of users; each is partitioned by the user's bucket."""


def make_partitions(url: str) -> None:
    """Make the tables of openmem in an empty database, in partitions."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(migration_script(partitions=PARTITIONS).encode())


def empty_tables(url: str) -> None:
    """Take every row out: quicker than a new database with hundreds of tables and indexes."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("; ".join(f"delete from openmem.{table}" for table in (*TABLES, "models")).encode())
