"""The server dies under load, its disk is full, the caller presses Ctrl-C: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import openmem
from openmem import AsyncMemory, Memory
from openmem.errors import ProviderUnavailableError
from openmem.testing import HashEmbedder
from openmem.testing._postgres.install import find_install
from openmem.testing.postgres import PostgresServer, postgres_server
from tests.postgres_observer import Observer, until
from tests.promised_errors import fails

AT_ONCE = 1.0
WORKERS = 4
MORE = 60  # acknowledged writes between two faults
SRC = Path(openmem.__file__).resolve().parents[1]


class Load:
    """Writers that go on whatever happens, and what was acknowledged to them."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.plain: dict[str, str] = {}
        self.keyed: dict[str, str] = {}
        self.failed = 0

    @property
    def acknowledged(self) -> int:
        return len(self.plain) + len(self.keyed)

    def threads(self, url: str) -> None:
        """Write through one sync memory that several threads share."""
        with Memory("postgres", url=url, embedder=HashEmbedder(16)) as memory, ThreadPoolExecutor(WORKERS) as threads:
            [*threads.map(lambda worker: self._write(memory, worker), range(WORKERS))]

    def tasks(self, url: str) -> None:
        """Write through one async memory that several tasks share."""

        async def main() -> None:
            async with AsyncMemory("postgres", url=url, embedder=HashEmbedder(16)) as memory:
                await asyncio.gather(*(self._async_write(memory, worker) for worker in range(WORKERS)))

        asyncio.run(main())

    def _write(self, memory: Memory, worker: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            content, key = f"note {worker}.{number}", f"{worker}.{number}" if number % 2 else None
            while not self.stop.is_set():
                try:
                    self._note(content, key, memory.add(content=content, user_id="ann", key=key).id)
                    break
                except ProviderUnavailableError:
                    self.failed += 1
                    self.stop.wait(0.01)

    async def _async_write(self, memory: AsyncMemory, worker: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            content, key = f"note {worker}.{number}", f"{worker}.{number}" if number % 2 else None
            while not self.stop.is_set():
                try:
                    self._note(content, key, (await memory.add(content=content, user_id="ann", key=key)).id)
                    break
                except ProviderUnavailableError:
                    self.failed += 1
                    await asyncio.sleep(0.01)

    def _note(self, content: str, key: str | None, id_: str) -> None:
        (self.keyed if key else self.plain)[id_] = content

    def until_more(self) -> None:
        """Return when it goes on."""
        goal = self.acknowledged + MORE
        until(lambda: self.acknowledged >= goal)

    def until_failed(self) -> None:
        """Return when another write has failed."""
        before = self.failed
        until(lambda: self.failed > before)


@pytest.mark.parametrize("form", [Load.threads, Load.tasks], ids=["threads", "tasks"])
def test_killed_server_loses_nothing_acknowledged_and_the_application_goes_on(
    own_postgres: PostgresServer, form: Callable[[Load, str], None]
) -> None:
    url, load = own_postgres.new_database(), Load()
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(form, load, url)
        try:
            for end in (own_postgres.kill, own_postgres.kill, own_postgres.stop):
                load.until_more()
                end()
                load.until_failed()
                own_postgres.restart()
            load.until_more()
        finally:
            load.stop.set()
            running.result()
    print(f"{load.acknowledged} acknowledged, {load.failed} failed")
    assert_nothing_lost(url, load)


def assert_nothing_lost(url: str, load: Load) -> None:
    observer = Observer(url)
    stored = dict(observer.rows("select id, content from openmem.memories"))
    acknowledged = load.plain | load.keyed
    assert {id_: stored.get(id_) for id_ in acknowledged} == acknowledged
    # What failed may have been stored all the same, but by its key once only.
    assert len(stored) - len(acknowledged) <= load.failed
    assert observer.value("select count(*) - count(distinct key) from openmem.memories where key is not null") == 0
    no_entry = (
        "select count(*) from openmem.memories m where not exists(select from openmem.audit where memory_id = m.id)"
    )
    assert observer.value(no_entry) == 0


# --- a full disk ---


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of few megabytes, and on it a folder of the server's."""
    account = find_install().account
    folder = Path(tempfile.mkdtemp(prefix="openmem-small-disk-", dir=find_install().folder))
    command = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0755", "openmem-test", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        done = subprocess.CompletedProcess(command, 1, "", str(error))
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        (folder / "data").mkdir()
        account.give(folder / "data")
        (folder / "data").chmod(0o700)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Take all the room that is left, until the end of the block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65_536))
    try:
        yield
    finally:
        ballast.unlink()


