"""A server's store that an earlier version made is brought up to date, and what it holds still counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg

from openmem import AsyncServerStore, IdempotencySeed
from openmem._config.settings import sqlite_path
from openmem._model.timestamps import micros
from openmem._sql.server import schema
from openmem._sql.server.dialect import POSTGRES, SCHEMA, SQLITE
from openmem.server import Remembered, StoredReply

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, UTC)
BODY = b'{"id":"mem_1","content":"tea","x-a":{"id":"mem_2"}}'
REPLY = ("c", "k", "f", "ann", micros(NOW), "5", 201, "{}", BODY)
COLUMNS = "caller, idempotency_key, fingerprint, user_id, at, entropy, status, headers, body"


def make_version_1(url: str, row: Sequence[Any]) -> None:
    """Make a store as the first version did, with one reply in it."""
    if url.startswith("sqlite:"):
        with closing(sqlite3.connect(sqlite_path(url))) as file, file:
            for statement in schema.statements(SQLITE)[0]:
                file.execute(statement)
            file.execute(f"pragma application_id={schema.FILE.application_id}")
            file.execute("pragma user_version=1")
            file.execute(f"insert into replies({COLUMNS}) values({','.join('?' * len(row))})", row)
        return
    with psycopg.connect(url) as database:
        database.execute(f"create schema {SCHEMA}".encode())
        database.execute(f"create table {SCHEMA}.migrations(version integer primary key)".encode())
        for statement in schema.statements(POSTGRES)[0]:
            database.execute(statement.encode())
        database.execute(f"insert into {SCHEMA}.migrations values(1)".encode())
        marks = ",".join(["%s"] * len(row))
        database.execute(f"insert into {SCHEMA}.replies({COLUMNS}) values({marks})".encode(), row)


async def test_reply_of_the_first_version_is_sent_again_and_can_be_erased(server_store_url_: str) -> None:
    make_version_1(server_store_url_, REPLY)
    async with AsyncServerStore(server_store_url_) as store:
        kept = await store.begin_reply("c", "k", "f", NOW, user_id="ann")
        assert kept == Remembered(IdempotencySeed(NOW, 5), StoredReply(201, {}, BODY))
        assert await store.erase_replies("mem_2") == await store.erase_replies("mem_1", user_id="bob") == 0
        assert await store.erase_replies("mem_1", user_id="ann") == 1
        erased = await store.begin_reply("c", "k", "f", NOW, user_id="ann")
        assert erased.reply == StoredReply(404, {}, None)


async def test_store_of_the_first_version_takes_new_replies(server_store_url_: str) -> None:
    make_version_1(server_store_url_, REPLY)
    for _ in range(2):  # the second time, it is up to date
        async with AsyncServerStore(server_store_url_) as store:
            await store.begin_reply("c", "new", "f", NOW, user_id=None)
            await store.end_reply("c", "new", 201, {}, b"{}", memory_ids=["mem_7"])
    async with AsyncServerStore(server_store_url_) as store:
        assert await store.erase_replies("mem_7", user_id="bob") == 1
