"""The two servers of the benchmark, each a process of its own on a free port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from openmem import ServerStore

_PATIENCE = 30.0


@dataclass(frozen=True, eq=False)
class Running:
    """A server that answers."""

    port: int
    pid: int
    secret: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def omp_server(url: str) -> Iterator[Running]:
    """Start `omp-server` on a database, with a key that may do everything."""
    with ServerStore(url) as store:
        secret = store.create_key(app="benchmark", user_id=None, grants=["admin:*"]).secret
    port = _free_port()
    command = [sys.executable, "-m", "openmem.server", "--port", str(port), "--embedder", "none"]
    with _running(command, {"OMP_URL": url}, port, "/health/ready") as pid:
        yield Running(port, pid, secret, {"Authorization": f"Bearer {secret}"})


@contextmanager
def bare_server(url: str) -> Iterator[Running]:
    """Start the bare app on the same database."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.server_bare:make_app", "--port", str(port)]
    command += ["--no-access-log", "--log-level", "warning"]
    with _running(command, {"BARE_URL": url}, port, "/docs") as pid:
        yield Running(port, pid)


@contextmanager
def _running(command: list[str], environ: Mapping[str, str], port: int, path: str) -> Iterator[int]:
    process = subprocess.Popen(command, env={**os.environ, **environ}, stderr=subprocess.DEVNULL)
    try:
        _wait(process, port, path)
        yield process.pid
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("the server did not answer in time")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