def test_full_disk_is_unavailable_and_writes_go_on_when_there_is_room(
    own_postgres: PostgresServer, small_disk: Path
) -> None:
    admin = Observer(own_postgres.url)
    admin.rows(f"create tablespace small location '{small_disk / 'data'}'")
    admin.rows("create database on_small_disk tablespace small")
    url = own_postgres.database_url("on_small_disk")
    try:
        with Memory("postgres", url=url, embedder=HashEmbedder(16)) as memory:
            stored = [memory.add(content="likes tea", user_id="ann").id]
            with filled(small_disk), fails(ProviderUnavailableError, "disk .* is full", within=10 * AT_ONCE):
                while True:
                    stored += [memory.add(content=os.urandom(3000).hex(), user_id="ann").id]
            stored += [memory.add(content="likes coffee", user_id="ann").id]
            ids = {row[0] for row in Observer(url).rows("select id from openmem.memories")}
            assert ids == {*stored}
            assert memory.search("coffee", "ann")[0].memory.id == stored[-1]
    finally:
        own_postgres.drop_database("on_small_disk")
        admin.rows("drop tablespace small")


def test_full_disk_of_the_log_ends_the_server_and_loses_nothing_acknowledged(small_disk: Path) -> None:
    with postgres_server(private=True, fsync=False) as server:
        move_log(server, small_disk / "data")
        with Memory("postgres", url=server.url, embedder=HashEmbedder(16)) as memory:
            stored = [memory.add(content="likes tea", user_id="ann").id]
            with filled(small_disk):
                with fails(ProviderUnavailableError, "database server", within=10 * AT_ONCE):
                    while True:
                        stored += [memory.add(content=os.urandom(40_000).hex(), user_id="ann").id]
                until(lambda: not server.answers())
                with fails(ProviderUnavailableError, "database server", within=AT_ONCE):
                    memory.list("ann")
            server.restart()
            stored += [memory.add(content="likes coffee", user_id="ann").id]
        ids = {row[0] for row in Observer(server.url).rows("select id from openmem.memories")}
        assert ids >= {*stored}
        assert len(ids - {*stored}) <= 1


def move_log(server: PostgresServer, folder: Path) -> None:
    """Move the log of a server, which it writes before anything else, to another folder."""
    log = Path(Observer(server.url).value("show data_directory")) / "pg_wal"
    server.stop()
    shutil.copytree(log, folder, dirs_exist_ok=True)
    for path in folder.rglob("*"):
        find_install().account.give(path)
    shutil.rmtree(log)
    log.symlink_to(folder)
    server.restart()


# --- the form for threads ---

INTERRUPTED = """
import sys
from openmem import Memory
memory = Memory("postgres", url=sys.argv[1], embedder="none")
memory.health()
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", len(memory.audit("bob")), flush=True)
sys.stdin.read()
print(len(memory.list("ann").items), memory.health().detail["pool"]["size"], flush=True)
memory.close()
"""


@pytest.mark.parametrize(
    "call",
    [
        'memory.search("tea", "ann")',
        'memory.add(content="likes milk", user_id="ann")',
        'memory.add_many([{"content": f"note {n}"} for n in range(300)], user_id="ann")',
    ],
    ids=["search", "add", "add many"],
)
def test_ctrl_c_ends_the_statement_on_the_server_and_the_memory_can_be_used(postgres_url: str, call: str) -> None:
    with Memory("postgres", url=postgres_url, embedder="none") as memory:
        memory.add(content="likes tea", user_id="ann")
    observer = Observer(postgres_url)
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED.format(call=call), postgres_url]
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            with observer.hold():
                observer.until_held()
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == "interrupted 0\n"
                until(lambda: not observer.held(), AT_ONCE)
            assert process.communicate(timeout=10)[0] == "1 1\n"
        finally:
            process.kill()


def test_full_pool_turns_threads_away_within_its_timeout(postgres_url: str) -> None:
    observer = Observer(postgres_url)
    with (
        Memory("postgres", url=postgres_url, embedder="none", pool_max_size=1, pool_timeout=0.2) as memory,
        ThreadPoolExecutor(1) as thread,
    ):
        memory.add(content="likes tea", user_id="ann")
        with observer.hold():
            holder = thread.submit(memory.search, "tea", "ann")
            observer.until_held()
            with fails(ProviderUnavailableError, "pool exhausted", within=0.2 + AT_ONCE):
                memory.audit("ann")
            with fails(ProviderUnavailableError, "pool exhausted", within=0.1 + AT_ONCE):
                memory.search("tea", "ann", timeout=0.1)
        assert len(holder.result()) == 1
        assert len(memory.list("ann").items) == 1
