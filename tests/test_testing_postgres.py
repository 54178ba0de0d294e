"""The Postgres for tests: started once, shared, killed and brought back, and gone when no process uses it any more."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from openmem.testing._postgres.cluster import free_port
from openmem.testing._postgres.install import (
    LIBRARIES,
    PACKAGE,
    TREE,
    Account,
    check_owner,
    find_install,
    readable_copy,
)
from openmem.testing.postgres import PostgresServer, PostgresUnavailable, postgres_server

# A process that uses a server with a setting of its own (so: not the server of this test run) until it is told to end.
USER = """
import sys
from openmem.testing.postgres import postgres_server
with postgres_server(fsync=False, settings={"cluster_name": sys.argv[1]}) as server:
    print(server.url, flush=True)
    sys.stdin.readline()
"""


class User:
    """Another process that uses a shared server."""

    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", USER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def url(self) -> str:
        """Wait for the server and return its address."""
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def leave(self) -> None:
        self._process.communicate("\n", timeout=20)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=20)


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Iterator[Callable[[], User]]:
    """Start a user of the server of this test."""
    users: list[User] = []
    name = f"{request.node.name}_{os.getpid()}"[-60:]

    def start() -> User:
        users.append(User(name))
        return users[-1]

    yield start
    for user in users:
        user.kill()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def home_of(url: str) -> Path:
    return Path(str(ask(url, "select current_setting('data_directory')"))).parent.parent


def pid_of(home: Path) -> int:
    return int((home / "pg" / "data" / "postmaster.pid").read_text().split()[0])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_server_is_postgres_18_with_pgvector(empty_postgres_url: str) -> None:
    assert str(ask(empty_postgres_url, "select version()")).startswith("PostgreSQL 18.")
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("create extension vector")
        row = connection.execute("select '[3,4]'::vector <-> '[0,0]'").fetchone()
    assert row == (5.0,)


def test_server_has_the_settings_of_the_tests(postgres: PostgresServer) -> None:
    assert ask(postgres.url, "show jit") == "off"
    assert ask(postgres.url, "show fsync") == postgres.settings["fsync"] == "off"
    assert ask(postgres.url, "show max_connections") == postgres.settings["max_connections"] == "100"


def test_database_is_reached_over_the_unix_socket(postgres: PostgresServer, empty_postgres_url: str) -> None:
    name = urlsplit(empty_postgres_url).path[1:]
    with psycopg.connect(postgres.socket_url(name)) as connection:
        row = connection.execute("select current_database(), inet_server_addr()").fetchone()
    assert row == (name, None)


def test_new_databases_are_apart(postgres: PostgresServer, empty_postgres_url: str) -> None:
    other = postgres.new_database()
    with psycopg.connect(empty_postgres_url) as connection:
        connection.execute("create table t()")
    assert ask(other, "select to_regclass('t')") is None
    postgres.drop_database(other)
    assert not answers(other)


def test_database_with_open_connections_is_dropped(postgres: PostgresServer) -> None:
    url = postgres.new_database("drop me, please")
    with psycopg.connect(url) as connection:
        postgres.drop_database("drop me, please")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert not answers(url)


def test_template_is_prepared_once_and_copied(postgres: PostgresServer) -> None:
    prepared: list[str] = []

    def prepare(url: str) -> None:
        prepared.append(url)
        with psycopg.connect(url) as connection:
            connection.execute("create table t as select 7 as n")

    key = f"test {os.getpid()} {time.monotonic_ns()}"
    with ThreadPoolExecutor(4) as pool:
        names = set(pool.map(lambda _: postgres.template(key, prepare), range(4)))
    assert (len(names), len(prepared)) == (1, 1)
    url = postgres.new_database(template=names.pop())
    assert ask(url, "select n from t") == 7
    postgres.drop_database(url)


def test_template_whose_preparation_failed_is_prepared_again(postgres: PostgresServer) -> None:
    def fail(url: str) -> None:
        with psycopg.connect(url) as connection:
            connection.execute("create table half()")
        raise ZeroDivisionError

    key = f"failing {os.getpid()} {time.monotonic_ns()}"
    with pytest.raises(ZeroDivisionError):
        postgres.template(key, fail)
    url = postgres.new_database(template=postgres.template(key, lambda url: None))
    assert ask(url, "select to_regclass('half')") is None
    postgres.drop_database(url)


@pytest.mark.parametrize("verb", ["kill", "restart", "stop"])
def test_shared_server_cannot_be_ended_by_a_test(postgres: PostgresServer, verb: str) -> None:
    with pytest.raises(RuntimeError, match="ask for a private one"):
        getattr(postgres, verb)()
    assert postgres.answers()


def test_server_named_by_the_environment_is_used_and_left_running(
    own_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_TEST_POSTGRES_URL", own_postgres.url)
    with postgres_server() as server:
        assert server.url == own_postgres.url
        url = server.new_database()
        assert ask(url, "select 1") == 1
        with pytest.raises(RuntimeError, match="OMP_TEST_POSTGRES_URL"):
            server.kill()
        with pytest.raises(RuntimeError, match="OMP_TEST_POSTGRES_URL"):
            server.restart()
        with pytest.raises(PostgresUnavailable, match="socket"):
            server.socket_url("postgres")
    assert own_postgres.answers()
    assert not answers(url)


def test_killed_server_comes_back_on_its_port_with_what_was_committed(own_postgres: PostgresServer) -> None:
    url = own_postgres.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("create table t as select 7 as n")
        connection.commit()
        own_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert not own_postgres.answers()
    own_postgres.restart()
    assert ask(url, "select n from t") == 7


def test_running_server_restarts_on_its_port(own_postgres: PostgresServer) -> None:
    begun = ask(own_postgres.url, "select pg_postmaster_start_time()")
    own_postgres.restart()
    assert ask(own_postgres.url, "select pg_postmaster_start_time()") != begun


def test_stopped_server_answers_again_after_restart(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    assert not own_postgres.answers()
    own_postgres.restart()
    assert own_postgres.answers()


def test_port_taken_while_the_server_was_down_is_waited_for(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    thief = socket.create_server(("127.0.0.1", int(urlsplit(own_postgres.url).port or 0)))
    with ThreadPoolExecutor(1) as pool:
        restarted = pool.submit(own_postgres.restart)
        with pytest.raises(TimeoutError):
            restarted.result(0.5)
        thief.close()
        restarted.result(15)
    assert own_postgres.answers()


def test_server_that_is_full_still_answers() -> None:
    with postgres_server(private=True, fsync=False, max_connections=4) as server:
        connections = [psycopg.connect(server.url) for _ in range(4)]
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(server.url)
        assert server.answers()
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    ("name", "value", "told"), [("no_such_setting", "1", "no_such"), ("hba_file", "/no_such", "no_such")]
)
def test_setting_that_postgres_refuses_is_told_at_once(name: str, value: str, told: str) -> None:
    begun = time.monotonic()
    with pytest.raises(PostgresUnavailable, match=told), postgres_server(settings={name: value}):
        pass
    assert time.monotonic() - begun < 15


def test_private_server_leaves_nothing_behind_even_when_killed() -> None:
    with postgres_server(private=True, fsync=False) as server:
        home = home_of(server.url)
        segment = (home / "pg" / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]
        assert segment in shared_memory()
        server.kill()
    assert not home.exists()
    assert not list(home.parent.glob(f"{home.name}*"))
    assert segment not in shared_memory()


def shared_memory() -> set[str]:
    lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return {line.split()[1] for line in lines}


def test_processes_that_start_together_share_one_server(start: Callable[[], User]) -> None:
    users = [start() for _ in range(4)]
    assert len({user.url for user in users}) == 1


def test_server_ends_with_its_last_user(start: Callable[[], User]) -> None:
    first, second = start(), start()
    url = first.url
    assert second.url == url
    home, server = home_of(url), pid_of(home_of(url))
    first.leave()
    assert answers(url)
    second.leave()
    assert eventually(lambda: not alive(server))
    assert eventually(lambda: not home.exists())


def test_server_whose_users_were_all_killed_ends_by_itself(start: Callable[[], User]) -> None:
    first, second = start(), start()
    url = first.url
    assert second.url == url
    home, server = home_of(url), pid_of(home_of(url))
    first.kill()
    assert answers(url)
    second.kill()
    assert eventually(lambda: not alive(server))
    assert eventually(lambda: not home.exists())


def test_user_killed_while_the_server_starts_leaves_room_for_the_next(start: Callable[[], User]) -> None:
    before = shared_homes()
    first = start()
    assert eventually(lambda: bool(shared_homes() - before))
    first.kill()
    assert answers(start().url)


def shared_homes() -> set[Path]:
    folders = {find_install().folder, Path("/dev/shm")}
    return {data for folder in folders for data in folder.glob(f"openmem-postgres-{os.geteuid()}-*/pg/data")}


def test_server_left_by_a_killed_watchdog_is_replaced_by_a_fresh_one(start: Callable[[], User]) -> None:
    first = start()
    url = first.url
    home = home_of(url)
    left = pid_of(home)
    os.kill(watchdog_of(home), signal.SIGKILL)
    first.kill()
    assert answers(url)  # nothing watches over it
    second = start()
    assert answers(second.url)
    assert pid_of(home) != left
    assert not alive(left)
    second.leave()
    assert eventually(lambda: not home.exists())


def test_watchdog_that_was_killed_is_replaced_by_the_next_user(start: Callable[[], User]) -> None:
    first = start()
    url = first.url
    home = home_of(url)
    os.kill(watchdog_of(home), signal.SIGKILL)
    second = start()
    assert second.url == url
    first.kill()
    second.kill()
    assert eventually(lambda: not home.exists())


def test_crashed_shared_server_is_brought_back_by_the_next_user(start: Callable[[], User]) -> None:
    url = start().url
    os.kill(pid_of(home_of(url)), signal.SIGKILL)
    assert eventually(lambda: not answers(url))
    assert start().url == url
    assert answers(url)


def watchdog_of(home: Path) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"openmem.testing._postgres.watchdog" in command and str(home).encode() in command:
            return int(process.name)
    raise AssertionError("nothing watches")


def test_folder_that_another_user_prepared_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    check_owner(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PostgresUnavailable, match="another user"):
        check_owner(tmp_path / "link")


@pytest.fixture
def hidden_wheel() -> Iterator[Path]:
    """A copy of the wheel where only the one who runs the tests can read it, in a folder that others can pass."""
    install = find_install()
    site = install.binaries.parents[2]
    with tempfile.TemporaryDirectory(dir=install.folder) as name:
        Path(name).chmod(0o711)
        hidden = Path(name) / "hidden"
        shutil.copytree(install.binaries.parent, hidden / TREE, ignore=shutil.ignore_patterns("include", "*.a"))
        shutil.copytree(site / LIBRARIES, hidden / LIBRARIES)
        (hidden / PACKAGE / "__init__.py").touch()
        hidden.chmod(0o700)
        yield hidden


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_binaries_that_the_account_cannot_read_are_copied_once_and_again_if_damaged(hidden_wheel: Path) -> None:
    account, folder = find_install().account, hidden_wheel.parent
    assert not account.run(hidden_wheel / TREE / "bin" / "postgres", "--version")[0]
    copy = readable_copy(hidden_wheel, account, folder)
    assert account.run(copy / TREE / "bin" / "postgres", "--version")[0]
    made = copy.stat().st_ino
    assert readable_copy(hidden_wheel, account, folder) == copy
    assert copy.stat().st_ino == made
    (copy / TREE / "lib" / "postgresql" / "vector.so").unlink()
    assert readable_copy(hidden_wheel, account, folder) == copy
    assert (copy / TREE / "lib" / "postgresql" / "vector.so").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_server_starts_from_a_wheel_that_its_account_cannot_read(hidden_wheel: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(hidden_wheel.parent)}
    path = os.pathsep.join([str(hidden_wheel), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", USER, "hidden"],
        env={**environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        input="",
        timeout=20,
    )
    assert done.stdout.startswith("postgresql://"), done.stderr
    assert len(list(hidden_wheel.parent.glob("*.bin"))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")
def test_server_of_root_runs_as_another_user(postgres: PostgresServer) -> None:
    assert find_install().account.uid
    owner = (home_of(postgres.url) / "pg").stat().st_uid
    assert owner == find_install().account.uid != 0


def test_command_that_fails_is_told_with_what_it_printed() -> None:
    assert Account().run("/bin/sh", "-c", "echo so; exit 3") == (False, "so\n")
    assert not Account().run("/no/such/program")[0]


def test_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] < 30_000
