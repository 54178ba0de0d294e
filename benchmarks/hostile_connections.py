"""Cost of a thousand hostile connections without a key: its memory, a caller with a key, and its log.

`python -m benchmarks.hostile_connections` prints the figures; `--seconds` and `--connections` change the size.
"""

from __future__ import annotations

import argparse
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

from openmem import ServerStore

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

CONNECTIONS: Final = 1_000
SECONDS: Final = 25.0
PAUSE: Final = 0.2
_PATIENCE: Final = 30.0
_BOOT: Final = re.compile(r"^omp-server: serving \w+ at http://\S+:(\d+)$", re.MULTILINE)
_JSON: Final = b"Host: x\r\nContent-Type: application/json\r\n"
_CHUNKED: Final = b"POST /memories HTTP/1.1\r\n" + _JSON + b"Transfer-Encoding: chunked\r\n\r\n"
KINDS: Final[dict[str, tuple[bytes, bytes]]] = {
    "nothing": (b"", b""),
    "half a head": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"x-a: b\r\n"),
    "half a body": (b"POST /memories HTTP/1.1\r\n" + _JSON + b"Content-Length: 1000000\r\n\r\n{", b" " * 1_000),
    "trailers": (_CHUNKED + b"2\r\n{}\r\n0\r\n", b"".join(b"X-%d: %s\r\n" % (n, b"a" * 200) for n in range(20))),
    "reads nothing": (b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 40, b""),
    "requests ahead": (b"GET /capabilities HTTP/1.1\r\nHost: x\r\n\r\n" * 400, b""),
}
"""The bytes that a connection sends at first, and those that it repeats."""
_READ_LITTLE: Final = ("reads nothing", "requests ahead")


