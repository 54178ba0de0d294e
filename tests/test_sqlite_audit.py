"""The audit log of the embedded store: an `add` is noted in the row of its memory, which no reader may notice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openmem import DeadlineExceededError, Memory
from openmem._model.timestamps import time_of
from openmem._sql.sqlite import audit
from openmem._sql.writing import Stamp
from openmem.errors import ProviderUnavailableError
from openmem.types import AuditEntry

LINE = '{"memory": {"id": "m1", "content": "tea", "user_id": "ann", "created_at": "2026-01-01T00:00:00Z"}}'


@pytest.fixture
def memory(store_path: Path) -> Iterator[Memory]:
    with Memory(url=str(store_path), embedder="none", app="cli") as memory:
        yield memory


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def noted(memory: Memory, user_id: str = "ann", **filters: Any) -> list[tuple[str | None, str | None, str | None]]:
    """Return what the audit log holds, oldest first: action, memory and scope."""
    entries = memory.audit(user_id, limit=1_000, **filters)
    return [(entry.action, entry.memory_id, entry.scope) for entry in reversed(entries)]


def moment(entry: AuditEntry) -> datetime:
    assert entry.timestamp is not None
    return entry.timestamp


def test_add_is_audited_without_a_row_of_its_own(memory: Memory, store_path: Path) -> None:
    before = datetime.now(UTC)
    view = memory.for_caller(request_id="r-1")
    record = view.add(content="likes tea", user_id="ann", scope="a/b")
    others = view.add_many([{"content": "likes milk", "source": {"app": "web"}}, {"content": "sugar"}], user_id="ann")
    assert rows(store_path, "select * from journal") == []
    entries = memory.audit("ann")
    ids = [entry.memory_id for entry in entries]
    assert ids == [others[1].id, others[0].id, record.id]
    assert {(entry.action, entry.app, entry.request_id) for entry in entries} == {("add", "cli", "r-1")}
    assert [entry.scope for entry in entries] == [None, None, "a/b"]
    assert all(before <= moment(entry) <= datetime.now(UTC) for entry in entries)
    assert rows(store_path, "select action, memory_id from audit order by entry desc") == [("add", id_) for id_ in ids]


def test_order_is_that_in_which_things_were_done(memory: Memory, store_path: Path) -> None:
    first = memory.add(content="tea", user_id="ann", scope="a")
    memory.search("tea", "ann")
    second, third = memory.add_many([{"content": "milk", "key": "k"}, {"content": "sugar"}], user_id="ann")
    memory.update(first.id, scope="b")
    memory.add(content="cream", user_id="ann", key="k")
    memory.delete(third.id)  # the newest: its place is given again
    fourth = memory.add(content="lemon", user_id="ann")
    memory.import_([LINE])
    memory.update(first.id, content="green tea")
    fifth = memory.add(content="honey", user_id="ann", scope="a")
    memory.get(fifth.id)
    expected = [
        ("add", first.id, "a"),
        ("search", None, None),
        ("add", second.id, None),
        ("add", third.id, None),
        ("update", first.id, "b"),
        ("add", second.id, None),
        ("delete", third.id, None),
        ("add", fourth.id, None),
        ("add", "m1", None),
        ("update", first.id, "b"),
        ("add", fifth.id, "a"),
        ("get", fifth.id, "a"),
    ]
    assert noted(memory) == expected
    assert rows(store_path, "select action, memory_id, scope from audit order by entry") == expected
    with Memory(url=str(store_path), embedder="none") as other:
        other.add(content="water", user_id="ann")
        assert noted(other)[: len(expected)] == expected
    numbers = [entry for (entry,) in rows(store_path, "select entry from audit")]
    assert len(set(numbers)) == len(numbers) == len(expected) + 1


def test_deleted_memory_leaves_the_entry_of_its_add(memory: Memory) -> None:
    view = memory.for_caller(app="web", request_id="r-2")
    record = view.add(content="tea", user_id="ann", scope="a")
    (before,) = memory.audit("ann")
    memory.delete(record.id)
    after = memory.audit("ann")
    assert [entry.action for entry in after] == ["delete", "add"]
    assert after[1] == before
    assert (before.app, before.request_id, before.scope) == ("web", "r-2", "a")


def test_app_of_the_source_stands_in_for_an_instance_without_one(store_url: str) -> None:
    with Memory(url=store_url, embedder="none") as memory:
        memory.add(content="tea", user_id="ann", source={"app": "web"})
        memory.add(content="milk", user_id="ann")
        assert [entry.app for entry in memory.audit("ann")] == [None, "web"]


def test_filters_find_entries_wherever_they_are(memory: Memory) -> None:
    web = memory.for_caller(app="web")
    for number in range(6):
        record = (web if number % 2 else memory).add(content=f"tea {number}", user_id="ann")
        if number < 3:
            memory.update(record.id, tags=["x"])
    assert [action for action, _, _ in noted(memory, app="web")] == ["add"] * 3
    assert len(noted(memory, app="cli")) == 6
    assert [entry.action for entry in memory.audit("ann", limit=5)] == ["add", "add", "add", "update", "add"]
    newest = moment(memory.audit("ann")[0])
    assert len(noted(memory, since=newest)) == 1
    assert noted(memory, since=newest + timedelta(seconds=1)) == []
    assert noted(memory, "bob") == []


def test_import_is_noted_at_its_own_time(memory: Memory) -> None:
    before = datetime.now(UTC)
    memory.import_([LINE])
    (entry,) = memory.audit("ann")
    assert (entry.action, entry.memory_id) == ("add", "m1")
    assert moment(entry) >= before


@pytest.mark.parametrize("scope", [None, "a/*"])
def test_erasure_takes_names_out_of_the_entries_and_keeps_them(
    memory: Memory, store_path: Path, scope: str | None
) -> None:
    kept = memory.add(content="milk", user_id="ann", scope="b")
    for number in range(3):
        memory.add(content=f"tea {number}", user_id="ann", scope="a/b")
    other = memory.add(content="tea", user_id="bob", scope="a/b")
    receipt = memory.delete_all("ann", scope=scope)
    assert receipt.erased["audit"] == (4 if scope is None else 3)
    assert receipt.complete
    left = [("add", None, None)] * 3 + [("delete", None, scope)]
    assert noted(memory) == [("add", None, None) if scope is None else ("add", kept.id, "b"), *left]
    assert noted(memory, "bob") == [("add", other.id, "a/b")]
    assert len(rows(store_path, "select * from audit")) == 6


def test_audit_waits_for_entries_that_another_thread_is_writing(memory: Memory, store_path: Path) -> None:
    """Such an entry is neither in the file nor among those that wait: an audit at that moment missed it."""
    record = memory.add(content="tea", user_id="ann")
    store = memory._provider._db._store  # type: ignore[attr-defined]
    with closing(sqlite3.connect(store_path, isolation_level=None)) as other:
        other.execute("begin immediate")
        memory.get(record.id)
        while store._deferred or not store._in_flight:
            pass  # until the store's own thread has taken it, and waits for its turn
        with pytest.raises((DeadlineExceededError, ProviderUnavailableError)):
            memory.audit("ann", timeout=0.2)
        other.execute("rollback")
    assert [action for action, _, _ in noted(memory)] == ["add", "get"]


@pytest.mark.parametrize("scope", [None, "a/*"])
def test_read_that_is_entered_after_an_erasure_by_another_names_nothing(
    memory: Memory, store_path: Path, scope: str | None
) -> None:
    gone, removed = (memory.add(content=text, user_id="ann", scope="a/b") for text in ("tea", "milk"))
    kept = memory.add(content="sugar", user_id="bob", scope="a/b")
    with Memory(url=str(store_path), embedder="none", app="web") as reader:
        with reader._provider._db._store._write_lock:  # type: ignore[attr-defined]
            for record in (gone, removed, kept):  # which are not entered before what follows
                reader.get(record.id)
            memory.delete(removed.id)
            memory.delete_all("ann", scope=scope)
        removal = (removed.id, "a/b") if scope is not None else (None, None)
        assert noted(reader, app="web") == [("get", None, None), ("get", *removal)]
        assert noted(reader, "bob", app="web") == [("get", kept.id, "a/b")]


@pytest.mark.parametrize("gone", [False, True])
def test_cost_of_auditing_a_read_does_not_grow_with_the_audit_log(memory: Memory, store_path: Path, gone: bool) -> None:
    read, other = (memory.add(content=text, user_id="ann").id for text in ("tea", "milk"))
    if gone:
        memory.delete_all("ann")
    named = audit.read_entry("ann", "get", read, None, Stamp(time_of(1), None, "r"))
    longer = audit.read_entry("ann", "get", other, None, Stamp(time_of(1), None, "r"))
    with closing(sqlite3.connect(store_path)) as connection:

        def steps_of_one() -> int:
            steps = [0]

            def count() -> None:
                steps[0] += 1

            connection.set_progress_handler(count, 1)
            for query in named:
                connection.execute(query.sql, query.params)
            connection.set_progress_handler(None, 0)
            return steps[0]

        before = steps_of_one()
        for query in [query for _ in range(500) for query in (*named, *longer)]:
            connection.execute(query.sql, query.params)
        assert steps_of_one() < 1.5 * before
