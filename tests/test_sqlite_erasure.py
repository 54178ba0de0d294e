"""Traces of erasing in the file of the embedded store: no bytes, no room, and no more work for the next time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import pytest

from openmem import Memory
from openmem._model.scopes import parse_pattern
from openmem._model.timestamps import time_of
from openmem._sql.sqlite.erase import erase
from openmem._sql.sqlite.purge import Purge
from openmem._sql.steps import Many, Steps
from openmem._sql.writing import Stamp
from openmem.testing import HashEmbedder

T = TypeVar("T")

HOLDER = (
    "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('select * from users').fetchall(); input(print())"
)
SECRETS = ["zebrafinch", "quagga", "okapi", "narwhal", "axolotl", "pangolin", "lammergeier"]


def execute(path: Path, statement: str) -> Any:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchone()[0]


def left_in(path: Path) -> dict[str, list[str]]:
    """Return which secrets stand in which files of a store. Words in an index may be cut: their beginnings count."""
    files = {file.name: file.read_bytes().lower() for file in path.parent.glob(f"{path.name}*")}
    found = {name: [word for word in SECRETS if word[:5].encode() in data] for name, data in files.items()}
    return {name: some for name, some in found.items() if some}


@contextmanager
def open_elsewhere(path: Path) -> Iterator[None]:
    """Keep the file open in another process, which has read from it and is idle."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate("\n", timeout=20)


def fill(memory: Memory) -> list[str]:
    """Store secrets in every way: short, long, changed, tagged, with a key; return their ids."""
    extension: dict[str, Any] = {"x-a": "axolotl"}
    memory.add_many([{"content": f"keeps note {n}"} for n in range(300)], user_id="bob")
    first = memory.add(content="has a zebrafinch", user_id="ann", tags=["quagga"], scope="okapi/x", key="narwhal")
    memory.update(first.id, content="has a pangolin " * 3_000)
    memory.update(first.id, content="has no bird")
    second = memory.add(content="lammergeier " * 5_000, user_id="ann", scope="okapi/x", **extension)
    many = memory.add_many(
        [{"content": f"zebrafinch number {n} " + "quagga " * 300, "scope": "okapi/y"} for n in range(100)],
        user_id="ann",
    )
    memory.search("zebrafinch pangolin", "ann", scope="okapi/*")
    return [first.id, second.id, *(record.id for record in many)]


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("way", ["everything", "a scope", "one by one and then everything"])
def test_erased_words_are_in_no_byte_of_the_files(store_path: Path, way: str, elsewhere: bool) -> None:
    with Memory(url=str(store_path), embedder=HashEmbedder(), app="cli") as memory:
        ids = fill(memory)
        assert "lammergeier" in left_in(store_path)[f"{store_path.name}-wal"]
        for id_ in ids if way.startswith("one by one") else ():
            memory.delete(id_)
        with open_elsewhere(store_path) if elsewhere else nullcontext():
            receipt = memory.delete_all("ann", scope="okapi/*" if way == "a scope" else None)
            assert (receipt.complete, receipt.purged) == (True, True)
            left = {"narwhal", "okapi"} if way == "a scope" else set()  # the receipt and the name of the scope itself
            assert {word for words in left_in(store_path).values() for word in words} <= left
            memory.add(content="keeps one more", user_id="bob")
        assert len(memory.search("note", "bob", limit=100)) == 100
    assert {word for words in left_in(store_path).values() for word in words} <= left


def test_text_of_a_deleted_memory_is_in_no_byte_of_a_closed_file(store_path: Path) -> None:
    """Words may wait in the index for the next merge; the text, its versions and its pages do not."""
    texts = ["has a zebrafinch at home", "and a lammergeier too " * 4_000]
    with Memory(url=str(store_path), embedder="none") as memory:
        for text in texts:
            record = memory.add(content="a pangolin came first " * 2_000, user_id="ann")
            memory.update(record.id, content=text)
            memory.delete(record.id)
    data = store_path.read_bytes()
    assert [text for text in (*texts, "pangolin came first") if text[:20].encode() in data] == []


def test_words_of_deleted_memories_go_with_the_next_erasure_of_anybody(store_path: Path) -> None:
    with Memory(url=str(store_path), embedder="none") as memory:
        made = memory.add_many([{"content": f"zebrafinch number {n}"} for n in range(200)], user_id="ann")
        for record in made:
            memory.delete(record.id)
        memory.add(content="likes tea", user_id="bob")
        assert memory.delete_all("bob").purged
        assert left_in(store_path) == {}


# --- room ---


