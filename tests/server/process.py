"""`omp-server` as a process of its own, and a client that sends bytes as they are."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

SRC = Path(__file__).resolve().parent.parent.parent / "src"
BOOT = re.compile(r"^omp-server: serving (\w+) at http://(\S+):(\d+)$")
ACCESS = re.compile(
    r"^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z INFO (-|[A-Z]+) (/\S*|unmatched) (\d{3}) \d+ms req=([A-Za-z0-9._-]{1,64})$"
)


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "openmem.server", *flags]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SRC), "OMP_EMBEDDER": "none", **more}


def without_httptools(folder: Path) -> str:
    """Return the `PYTHONPATH` of a process that does not find the parser in C.

    Args:
        folder: An empty one, for what makes it so.
    """
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['httptools'] = None\n", encoding="utf-8")
    return os.pathsep.join([str(folder), str(SRC)])


def run(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; it must not come as far as serving."""
    return subprocess.run(
        command(*flags), env=environment(**variables), capture_output=True, text=True, timeout=50, check=False
    )


@dataclass
class Process:
    """A running server."""

    process: subprocess.Popen[str]
    log: IO[str]
    port: int
    first_lines: list[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(15)

    def output(self) -> str:
        """Return everything that it has said."""
        return Path(self.log.name).read_text(encoding="utf-8")

    def connect(self) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.port), timeout=10))

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Reply:
        with self.connect() as wire:
            return wire.ask(method, path, body, **headers)

    def lines(self) -> list[re.Match[str]]:
        """Return its access lines."""
        return [found for line in self.output().splitlines() if (found := ACCESS.match(line))]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["error"]["code"])


class Wire:
    """A connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.reader = connection.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Reply:
        self.send(request(method, path, body, **headers) + body)
        return self.reply(head_only=method == "HEAD")

    def reply(self, *, head_only: bool = False) -> Reply:
        status = self.reader.readline()
        assert status.startswith(b"HTTP/1.1 "), status
        headers: dict[str, str] = {}
        while (line := self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if head_only else int(headers.get("content-length", 0))
        return Reply(int(status.split()[1]), headers, self.reader.read(length))

    def is_closed(self) -> bool:
        """Wait until the server closes the connection."""
        try:
            return self.reader.read(1) == b""
        except ConnectionResetError:
            return True


def request(method: str, path: str, body: bytes = b"", /, **headers: str) -> bytes:
    """Return the head of a request."""
    given = {"host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body:
        given = {"content-type": "application/json", "content-length": str(len(body)), **given}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


@contextmanager
def started(*flags: str, cwd: Path | None = None, program: str = sys.executable, **variables: str) -> Iterator[Process]:
    """Start a server on a free port, wait until it says that it serves, and stop it at the end."""
    with tempfile.NamedTemporaryFile("w", suffix=".log", encoding="utf-8") as log:
        process = subprocess.Popen(
            [program, *command("--port", "0", *flags)[1:]], env=environment(**variables), stderr=log, text=True, cwd=cwd
        )
        try:
            yield _when_serving(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _when_serving(process: subprocess.Popen[str], log: IO[str]) -> Process:
    with Path(log.name).open(encoding="utf-8") as reader:
        lines: list[str] = []
        while True:
            line = reader.readline()
            if line.endswith("\n"):
                lines.append(line.rstrip("\n"))
                if found := BOOT.match(line.rstrip("\n")):
                    return Process(process, log, int(found[3]), lines)
            else:
                try:
                    code = process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                raise AssertionError(f"it ended with {code}: {reader.read()} {lines}")


def until(condition: Any) -> None:
    """Wait until a condition holds; the test's own time limit ends it."""
    import time

    while not condition():
        time.sleep(0.02)
