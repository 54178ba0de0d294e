"""One data directory of Postgres and the server over it: made, started, stopped, killed, asked whether it lives."""

from __future__ import annotations

import random
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import pq

from openmem.testing._postgres import process as postgres_process
from openmem.testing._postgres.install import Install, PostgresUnavailable
from openmem.testing._postgres.process import PAUSE

LONGEST_SOCKET_NAME = 100
# Below the ports that systems hand out by themselves, so that none is taken while the server is down for a moment.
PORTS = range(15_000, 30_000)
# What keeps a server from starting, and goes away: a port that was taken in between, the end of a killed server.
PASSING = ("already in use", "still in use", "another server might be running", "already exists")


class Cluster:
    """A data directory under `home`, and its server.

    Args:
        home: A folder that exists; everything lies in it.
        install: The binaries.
        settings: What the configuration says, beside what the launcher itself needs.
    """

    def __init__(self, home: Path, install: Install, settings: Mapping[str, str]) -> None:
        self.home = home
        self.install = install
        self.settings = dict(settings)
        self._place = home / "pg"  # the account's own folder
        self._data = self._place / "data"
        self._log = self._place / "log"
        self._port = home / "port"

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, the same after every start; 0 before the first one."""
        try:
            return int(self._port.read_text())
        except FileNotFoundError:
            return 0

    @property
    def socket_folder(self) -> Path | None:
        """The path of the unix socket, or None if it would be too long."""
        return self._place if len(f"{self._place}/.s.PGSQL.00000") < LONGEST_SOCKET_NAME else None

    def ensure_running(self, deadline: float) -> None:
        """Make the data directory and start the server, as far as that has not happened yet."""
        if not self.port:
            self._initialize()
        if not self.answers():
            self.start(deadline)

    def start(self, deadline: float) -> None:
        """Start the server and return when it answers.

        Args:
            deadline: When to give up, on the clock `time.monotonic`.

        Raises:
            PostgresUnavailable: It does not start; the text ends with the server's log.
        """
        while True:
            self._clear_locks_of_the_dead()
            port = self.port or free_port()
            seen = self._log.stat().st_size if self._log.exists() else 0
            printed = self._control("start", "-l", str(self._log), "-o", f"-p {port}")
            if self.answers(port):
                self._port.write_text(str(port))
                return
            said = printed + self._log_from(seen)
            late = time.monotonic() > deadline
            if late or not any(passing in said for passing in PASSING):
                raise PostgresUnavailable(f"Postgres does not start: {said.strip()}")
            time.sleep(PAUSE)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server as an administrator would. A server that does not run is left as it is.

        Args:
            mode: "fast" rolls open transactions back, "immediate" ends it without writing anything more.
        """
        if postgres_process.postmaster(self._data):
            self._control("stop", "-m", mode)

    def kill(self) -> None:
        """Kill every process of the server (SIGKILL) and return when all are dead."""
        postgres_process.kill(self._data)

    def wipe(self) -> None:
        """Remove the server and its data, whatever state they are in."""
        postgres_process.end(self._data, timeout=10.0)
        postgres_process.bury(self._data)
        self._port.unlink(missing_ok=True)
        shutil.rmtree(self._place, ignore_errors=True)

    def answers(self, port: int | None = None) -> bool:
        """Say whether this very server takes connections. Asked by connecting: a process id proves nothing."""
        port = port or self.port
        if not port:
            return False
        url = url_of(port, "postgres")
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                row = connection.execute("select current_setting('data_directory')").fetchone()
        except psycopg.Error:
            # A server with too many clients lives, too.
            return bool(postgres_process.postmaster(self._data)) and pq.PGconn.ping(url.encode()) == pq.Ping.OK
        return row == (str(self._data),)

    def _initialize(self) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(mode=0o700)
        self.install.account.give(self._place)
        own = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.socket_folder or "")}
        settings = [f"--set={name}={value}" for name, value in {**self.settings, **own}.items()]
        initdb = [str(self.install.binaries / "initdb"), "-A", "trust", "-E", "utf8", "--no-locale", "--no-sync"]
        made, printed = self.install.account.run(*initdb, *settings, "-U", "postgres", "-D", self._data, timeout=60)
        if not made:
            raise PostgresUnavailable(f"initdb failed: {printed.strip()}")

    def _control(self, *command: str) -> str:
        pg_ctl = self.install.binaries / "pg_ctl"
        return self.install.account.run(pg_ctl, "-w", "-t", "60", "-D", self._data, *command, timeout=70)[1]

    def _log_from(self, offset: int) -> str:
        if not self._log.exists():
            return ""
        with self._log.open("rb") as log:
            log.seek(offset)
            return log.read()[-4000:].decode(errors="replace")

    def _clear_locks_of_the_dead(self) -> None:
        """Remove the locks of a killed server: to Postgres a zombie, or a process with its id, is alive."""
        if postgres_process.postmaster(self._data) is None:
            for lock in (self._data / "postmaster.pid", *self._place.glob(".s.PGSQL.*")):
                lock.unlink(missing_ok=True)


def url_of(port: int, database: str) -> str:
    """Return the address of a database over TCP."""
    return f"postgresql://postgres@127.0.0.1:{port}/{database}"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that no process listens on."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise PostgresUnavailable(f"no free port between {PORTS[0]} and {PORTS[-1]}")
