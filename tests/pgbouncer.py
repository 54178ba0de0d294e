"""A real pgbouncer in transaction mode before a server: each transaction gets whichever connection is free."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from openmem.testing._postgres.cluster import free_port
from openmem.testing._postgres.install import find_install
from tests.postgres_observer import until

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"  # where Debian puts it, not on every user's path
BINARY = shutil.which("pgbouncer", path=PATH)


@contextmanager
def pgbouncer(server_url: str, folder: Path, *, server_connections: int) -> Iterator[int]:
    """Run it before a server until the end of the block; return its port.

    Args:
        server_url: An address on the server.
        folder: An empty folder, for its configuration.
        server_connections: The most connections to each database.
    """
    assert BINARY
    parts, port = urlsplit(server_url), free_port()
    login = " ".join(
        f"{name}={value}" for name, value in (("user", parts.username), ("password", parts.password)) if value
    )
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"""
[databases]
* = host={parts.hostname} port={parts.port or 5432} {login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = 100
server_lifetime = 60
"""
    )
    account = find_install().account  # it refuses root, as Postgres does
    account.give(config)
    config.chmod(0o600)
    # The folders of a test are closed to other accounts: an open file is not.
    with config.open() as settings, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [BINARY, "/dev/stdin"],
            stdin=settings,
            stdout=log,
            stderr=log,
            cwd="/",
            user=account.uid,
            group=account.gid,
            extra_groups=None if account.uid is None else (),
        )
    try:
        until(lambda: _listens(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
