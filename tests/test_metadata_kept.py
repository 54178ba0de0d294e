"""Fields of the caller's own that an older version kept under the name `metadata` are metadata from now on."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psycopg

from openmem import Memory
from openmem._model.ids import routing_bucket
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.schema import migrations
from openmem._sql.sqlite.schema import APPLICATION_ID, MIGRATIONS

BEFORE_SQLITE: Final = 7
BEFORE_POSTGRES: Final = 4
OBJECT: Final[dict[str, Any]] = {"lang": "py", "n": [1.0, 10**30, -0.5], "none": None}
KEPT: Final = {
    "plain": ('{"x-a":1}', None, {"x-a": 1}),
    "object": (json.dumps({"metadata": OBJECT, "x-a": 1}), OBJECT, {"x-a": 1}),
    "only": ('{"metadata":{}}', {}, {}),
    "text": ('{"metadata":"text"}', None, {"x-metadata": "text"}),
    "list": ('{"metadata":[1]}', None, {"x-metadata": [1]}),
    "none": (None, None, {}),
}


def assert_read(memory: Memory) -> None:
    for id_, (_, metadata, extensions) in KEPT.items():
        record = memory.get(id_, user_id="ann")
        shown, wanted = (record.metadata, record.model_extra), (metadata, extensions)
        assert json.dumps(shown, sort_keys=True) == json.dumps(wanted, sort_keys=True)
    changed = memory.update("text", user_id="ann", metadata_patch={"a": 1})
    assert (changed.metadata, changed.model_extra) == ({"a": 1}, {"x-metadata": "text"})
    again = memory.update("object", user_id="ann", metadata=None)
    assert (again.metadata, again.model_extra) == (None, {"x-a": 1})
    [before] = memory.history("object", user_id="ann")
    assert before.metadata == OBJECT


def test_own_fields_called_metadata_in_an_older_file_are_metadata(store_path: Path) -> None:
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        for statement in (*sum(MIGRATIONS[:BEFORE_SQLITE], ()), f"pragma application_id={APPLICATION_ID}"):
            connection.execute(statement)
        connection.execute(f"pragma user_version={BEFORE_SQLITE}")
        connection.execute("insert into users(user_no, user_id) values(1, 'ann')")
        for rid, (id_, (extensions, _, _)) in enumerate(KEPT.items(), (1 << 32) + 1):
            connection.execute(
                "insert into memories(rid, id, user_no, content, created_at, version, extensions, terms, words) "
                "values(?, ?, 1, 'tea', 1767225600000000, 1, ?, 1, 'tea')",
                (rid, id_, extensions),
            )
    with Memory(url=str(store_path), embedder="none") as memory:
        assert_read(memory)
    with closing(sqlite3.connect(store_path)) as connection:
        rows = dict(connection.execute("select id, metadata from memories where id in ('only', 'plain')"))
        assert rows == {"only": "{}", "plain": None}


def test_own_fields_called_metadata_in_an_older_schema_are_metadata(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute("create extension vector")
        connection.execute("create schema openmem")
        for statements in migrations(Names()).statements[:BEFORE_POSTGRES]:
            for statement in statements:
                connection.execute(statement.encode())
        connection.execute("create table openmem.migrations(version integer primary key, applied_at timestamptz)")
        connection.execute("insert into openmem.migrations(version) select generate_series(1, %s)", (BEFORE_POSTGRES,))
        for id_, (extensions, _, _) in KEPT.items():
            connection.execute(
                "insert into openmem.memories(bucket, id, user_id, content, created_at, version, extensions, words) "
                "values(%s, %s, 'ann', 'tea', '2026-01-01Z', 1, %s, '')",
                (routing_bucket("ann"), id_, extensions),
            )
    with Memory(url=empty_postgres_url, embedder="none") as memory:
        assert_read(memory)
    with psycopg.connect(empty_postgres_url) as connection:
        rows = connection.execute("select id, metadata::text from openmem.memories where id in ('only', 'plain')")
        assert dict(rows.fetchall()) == {"only": "{}", "plain": None}