def test_file_is_as_large_as_what_is_in_it(store_path: Path) -> None:
    with Memory(url=str(store_path), embedder=HashEmbedder()) as memory:
        memory.add_many([{"content": f"keeps note {n}"} for n in range(50)], user_id="bob")
        memory.delete_all("nobody")
        before = store_path.stat().st_size
        memory.add_many([{"content": "lammergeier " * 5_000} for _ in range(100)], user_id="ann")
        memory.delete_all("nobody")
        assert store_path.stat().st_size > before + 5_000_000
        memory.delete_all("ann")
        assert store_path.stat().st_size <= before + 100_000
        assert execute(store_path, "pragma freelist_count") == 0


def test_file_does_not_grow_by_erasures(store_path: Path) -> None:
    sizes = []
    with Memory(url=str(store_path), embedder=HashEmbedder()) as memory:
        memory.add_many([{"content": f"keeps note {n}"} for n in range(200)], user_id="bob")
        for number in range(120):
            memory.add_many([{"content": f"zebrafinch {n} of round {number}"} for n in range(20)], user_id="ann")
            assert memory.delete_all("ann").purged
            sizes.append(store_path.stat().st_size)
    # What the audit log says of it stays: 21 entries of less than 100 bytes each time.
    assert sizes[-1] - sizes[19] <= 100 * 21 * 100 + 50_000


# --- work ---


class Counting:
    """Runs steps on a file of a store, and counts the operations of SQLite's machine."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.count = 0
        self.connection.set_progress_handler(self._note, 100)

    def _note(self) -> int:
        self.count += 1
        return 0

    def run(self, steps: Steps[T]) -> T:
        rows: list[Any] = []
        self.connection.execute("begin immediate")
        try:
            statement = next(steps)
            while True:
                if isinstance(statement, Many):
                    self.connection.executemany(statement.sql, statement.rows)
                    rows = []
                else:
                    rows = self.connection.execute(statement.sql, statement.params).fetchall()
                statement = steps.send(rows)
        except StopIteration as stop:
            self.connection.execute("commit")
            result: T = stop.value
            return result


def work_of_erasing(path: Path, scope: str | None) -> int:
    counting = Counting(path)
    pattern = None if scope is None else parse_pattern(scope)
    receipt = counting.run(erase("ann", pattern, Stamp(time_of(1), None, "r")))
    assert receipt.erased["memories"] == 20
    purge = Purge()
    while counting.run(purge.some()):
        pass
    counting.connection.close()
    return counting.count


@pytest.mark.parametrize("scope", [None, "tmp"])
def test_work_of_an_erasure_does_not_grow_by_those_before(store_path: Path, scope: str | None) -> None:
    work = []
    with Memory(url=str(store_path), embedder="none") as memory:
        kept = memory.add_many([{"content": f"keeps note {n}", "scope": "home"} for n in range(100)], user_id="ann")
        if scope is None:
            memory.delete_all("ann")
        for _ in range(80):
            memory.add_many([{"content": f"zebrafinch {n}", "scope": "tmp"} for n in range(20)], user_id="ann")
            for record in kept[:20] if scope else ():
                memory.get(record.id, user_id="ann")
            memory.audit("ann")
            work.append(work_of_erasing(store_path, scope))
    assert max(work[-10:]) <= 2 * max(work[:10])


# --- files of older versions ---


def make_older(path: Path) -> None:
    """Turn a store into one that an older version made: it cannot shrink, and free pages hold erased bytes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode=delete")
        connection.execute("pragma auto_vacuum=none")
        connection.execute("vacuum")
        connection.execute("pragma secure_delete=off")
        connection.execute("create table waste(text)")
        connection.executemany("insert into waste values(?)", [("lammergeier " * 5_000,) for _ in range(50)])
        connection.execute("drop table waste")
    assert left_in(path) == {path.name: ["lammergeier"]}


def test_file_of_an_older_version_is_cleaned_and_shrinks_with_the_first_erasure(store_path: Path) -> None:
    with Memory(url=str(store_path), embedder=HashEmbedder()) as memory:
        made = memory.add_many([{"content": f"keeps note {n}"} for n in range(300)], user_id="bob")
        memory.add(content="likes tea", user_id="ann")
    make_older(store_path)
    before = store_path.stat().st_size
    with Memory(url=str(store_path), embedder=HashEmbedder()) as memory:
        reader = Memory(url=str(store_path), embedder=HashEmbedder())
        assert len(reader.search("note", "bob", limit=100)) == 100
        assert memory.delete_all("ann").purged
        assert left_in(store_path) == {}
        assert store_path.stat().st_size < before - 2_000_000
        assert execute(store_path, "pragma auto_vacuum") == 2
        assert {record.id for record in reader.list("bob", limit=500).items} == {record.id for record in made}
        assert len(reader.search("note", "bob", limit=100, mode="vector")) == 100
        reader.close()
    assert execute(store_path, "pragma integrity_check") == "ok"