@dataclass(frozen=True, eq=False)
class Server:
    """A server with a key.

    Attributes:
        port: Where it listens.
        pid: Its process.
        secret: The key.
        log: The file of its log.
    """

    port: int
    pid: int
    secret: str
    log: Path

    def resident(self) -> float:
        """Return the megabytes of memory that it has now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024


@dataclass
class Figures:
    """The measurements.

    Attributes:
        before: Megabytes of memory before the crowd came.
        peak: The most afterwards.
        statuses: How often the caller with a key got each status; 0 stands for no answer.
        waits: Seconds for each of these answers.
        lines: How many lines the log has of each second, without those about the caller's requests.
        tracebacks: How many tracebacks are in the log.
        reopened: How often a connection of the crowd was closed and came again.
    """

    before: float = 0.0
    peak: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    lines: Counter[str] = field(default_factory=Counter)
    tracebacks: int = 0
    reopened: int = 0

    def rows(self) -> list[tuple[str, str, str]]:
        """Return what is printed: the figure, its value, its goal."""
        most = max(self.lines.values(), default=0)
        waits = sorted(self.waits)
        last = waits[int(len(waits) * 0.99)]
        times = f"{statistics.median(waits):.3f}, {last:.2f}, {waits[-1]:.2f} s"
        return [
            ("memory before, at most", f"{self.before:.0f}, {self.peak:.0f} MB", "< 150 MB"),
            ("answers to a caller with a key", str(dict(self.statuses)), "200 only"),
            ("their time: median, 99 %, longest", times, "< 1 s"),
            ("lines of log in a second, at most", str(most), "<= 100"),
            ("tracebacks", str(self.tracebacks), "0"),
            ("connections that came again", str(self.reopened), ""),
        ]


class Crowd:
    """Hostile connections, equally many of each kind.

    Args:
        port: Whom they trouble.
        count: How many there are.
    """

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        names = list(KINDS)
        self._kinds = [names[number % len(names)] for number in range(count)]
        self._open: list[socket.socket | None] = [None] * count
        self._told: list[bool] = [False] * count
        self.reopened = -count

    def trouble(self) -> None:
        """Have each connection send something; one that was closed comes again."""
        for number, kind in enumerate(self._kinds):
            wire = self._open[number]
            if wire is None:
                wire = self._open[number] = self._connect(kind)
                self._told[number] = False
                self.reopened += 1
            first, again = KINDS[kind]
            try:
                part = again if self._told[number] else first
                if part:
                    wire.send(part)
                self._told[number] = True
            except BlockingIOError:
                pass
            except OSError:
                wire.close()
                self._open[number] = None

    def leave(self) -> None:
        """Close all connections."""
        for wire in self._open:
            if wire is not None:
                wire.close()

    def _connect(self, kind: str) -> socket.socket:
        wire = socket.socket()
        if kind in _READ_LITTLE:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        wire.setblocking(False)
        with suppress(BlockingIOError):
            wire.connect(("127.0.0.1", self._port))
        return wire


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """Start a server on a store of its own, with one key."""
    store = f"sqlite:///{folder / 'keys.db'}"
    with ServerStore(store) as keys:
        secret = keys.create_key(app="caller", user_id="ann", grants=["admin:*"]).secret
    command = [sys.executable, "-m", "openmem.server", "--url", str(folder / "m.db"), "--store", store]
    command += ["--port", "0", "--embedder", "none", *flags]
    log = folder / "log"
    with log.open("w", encoding="utf-8") as out, subprocess.Popen(command, stderr=out) as process:
        try:
            yield Server(_port_of(log, process), process.pid, secret, log)
        finally:
            process.terminate()
            process.wait(_PATIENCE)


def measure(server: Server, enough: Callable[[Figures], bool], count: int = CONNECTIONS) -> Figures:
    """Trouble a server, with a caller among the crowd, until it is enough, and return what was seen.

    Args:
        server: The server.
        enough: Whether to stop; asked after each answer to the caller.
        count: How many connections the crowd has.
    """
    figures, spawn = Figures(before=server.resident()), get_context("spawn")
    over, came = spawn.Event(), spawn.Queue()
    # A process of its own, so that it keeps only the processors from the caller, and not the interpreter.
    crowd = spawn.Process(target=_trouble, args=(server.port, count, over, came), daemon=True)
    crowd.start()
    came.get(timeout=_PATIENCE)
    try:
        while not enough(figures):
            _ask(server, figures)
            figures.peak = max(figures.peak, server.resident())
            time.sleep(PAUSE / 4)
    finally:
        over.set()
        figures.reopened = came.get(timeout=_PATIENCE)
        crowd.join()
    text = server.log.read_text(encoding="utf-8")
    others = [line for line in text.splitlines() if line[:2] == "20" and " GET /memories 200 " not in line]
    figures.lines = Counter(line[:19] for line in others)
    figures.tracebacks = text.count("Traceback")
    return figures


def _trouble(port: int, count: int, over: Event, came: Queue[int]) -> None:
    _allow_descriptors(count)
    crowd = Crowd(port, count)
    crowd.trouble()
    came.put(0)
    while not over.wait(PAUSE):
        crowd.trouble()
    came.put(crowd.reopened)
    crowd.leave()


def _ask(server: Server, figures: Figures) -> None:
    began, status = time.monotonic(), 0
    request = f"GET /memories HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {server.secret}\r\n\r\n"
    with suppress(OSError, ValueError, IndexError), socket.create_connection(("127.0.0.1", server.port), 20) as wire:
        wire.sendall(request.encode())
        status = int(wire.makefile("rb").readline().split()[1])
    figures.statuses[status] += 1
    figures.waits.append(time.monotonic() - began)


def _allow_descriptors(count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _port_of(log: Path, process: subprocess.Popen[bytes]) -> int:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        found = _BOOT.search(log.read_text(encoding="utf-8"))
        if found is not None:
            return int(found[1])
        time.sleep(0.05)
    raise SystemExit(f"the server does not start: {log.read_text(encoding='utf-8')[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        until = time.monotonic() + given.seconds
        figures = measure(server, lambda _: time.monotonic() > until, given.connections)
    for name, value, goal in figures.rows():
        print(f"{name:36}{value:32}{goal}")


if __name__ == "__main__":
    main()
