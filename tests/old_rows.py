"""Makes what a store holds older, as if time had passed."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from openmem._config.settings import sqlite_path

_DAY = 86_400_000_000


def age(url: str, days: int, user: str | None = None, *, adds: bool = True) -> None:
    """Make the entries of a user's audit log older, or those of all users.

    Args:
        url: A file or a database of Postgres.
        days: How much older.
        user: Whose entries.
        adds: In a file, those too that are in the rows of their memories.
    """
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            connection.execute(
                "update openmem.audit set at = at - make_interval(days => %s) where user_id = coalesce(%s, user_id)",
                (days, user),
            )
        return
    mine = "select user_no from users where user_id = coalesce(?, user_id)"
    with closing(sqlite3.connect(sqlite_path(url))) as connection:
        connection.execute(f"update journal set at = at - ? where entry >> 32 in ({mine})", (days * _DAY, user))
        connection.execute(
            f"update memories set created_at = created_at - ? where user_no in ({mine})", (days * _DAY * adds, user)
        )
        connection.commit()


def content_of(url: str) -> bytes:
    """Return all bytes of a file."""
    with open(sqlite_path(url), "rb") as file:
        return file.read()
