"""The file of the embedded store: which files are refused, what a broken one does, and what others see of it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, MemoryRecord, OMPError, ProviderError
from openmem.errors import ProviderUnavailableError
from openmem.testing import HashEmbedder
from openmem.types import SearchMode
from tests.small_disk import small_disk

PROGRAMS = Path(__file__).resolve().parent / "programs"
VERBS: dict[str, Callable[[Memory], object]] = {
    "add": lambda memory: memory.add(content="likes tea", user_id="ann"),
    "search": lambda memory: memory.search("tea", "ann"),
    "list": lambda memory: memory.list("ann"),
    "audit": lambda memory: memory.audit("ann"),
    "health": lambda memory: memory.health(),
}


def fill(path: Path, count: int = 1) -> None:
    with Memory(url=str(path), embedder=HashEmbedder()) as memory:
        memory.add_many([{"content": f"likes tea number {n}"} for n in range(count)], user_id="ann")


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def failure(path: Path, verb: str) -> OMPError:
    """Return the error of a verb; whatever else is raised fails the test."""
    memory = Memory(url=str(path), embedder=HashEmbedder(), timeout=5)
    with pytest.raises(OMPError) as caught:
        VERBS[verb](memory)
    memory.close()
    assert caught.value.provider == "sqlite"
    return caught.value


# --- files that are not ours ---


@pytest.mark.parametrize("verb", VERBS)
def test_file_of_a_newer_version_is_refused_and_left_alone(store_path: Path, verb: str) -> None:
    fill(store_path)
    execute(store_path, "pragma user_version=999")
    before = store_path.read_bytes()
    error = failure(store_path, verb)
    assert type(error) is ProviderError
    assert "newer version of openmem (schema 999" in error.message
    assert "upgrade openmem" in error.message
    assert store_path.read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["create table notes(text)", "pragma application_id=252006673", "create view notes as select 1"]
)
@pytest.mark.parametrize("verb", ["add", "search"])
def test_database_of_another_application_is_refused_and_left_alone(store_path: Path, verb: str, statement: str) -> None:
    execute(store_path, statement)
    before = store_path.read_bytes()
    error = failure(store_path, verb)
    assert (type(error), error.message) == (ProviderError, "the file is a database of another application")
    assert store_path.read_bytes() == before


@pytest.mark.parametrize("content", [b"Dear diary\n", b"x" * 100_000, os.urandom(20_000)])
@pytest.mark.parametrize("verb", ["add", "search"])
def test_file_that_is_no_database_is_refused_and_left_alone(store_path: Path, verb: str, content: bytes) -> None:
    store_path.write_bytes(content)
    error = failure(store_path, verb)
    assert (type(error), error.message) == (ProviderError, "the file is not a database")
    assert isinstance(error.__cause__, sqlite3.DatabaseError)
    assert store_path.read_bytes() == content


def test_empty_file_becomes_a_store(store_path: Path) -> None:
    store_path.touch()
    fill(store_path)
    with Memory(url=str(store_path), embedder="none") as memory:
        assert len(memory.list("ann").items) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_folder_that_is_missing_is_named_as_the_cause(tmp_path: Path, verb: str) -> None:
    error = failure(tmp_path / "missing" / "store.db", verb)
    assert type(error) is ProviderUnavailableError
    assert "cannot be opened: its folder is missing" in error.message
    assert not (tmp_path / "missing").exists()


def test_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    assert "cannot be opened" in failure(tmp_path, "search").message


def test_instance_works_once_the_trouble_is_over(tmp_path: Path) -> None:
    path = tmp_path / "late" / "store.db"
    memory = Memory(url=str(path), embedder="none")
    with pytest.raises(ProviderUnavailableError):
        memory.add(content="likes tea", user_id="ann")
    path.parent.mkdir()
    memory.add(content="likes tea", user_id="ann")
    assert len(memory.search("tea", "ann")) == 1
    memory.close()


# --- files that cannot be written, or are damaged ---


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    modes = [path.stat().st_mode for path in paths]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def unprivileged(path: Path, folder: bool) -> str:
    """Run the program that reports what a process without privileges gets from a read-only store."""
    command = [sys.executable, str(PROGRAMS / "read_only.py"), str(path)]
    with read_only(path, *([path.parent] if folder else [])):
        done = subprocess.run(command, capture_output=True, text=True, timeout=15)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("folder", [False, True])
def test_write_to_a_read_only_store_is_an_error_of_ours(folder: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # not in `tmp_path`, which no other user may enter
        home = Path(name)
        home.chmod(0o777)
        fill(home / "store.db")
        lines = unprivileged(home / "store.db", folder).splitlines()
    assert lines[0].startswith("add ProviderUnavailableError")
    assert "is read-only; nothing was stored" in lines[0]
    assert lines[1:] == ["search found 1", "closed"]


@pytest.mark.parametrize("verb", VERBS)
def test_damaged_file_gives_errors_of_ours_only(store_path: Path, verb: str) -> None:
    fill(store_path, 200)
    size = store_path.stat().st_size
    with store_path.open("r+b") as file:
        file.seek(16_384)
        file.write(os.urandom(size - 16_384))
    memory = Memory(url=str(store_path), embedder=HashEmbedder(), timeout=5)
    for _ in range(2):
        with pytest.raises(ProviderError, match="the database file is damaged") as caught:
            VERBS[verb](memory)
        assert isinstance(caught.value.__cause__, sqlite3.Error)
    memory.close()


def test_trouble_shows_on_entering_already(store_path: Path) -> None:
    store_path.write_bytes(b"Dear diary")
    memory = Memory(url=str(store_path), embedder="none")
    with pytest.raises(ProviderError, match="the file is not a database"), memory:
        pass
    memory.close()


def test_file_cut_short_gives_errors_of_ours_only(store_path: Path) -> None:
    fill(store_path, 200)
    with store_path.open("r+b") as file:
        file.truncate(40_000)
    assert isinstance(failure(store_path, "search"), ProviderError)


def test_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        memory = Memory(url=str(folder / "store.db"), embedder="none")
        stored: list[str] = []

        def add_without_end() -> None:
            while True:
                stored.append(memory.add(content=f"{len(stored)} " + "tea " * 20_000, user_id="ann").id)

        with pytest.raises(ProviderUnavailableError, match="the disk is full; nothing was stored"):
            add_without_end()
        assert stored
        assert memory.list("ann", limit=500).items[0].id == stored[-1]
        memory.search("tea", "ann")
        memory.close()
        shutil.copytree(folder, tmp_path / "larger")
    with Memory(url=str(tmp_path / "larger" / "store.db"), embedder="none") as memory:
        assert [record.id for record in reversed(memory.list("ann", limit=500).items)] == stored
        memory.add(content="likes tea", user_id="ann")


# --- several who use it ---


def test_file_is_opened_and_read_while_another_process_writes(store_path: Path) -> None:
    fill(store_path)
    memory = Memory(url=str(store_path), embedder="none", timeout=5)
    with closing(sqlite3.connect(store_path, isolation_level=None)) as writer:
        writer.execute("begin immediate")
        assert len(memory.search("tea", "ann")) == 1
        assert len(memory.list("ann")) == 1
        writer.execute("rollback")
    memory.close()


def test_several_at_once_make_one_file(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def use(path: Path, start: threading.Barrier) -> None:
        memory = Memory(url=str(path), embedder="none")
        start.wait()
        try:
            memory.add(content="likes tea", user_id="ann")
        except Exception as error:  # noqa: BLE001 - it is the finding
            errors.append(error)
        memory.close()

    for number in range(40):  # the gap is narrow
        start = threading.Barrier(8)
        threads = [threading.Thread(target=use, args=(tmp_path / f"{number}.db", start)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


def steps(one: Memory, other: Memory) -> Generator[Any, Any, None]:
    """Change what a search for tea finds, now by one instance and now by the other."""
    first = yield one.add(content="green tea", user_id="ann")
    second = yield other.add(content="black tea", user_id="ann")
    yield one.update(first.id, content="white tea leaves")
    yield other.update(first.id, content="some water")
    yield one.update(first.id, content="tea", tags=["drink"])
    yield other.update(first.id, tags=["tea"])
    yield other.add(content="oolong tea", user_id="ann", supersedes=[second.id])
    yield one.update(second.id, content="superseded tea", valid_to="2020-01-01T00:00:00+00:00")
    one.delete(first.id)
    yield None
    yield other.add_many([{"content": f"tea {n}"} for n in range(3)], user_id="ann")
    yield one.add(content="keyed tea", user_id="ann", key="k")
    yield other.add(content="keyed anew: tea", user_id="ann", key="k")
    yield one.import_(other.export("ann").lines, conflict="duplicate")
    yield other.delete_all("ann")
    yield one.add(content="new tea", user_id="ann")


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
def test_each_instance_sees_at_once_what_the_other_does(store_url: str, mode: SearchMode) -> None:
    def opened() -> Memory:
        return Memory(url=store_url, embedder=HashEmbedder())

    def found(memory: Memory) -> list[tuple[MemoryRecord, float]]:
        results = memory.search("tea", "ann", mode=mode, limit=50, include_superseded=True)
        results += memory.search("tea", "ann", mode=mode, limit=50)
        return [(result.memory, result.score) for result in results]

    with opened() as one, opened() as other:
        before = found(one)
        changes = steps(one, other)
        change = next(changes)
        try:
            while True:
                with opened() as fresh:  # has nothing in its cache
                    expected = found(fresh)
                assert found(one) == found(other) == expected != before
                before = expected
                change = changes.send(change)
        except StopIteration:
            assert [record.content for record, _ in before] == ["new tea"] * 2


def test_each_instance_sees_at_once_that_the_other_changed_the_model(store_url: str) -> None:
    with (
        Memory(url=store_url, embedder=HashEmbedder(model="old")) as old,
        Memory(url=store_url, embedder=HashEmbedder(model="new")) as new,
    ):
        record = old.add(content="green tea", user_id="ann")
        for one, other in ((new, old), (old, new), (new, old)):
            one.reembed()
            assert one.search("green tea", "ann", mode="vector")[0].score > 0.99
            with pytest.raises(OMPError, match=r"reembed\(\)"):
                other.search("green tea", "ann", mode="vector")
        assert new.get(record.id).embedding_model == "new"


def test_erased_words_are_in_no_byte_of_the_files(store_path: Path) -> None:
    extension: dict[str, Any] = {"x-a": "axolotl"}
    secrets = ["zebrafinch", "quagga", "okapi", "narwhal", "axolotl", "pangolin"]
    with Memory(url=str(store_path), embedder=HashEmbedder(), app="cli") as memory:
        memory.add_many([{"content": f"keeps note {n}"} for n in range(300)], user_id="bob")
        record = memory.add(
            content="has a zebrafinch",
            user_id="ann",
            tags=["quagga"],
            scope="okapi/x",
            key="narwhal",
            **extension,
        )
        memory.update(record.id, content="has a pangolin")
        memory.search("zebrafinch pangolin", "ann", scope="okapi/*")
        memory.add_many([{"content": f"zebrafinch number {n} " + "quagga " * 300} for n in range(100)], user_id="ann")
        assert memory.delete_all("ann").complete
        memory.add(content="keeps one more", user_id="bob")
        assert left_in(store_path, secrets) == {}
    assert left_in(store_path, secrets) == {}
    with Memory(url=str(store_path), embedder="none") as memory:
        assert len(memory.search("note", "bob", limit=100)) == 100


def left_in(path: Path, words: list[str]) -> dict[str, list[str]]:
    """Return which words stand in which files of a store."""
    files = {file.name: file.read_bytes().lower() for file in path.parent.glob(f"{path.name}*")}
    found = {name: [word for word in words if word[:5].encode() in data] for name, data in files.items()}
    return {name: some for name, some in found.items() if some}
