"""A server's own store for a test, in a file and in a database, and everything that is written there."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from openmem._config.settings import sqlite_path


@pytest.fixture(params=["sqlite", "postgres"])
def server_store_url_(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a server's store that does not exist yet."""
    if request.param == "postgres":
        return str(request.getfixturevalue("empty_postgres_url"))
    return f"sqlite:///{tmp_path / 'server.db'}"


def written(url: str) -> bytes:
    """Return all bytes that the store holds: the files, or every row of every table as text."""
    if url.startswith("sqlite:"):
        path = Path(sqlite_path(url))
        return b"\n".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables "
            "where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        texts = [
            row[0] for (table,) in tables for row in connection.execute(f"select t::text from {table} t").fetchall()
        ]
        bodies = connection.execute("select body from openmem_server.replies where body is not null").fetchall()
    return "\n".join(texts).encode() + b"".join(row[0] for row in bodies)
