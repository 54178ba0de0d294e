"""A store that may be read and not written: on a real read-only mount, so that it is read-only for root too."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from openmem import AsyncMemory, Memory, OMPError, ProviderError
from openmem.errors import ProviderUnavailableError
from tests.server.process import started

BIN = Path(sys.executable).parent
WRITES: dict[str, Callable[[Memory, str], object]] = {
    "add": lambda memory, id: memory.add(content="secret", user_id="ann"),
    "add_many": lambda memory, id: memory.add_many([{"content": "secret"}], user_id="ann"),
    "update": lambda memory, id: memory.update(id, content="secret"),
    "delete": lambda memory, id: memory.delete(id),
    "delete_all": lambda memory, id: memory.delete_all("ann"),
    "import_": lambda memory, id: memory.import_(list(memory.export("ann")), conflict="overwrite"),
}

READING = [["recall", "milk"], ["list"], ["get"], ["history"], ["audit"], ["export"], ["context", "milk"], ["doctor"]]


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Give a read-only view of a folder, which itself stays as it is."""
    view = folder.with_name(f"{folder.name}-view")
    view.mkdir()
    mount, umount = shutil.which("mount") or "mount", shutil.which("umount") or "umount"
    if not shutil.which(mount) or subprocess.run([mount, "--bind", folder, view], capture_output=True).returncode:
        pytest.skip("a read-only view of a folder needs the right to mount one")
    try:
        subprocess.run([mount, "-o", "remount,ro,bind", view], check=True)
        yield view
    finally:
        subprocess.run([umount, "-l", view], check=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def fill(path: Path) -> str:
    with Memory(url=path, embedder="none") as memory:
        id = memory.add(content="likes tea", user_id="ann", key="drink").id
        memory.update(id, content="likes milk")
    return id


def open_at(path: Path) -> Memory:
    return Memory(url=path, embedder="none", timeout=10)


def check_refused(view: Path, kind: type[OMPError], complaint: str) -> None:
    with closing(open_at(view / "store.db")) as memory, pytest.raises(kind, match=complaint):
        memory.list("ann")


def everything_read(memory: Memory, id: str) -> list[object]:
    return [
        memory.get(id).content,
        [record.content for record in memory.list("ann")],
        [result.memory.id for result in memory.search("milk", "ann")],
        memory.context("milk", "ann").citations[0].memory_id,
        [record.content for record in memory.history(id)],
        len(list(memory.export("ann"))),
        [entry.action for entry in memory.audit("ann")],
        memory.capabilities().provider,
        memory.health().ok,
    ]


def read_of_sample(id: str) -> list[object]:
    read = ["likes milk", ["likes milk"], [id], id]
    return [*read, ["likes tea"], 2, ["update", "add"], "sqlite", True]


def journal(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("select action from audit order by entry")]


def test_every_verb_that_reads_works_and_enters_nothing(home: Path) -> None:
    id = fill(home / "store.db")
    with read_only(home) as view:
        with open_at(view / "store.db") as memory:
            assert everything_read(memory, id) == read_of_sample(id)
            assert memory.health().detail["read_only"] is True
        assert [file.name for file in home.iterdir()] == ["store.db"]
    assert journal(home / "store.db") == ["add", "update"]


async def test_async_form_reads_too(home: Path) -> None:
    id = await asyncio.to_thread(fill, home / "store.db")
    with read_only(home) as view:
        async with AsyncMemory(url=view / "store.db", embedder="none", timeout=10) as memory:
            assert (await memory.get(id)).content == "likes milk"
            assert [entry.action for entry in await memory.audit("ann")] == ["update", "add"]
            with pytest.raises(ProviderUnavailableError, match="read-only; nothing was stored"):
                await memory.add(content="secret", user_id="ann")


@pytest.mark.parametrize("verb", WRITES)
def test_write_says_why_not_and_names_no_content(home: Path, verb: str) -> None:
    id = fill(home / "store.db")
    with read_only(home) as view, open_at(view / "store.db") as memory:
        with pytest.raises(OMPError, match="is read-only; nothing was stored") as caught:
            WRITES[verb](memory, id)
        assert type(caught.value) is ProviderUnavailableError
        assert "secret" not in repr(caught.value)
        assert memory.get(id).content == "likes milk"


def test_store_that_another_process_writes_is_followed(home: Path) -> None:
    fill(home / "store.db")
    with read_only(home) as view, open_at(view / "store.db") as reader:
        assert len(reader.list("ann")) == 1  # nothing is beside the file
        with open_at(home / "store.db") as writer:
            writer.add(content="likes coffee", user_id="ann")
            assert len(reader.search("likes", "ann")) == 2  # in the log
        assert len(reader.search("likes", "ann")) == 2
        with open_at(home / "store.db") as writer:
            writer.add(content="likes water", user_id="ann")
        assert len(reader.search("likes", "ann")) == 3


def test_store_that_changes_in_one_piece_is_read_again(home: Path) -> None:
    fill(home / "store.db")
    with read_only(home) as view, open_at(view / "store.db") as reader:
        for count in (2, 3):
            with open_at(home / "store.db") as writer:
                writer.add(content=f"likes drink {count}", user_id="ann")
            assert not (home / "store.db-wal").exists()
            assert len(reader.search("likes", "ann")) == count


def test_log_that_cannot_be_read_is_named_rather_than_an_old_state_shown(home: Path) -> None:
    fill(home / "store.db")
    other = home.with_name("copy")
    other.mkdir()
    with open_at(home / "store.db") as memory:
        memory.add(content="likes coffee", user_id="ann")
        for ending in ("", "-wal"):
            shutil.copy(home / f"store.db{ending}", other / f"store.db{ending}")
    with read_only(other) as view:
        check_refused(view, ProviderUnavailableError, "changes are in the file that ends in -wal")
    with open_at(other / "store.db") as memory:
        assert len(memory.list("ann")) == 2


def test_older_schema_is_a_clear_error(home: Path) -> None:
    fill(home / "store.db")
    with closing(sqlite3.connect(home / "store.db")) as connection:
        connection.execute("pragma user_version=2")
    with read_only(home) as view:
        check_refused(view, ProviderError, r"older version of openmem \(schema 2.*is read-only")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "there and its folder is read-only"),
        (b"", "empty and read-only"),
        (b"Dear diary " * 99, "not a database"),
    ],
)
def test_file_that_is_no_store_is_a_clear_error(home: Path, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (home / "store.db").write_bytes(content)
    with read_only(home) as view:
        check_refused(view, ProviderError, complaint)


def test_folder_that_cannot_be_made_is_an_error_of_ours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with read_only(home) as view:
        monkeypatch.setenv("XDG_DATA_HOME", str(view))
        memory = Memory(embedder="none")
        with pytest.raises(ProviderUnavailableError, match="folder of the database cannot be made"):
            memory.list("ann")
        memory.close()


def test_audit_log_goes_on_once_the_file_may_be_written(home: Path) -> None:
    path = home / "store.db"
    id = fill(path)
    with read_only(home) as view:
        link = home.with_name("link")
        link.symlink_to(view)
        memory = open_at(link / "store.db")
        memory.get(id)
    link.unlink()
    link.symlink_to(home)
    memory.get(id)
    memory.close()
    assert journal(path) == ["add", "update", "get"]


def test_command_line_reads(home: Path) -> None:
    id = fill(home / "store.db")
    with read_only(home) as view:
        for command in READING:
            command = [*command, id] if command[0] in ("get", "history") else command
            place = ["--url", str(view / "store.db"), "--embedder", "none", "--user", "ann"]
            done = subprocess.run([BIN / "omp", *command, *place], capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (command, done.stderr)
            assert command[0] in ("doctor", "audit", "export", "history") or "likes milk" in done.stdout
        done = subprocess.run([BIN / "omp", "remember", "secret", *place], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0
        assert "is read-only; nothing was stored" in done.stderr


def test_server_reads(home: Path, tmp_path: Path) -> None:
    id = fill(home / "store.db")
    flags = ("--url", f"sqlite:///{home}-view/store.db", "--store", f"sqlite:///{tmp_path}/server.db")
    with read_only(home), started(*flags) as server:
        for path in (
            "/memories?",
            f"/memories/{id}?",
            f"/memories/{id}/history?",
            "/memories/search?q=likes&",
            "/export?",
        ):
            found = httpx.get(f"http://127.0.0.1:{server.port}{path}user_id=ann", timeout=30)
            assert found.status_code == 200, (path, found.text)
            assert "likes" in found.text
        assert server.ask("GET", "/audit?user_id=ann").json()
        assert server.ask("GET", "/healthz").status == server.ask("GET", "/capabilities").status == 200
        refused = server.ask("POST", "/memories", b'{"content": "secret", "user_id": "ann"}')
        assert refused.status == 503
        assert b"is read-only; nothing was stored" in refused.body
        assert "secret" not in server.output()
    assert journal(home / "store.db") == ["add", "update"]
