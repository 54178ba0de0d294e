"""The index of words trails behind the memories: no search may notice, whatever happens to those that still wait."""

from __future__ import annotations

import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from openmem import Memory
from openmem._retrieval.user_index import UserCache
from openmem._sql.sqlite.indexing import LONG, WAIT_AT_MOST
from openmem._sql.sqlite.schema import APPLICATION_ID, MIGRATIONS
from openmem._sql.sqlite.snapshot import load_columns, user_state
from openmem._sql.steps import Query, Steps

T = TypeVar("T")

WORDS = ["tea", "milk", "sugar", "lemon", "honey"]


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def entered(path: Path) -> int:
    """Return how many memories the index holds, after a check that they are those up to `indexed`, word by word."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("insert into word_index(word_index) values('integrity-check')")
    expected: list[tuple[int, str]] = []
    for rid, user_no, words in rows(
        path, "select rid, user_no, words from memories join users using(user_no) where rid <= indexed"
    ):
        expected += [(rid, f"{user_no}q{word}") for word in words.split()]
    assert rows(path, "select doc, term from word_postings order by doc, term") == sorted(expected)
    return len({rid for rid, _ in expected})


def found(memory: Memory, query: str) -> list[tuple[str, float]]:
    results = memory.search(query, "ann", mode="keyword", limit=100)
    return [(result.memory.content, result.score) for result in results]


def text(number: int) -> str:
    chosen = random.Random(number).choices(WORDS, k=1 + number % 7)
    return f"{' '.join(chosen)} n{number}"


@pytest.fixture
def memory(store_path: Path) -> Any:
    with Memory(url=str(store_path), embedder="none") as memory:
        yield memory


def test_memories_are_found_the_same_whether_they_wait_or_not(memory: Memory, store_path: Path, tmp_path: Path) -> None:
    for number in range(WAIT_AT_MOST + 10):
        memory.add(content=text(number), user_id="ann")
        if number % 9 == 0 or number in (WAIT_AT_MOST - 2, WAIT_AT_MOST - 1, WAIT_AT_MOST):
            memory.search("tea", "ann")  # its cache grows row by row
    with Memory(url=str(tmp_path / "at-once.db"), embedder="none") as at_once:
        at_once.add_many([{"content": text(number)} for number in range(WAIT_AT_MOST + 10)], user_id="ann")
        for query in ("tea", "milk honey", f"n{WAIT_AT_MOST + 9}", "n3 lemon"):
            assert found(memory, query) == found(at_once, query) != []
    assert entered(store_path) == WAIT_AT_MOST
    assert entered(tmp_path / "at-once.db") == WAIT_AT_MOST + 10


def test_another_instance_finds_what_waits(memory: Memory, store_path: Path) -> None:
    with Memory(url=str(store_path), embedder="none") as other:
        for number in range(WAIT_AT_MOST + 3):
            memory.add(content=text(number), user_id="ann")
            assert found(other, f"n{number}")[0][0] == text(number)


def test_long_memory_lets_nothing_wait(memory: Memory, store_path: Path) -> None:
    memory.add(content="some tea", user_id="ann")
    assert entered(store_path) == 0
    memory.add(content="milk " * LONG, user_id="ann")
    assert entered(store_path) == 2
    record = memory.add(content="more tea", user_id="ann")
    memory.update(record.id, content="honey " * LONG)
    assert entered(store_path) == 3


def drive(path: Path, steps: Steps[T]) -> T:
    with closing(sqlite3.connect(path)) as connection:
        rows, begun = list[Any](), False
        while True:
            try:
                statement = steps.send(rows) if begun else next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            assert isinstance(statement, Query)
            begun = True
            rows = connection.execute(statement.sql, statement.params).fetchall()


def test_only_the_words_of_ones_own_are_read(memory: Memory, store_path: Path) -> None:
    """A user who never had 64 memories would else read the rows of all users before."""
    for user in ("ann", "bob", "cid"):
        memory.add(content=f"{user} takes tea", user_id=user)
    state = drive(store_path, user_state("bob"))
    assert state is not None
    columns = drive(store_path, load_columns(state, UserCache(1_000, threading.Lock)))
    assert set(columns.waiting) == {"bob", "take", "tea"}
    assert {rid for rids in columns.waiting.values() for rid in rids} == set(columns.column("rid").tolist())


def test_each_user_has_ones_own_that_wait(memory: Memory, store_path: Path) -> None:
    for number in range(WAIT_AT_MOST):
        for user in ("ann", "bob"):
            memory.add(content=f"{user} {text(number)}", user_id=user)
    memory.add(content="cid takes tea", user_id="cid")
    assert entered(store_path) == 2 * WAIT_AT_MOST
    assert len(memory.search("bob", "bob", mode="keyword", limit=100)) == WAIT_AT_MOST
    assert memory.search("bob cid", "ann", mode="keyword") == []
    assert len(memory.search("cid", "cid", mode="keyword")) == 1


@pytest.mark.parametrize("earlier", [0, WAIT_AT_MOST])
def test_changed_and_deleted_memories_are_found_as_they_are(memory: Memory, store_path: Path, earlier: int) -> None:
    records = [memory.add(content=f"tea n{number}", user_id="ann") for number in range(earlier + 4)]
    memory.update(records[0].id, content="water", tags=["drink"])
    memory.update(records[-1].id, content="milk", tags=["drink"])
    memory.delete(records[1].id)
    memory.delete(records[-2].id)
    assert entered(store_path) == max(0, earlier - 1)
    assert len(found(memory, "tea")) == earlier
    assert sorted(content for content, _ in found(memory, "drink")) == ["milk", "water"]
    for number in range(WAIT_AT_MOST):
        memory.add(content=f"sugar n{number}", user_id="ann")
    assert len(found(memory, "tea")) == earlier
    assert sorted(content for content, _ in found(memory, "drink")) == ["milk", "water"]
    assert entered(store_path) == earlier + WAIT_AT_MOST - 2


def test_memory_stored_after_the_newest_was_deleted_is_found(memory: Memory, store_path: Path) -> None:
    """The position of a deleted memory that the index had seen would count as seen."""
    made = memory.add_many([{"content": f"tea n{number}"} for number in range(WAIT_AT_MOST)], user_id="ann")
    memory.delete(made[-1].id)
    memory.add(content="milk", user_id="ann")
    assert [content for content, _ in found(memory, "milk")] == ["milk"]
    assert memory.delete_all("ann").erased["index"] == WAIT_AT_MOST
    memory.add(content="honey", user_id="ann")
    assert [content for content, _ in found(memory, "honey")] == ["honey"]
    assert entered(store_path) == 0


def test_file_of_the_first_version_is_brought_up_to_date(store_path: Path) -> None:
    make_first_version(store_path, ["tea with milk", "tea with honey", "water"])
    with Memory(url=str(store_path), embedder="none") as memory:
        assert [content for content, _ in found(memory, "tea honey")] == ["tea with honey", "tea with milk"]
        assert entered(store_path) == 3
        memory.add(content="more tea", user_id="ann")
        memory.delete("m2")
        memory.update("m3", content="tea after all")
        assert len(found(memory, "tea")) == 3
        assert entered(store_path) == 2
        for number in range(WAIT_AT_MOST):
            memory.add(content=text(number), user_id="ann")
        journal = [(entry.action, entry.memory_id) for entry in memory.audit("ann", limit=1_000)][::-1]
        assert journal[:3] == [("add", f"m{number}") for number in (1, 2, 3)]
        assert ("delete", "m2") in journal
    assert entered(store_path) == 2 + WAIT_AT_MOST
    for table in ("terms", "postings"):  # a process of that version must get an error, not spoil or overlook anything
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            rows(store_path, f"select * from {table}")


def make_first_version(path: Path, texts: list[str]) -> None:
    """Write what the first version wrote: a user, some memories, and the words of each in the index."""
    first = 1 << 32
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in (*MIGRATIONS[0], f"pragma application_id={APPLICATION_ID}", "pragma user_version=1"):
            connection.execute(statement)
        connection.execute("insert into users(user_no, user_id) values(1, 'ann')")
        for number, content in enumerate(texts, 1):
            words = [word for word in content.split() if word != "with"]
            connection.execute(
                "insert into memories(rid, id, user_no, content, created_at, version, terms, words) "
                "values(?, ?, 1, ?, ?, 1, ?, ?)",
                (first + number, f"m{number}", content, number, len(words), " ".join(words)),
            )
            tokens = " ".join(f"1q{word}" for word in words)
            connection.execute("insert into terms(rowid, words) values(?, ?)", (first + number, tokens))
            connection.execute(
                "insert into audit(entry, at, action, memory_id) values(?, ?, 'add', ?)",
                (first + number, number, f"m{number}"),
            )
