"""One `Memory` in many threads, across a fork, and at the end of a program that forgot to close it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, MemoryRecord, VersionConflictError
from openmem.errors import ProviderUnavailableError
from openmem.testing import HashEmbedder
from tests.bad_calls import CALLS

PROGRAMS = Path(__file__).resolve().parent / "programs"
THREADS = 8
CLOSED = r"^Memory is closed$"


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # From 3.12 on Python warns of a fork among threads, which is what is tried here.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", str(PROGRAMS / program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Run the work in threads that all start together, and return the results."""
    start = threading.Barrier(THREADS)

    def begin(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def audited_actions(path: Path) -> list[str]:
    """Return the actions in the audit log, oldest first, as another program reads them."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("select action from audit order by at")]


def open_files(path: Path) -> list[str]:
    """Return which files of the store this process holds open, where the system can tell."""
    folder = Path("/proc/self/fd")
    links = [str(link.readlink()) for link in folder.iterdir() if link.is_symlink()] if folder.exists() else []
    return [link for link in links if link.startswith(str(path))]


def test_one_instance_serves_many_threads_at_once(store_url: str) -> None:
    with Memory(url=store_url, embedder=HashEmbedder()) as memory:

        def use(number: int) -> list[str]:
            made = []
            for turn in range(25):
                record = memory.add(content=f"word{number}x{turn} tea", user_id=f"user{number % 2}")
                found = memory.search(f"word{number}x{turn}", f"user{number % 2}", limit=1)
                assert [result.memory.id for result in found] == [record.id]
                made.append(record.id)
                if turn % 5 == 4:
                    memory.delete(made.pop(0))
            return made

        expected = sorted(key for made in at_once(use) for key in made)
        stored = [record for user in range(2) for record in memory.list(f"user{user}", limit=500).items]
        assert sorted(record.id for record in stored) == expected
        # Of each user four threads, each with 25 times add and search and 5 times delete; and the list above.
        audited = [len(memory.audit(f"user{user}", limit=1_000)) for user in range(2)]
        assert audited == [THREADS // 2 * (25 + 25 + 5) + 1] * 2


def test_one_update_of_many_threads_wins_a_version(store_url: str) -> None:
    with Memory(url=store_url, embedder="none") as memory:
        record = memory.add(content="likes tea", user_id="ann")

        def change(number: int) -> bool:
            try:
                memory.update(record.id, content=f"likes {number}", if_version=1)
            except VersionConflictError:
                return False
            return True

        assert at_once(change).count(True) == 1
        assert memory.get(record.id).version == 2


def test_key_that_many_threads_add_is_one_memory(store_url: str) -> None:
    with Memory(url=store_url, embedder="none") as memory:
        records: list[MemoryRecord] = at_once(lambda n: memory.add(content=f"tea {n}", user_id="ann", key="k"))
        assert len({record.id for record in records}) == 1
        assert sorted(record.version for record in records) == list(range(1, THREADS + 1))


def test_close_in_the_middle_of_work_is_clean(store_url: str, store_path: Path) -> None:
    memory = Memory(url=store_url, embedder=HashEmbedder())
    memory.add(content="likes tea", user_id="ann")

    def use(number: int) -> list[str]:
        made: list[str] = []
        for turn in range(200):
            try:
                made.append(memory.add(content=f"tea {number} {turn}", user_id="ann").id)
                memory.search("tea", "ann", limit=1)
            except (RuntimeError, ProviderUnavailableError) as error:
                assert "closed" in str(error)  # noqa: PT017 - most calls must not raise
                break
            if number == 0 and turn == 10:
                memory.close()
        return made

    acknowledged = {key for made in at_once(use) for key in made}
    assert open_files(store_path) == []
    with closing(sqlite3.connect(store_path)) as connection:
        stored = {row[0] for row in connection.execute("select id from memories")}
    assert acknowledged <= stored


@pytest.mark.parametrize("verb", ["add", "search"])
def test_verb_that_outlives_close_leaves_no_file_open(store_url: str, store_path: Path, verb: str) -> None:
    embedding, closed = threading.Event(), threading.Event()

    class Slow(HashEmbedder):
        def embed(self, texts: Any) -> Any:
            if "likes milk" in texts:
                embedding.set()
                closed.wait(10)
            return super().embed(texts)

    memory = Memory(url=store_url, embedder=Slow())
    memory.add(content="likes tea", user_id="ann")
    done: list[Any] = []

    def use() -> None:
        try:
            is_add = verb == "add"
            done.append(
                memory.add(content="likes milk", user_id="ann") if is_add else memory.search("likes milk", "ann")
            )
        except ProviderUnavailableError as error:
            assert "closed" in error.message  # noqa: PT017 - it may also come to an end

    thread = threading.Thread(target=use)
    thread.start()
    embedding.wait(10)
    memory.close()
    closed.set()
    thread.join()
    assert open_files(store_path) == []
    with closing(sqlite3.connect(store_path)) as connection:
        assert connection.execute("select count(*) from memories").fetchone() == (1 + len(done) * (verb == "add"),)
    assert audited_actions(store_path).count("search") == len(done) * (verb == "search")


@pytest.mark.parametrize("verb", sorted(CALLS))
def test_closed_instance_refuses_each_verb(store_url: str, verb: str) -> None:
    memory = Memory(url=store_url, embedder=HashEmbedder())
    with memory:
        memory.add(content="likes tea", user_id="ann")
    memory.close()
    with pytest.raises(RuntimeError, match=CLOSED):
        getattr(memory, verb)(**CALLS[verb])
    with pytest.raises(RuntimeError, match=CLOSED), memory:
        pass


def test_instance_dropped_without_close_warns_and_loses_nothing(store_url: str, store_path: Path) -> None:
    kept = [Memory(url=store_url, embedder="none")]
    kept[0].add(content="likes tea", user_id="ann")
    kept[0].search("tea", "ann")
    with pytest.warns(ResourceWarning, match="unclosed <Memory provider='sqlite' open>"):
        kept.clear()
    assert audited_actions(store_path) == ["add", "search"]


def test_program_that_ends_without_close_ends_at_once_and_loses_nothing(store_url: str, store_path: Path) -> None:
    done = run("never_closes.py", "sync", store_url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert audited_actions(store_path) == ["add", "search"]


def test_program_that_ends_while_the_file_is_locked_ends_soon(store_url: str, store_path: Path) -> None:
    assert run("never_closes.py", "sync", store_url).returncode == 0
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        done = run("only_reads.py", store_url)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr.startswith("the last reads are missing in the audit log of ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("state", ["quiet", "busy"])
def test_parent_and_children_go_on_after_a_fork(store_url: str, store_path: Path, state: str) -> None:
    done = run("forked.py", store_url, state)
    assert (done.returncode, done.stderr) == (0, "")
    said: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        said |= json.loads(line)
    assert sorted(said) == ["after", "before", "child0", "child1", "child2", "parent"]
    acknowledged = [key for made in said.values() for key in made]
    assert len(set(acknowledged)) == len(acknowledged) >= 4 * 60 + 6
    with closing(sqlite3.connect(store_path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        stored = {row[0] for row in connection.execute("select id from memories")}
    assert stored == set(acknowledged)
    actions = audited_actions(store_path)
    assert actions.count("search") == actions.count("get") == len(acknowledged)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_loses_nothing_when_the_parent_closes(store_url: str, store_path: Path) -> None:
    done = run("forked_then_closed.py", store_url)
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(store_path)) as connection:
        stored = {row[0] for row in connection.execute("select id from memories where content <> 'tea before'")}
    assert sorted(stored) == sorted(done.stdout.split())
    assert len(stored) == 6
