"""Versions are kept as what changed: small changes of large memories take little room, and older rows are read."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem import Memory
from openmem._model.ids import routing_bucket
from openmem._sql.sqlite.schema import APPLICATION_ID, MIGRATIONS
from tests.postgres_catalog import first_version

LARGE: dict[str, Any] = {"x-a": "z" * 900_000}
CHANGES = 300
BUCKET = routing_bucket("ann")


def size_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def change_often(memory: Memory, id_: str) -> None:
    for number in range(CHANGES):
        memory.update(id_, user_id="ann", tags=[str(number % 2)])


def assert_all_kept(memory: Memory, id_: str) -> None:
    earlier = memory.history(id_, user_id="ann")
    newest = earlier[0]
    assert newest.version == CHANGES
    assert newest.tags == [str((CHANGES - 2) % 2)]
    assert newest.model_extra == LARGE


def test_small_changes_of_a_large_memory_take_little_room_in_a_file(tmp_path: Path) -> None:
    with Memory(url=str(tmp_path / "store.db"), embedder="none") as memory:
        record = memory.add(content="x", user_id="ann", **LARGE)
        memory.delete_all("nobody")
        before = size_on_disk(tmp_path)
        change_often(memory, record.id)
        memory.delete_all("nobody")
        assert size_on_disk(tmp_path) - before < 500 * CHANGES
        assert_all_kept(memory, record.id)


def test_small_changes_of_a_large_memory_take_little_room_in_postgres(postgres_url: str) -> None:
    query = "select coalesce(sum(pg_column_size(record)), 0) from openmem.versions"
    with Memory(url=postgres_url, embedder="none") as memory, psycopg.connect(postgres_url) as connection:
        record = memory.add(content="x", user_id="ann", **LARGE)
        change_often(memory, record.id)
        (size,) = connection.execute(query).fetchone() or (None,)
        assert 0 < size < 300 * CHANGES
        assert_all_kept(memory, record.id)


@pytest.mark.parametrize("place", ["file", "postgres"])
def test_changes_of_everything_take_no_more_than_whole_versions(place: str, store_url: str, postgres_url: str) -> None:
    """Steps back are read from the next whole version on: there must be some, and no row larger than the memory."""
    with Memory(url=store_url if place == "file" else postgres_url, embedder="none") as memory:
        record = memory.add(content="0" * 5_000, user_id="ann")
        for number in range(1, 12):
            memory.update(record.id, user_id="ann", content=str(number % 10) * 5_000)
        assert [past.content[0] for past in memory.history(record.id)] == [str(n % 10) for n in range(10, -1, -1)]
    if place == "file":
        with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection:
            rows = connection.execute("select step, length(record) from versions").fetchall()
    else:
        with psycopg.connect(postgres_url) as connection:
            rows = connection.execute("select step, length(record::text) from openmem.versions").fetchall()
    assert sum(not step for step, _ in rows) >= 5
    assert all(size < 5_500 for _, size in rows)


# --- rows that were whole ---


def whole(version: int, content: str) -> str:
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": f"2026-01-0{version}T00:00:00Z"}
    return json.dumps({"id": "m1", "content": content, "user_id": "ann", "version": version, **times, "x-a": "kept"})


def assert_read(memory: Memory) -> None:
    """Look at a memory at version 3 whose versions 1 and 2 are whole, and change it twice."""
    memory.update("m1", user_id="ann", tags=["x"])
    memory.update("m1", user_id="ann", content="fifth")
    earlier = memory.history("m1", user_id="ann")
    assert [(past.version, past.content, past.tags) for past in earlier] == [
        (4, "third", ["x"]),
        (3, "third", None),
        (2, "second", None),
        (1, "first", None),
    ]
    assert [past.model_extra for past in earlier] == [{}, {}, {"x-a": "kept"}, {"x-a": "kept"}]
    memory.delete("m1", user_id="ann")


def test_whole_versions_of_an_older_file_are_read(store_path: Path) -> None:
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        for statement in (*sum(MIGRATIONS[:3], ()), f"pragma application_id={APPLICATION_ID}", "pragma user_version=3"):
            connection.execute(statement)
        first = 1 << 32
        connection.execute("insert into users(user_no, user_id) values(1, 'ann')")
        connection.execute(
            "insert into memories(rid, id, user_no, content, created_at, updated_at, version, terms, words) "
            "values(?, 'm1', 1, 'third', 1767225600000000, 1767398400000000, 3, 1, 'third')",
            (first + 1,),
        )
        for version, content in ((1, "first"), (2, "second")):
            row = (first + 1, version, version, whole(version, content))
            connection.execute("insert into versions values(?, ?, ?, ?)", row)
    with Memory(url=str(store_path), embedder="none") as memory:
        assert_read(memory)


def test_whole_versions_of_an_older_schema_are_read(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute("create extension vector")
        for statement in first_version():
            connection.execute(statement.encode())
        connection.execute(
            "insert into openmem.memories(bucket, id, user_id, content, created_at, updated_at, version, words) "
            "values(%s, 'm1', 'ann', 'third', '2026-01-01Z', '2026-01-03Z', 3, '')",
            (BUCKET,),
        )
        for version, content in ((1, "first"), (2, "second")):
            row = (BUCKET, version, whole(version, content))
            connection.execute("insert into openmem.versions values(%s, 'm1', 'ann', %s, now(), %s)", row)
    with Memory(url=empty_postgres_url, embedder="none") as memory:
        assert_read(memory)
