"""A peer on a loopback socket that answers in raw bytes, as slowly and as wrongly as it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

Script = Callable[["Exchange"], None]

TICK = 0.02
"""Seconds between two parts of a slow answer."""
CROSSED = 1_000
"""Ticks after which a slow peer gives up: a client that is still there then does not obey a deadline."""


class Exchange:
    """One request that came in, and the bytes that go back.

    Attributes:
        ticks: Parts of slow answers that the peer has sent so far, over all exchanges.
        path: The target of the request.
    """

    def __init__(self, peer: HostilePeer, connection: socket.socket, request: bytes) -> None:
        self._peer, self._connection = peer, connection
        self.path = request.split(b" ")[1].decode("latin-1") if request.count(b" ") > 1 else ""
        self.request = request

    def send(self, data: bytes) -> None:
        """Send bytes at once."""
        self._connection.sendall(data)

    def drip(self, parts: Iterator[bytes]) -> None:
        """Send parts, one at each tick, until the other side leaves."""
        for part in parts:
            self._peer.ticks += 1
            if self._peer.over.wait(TICK) or self._peer.ticks > CROSSED:
                return
            self.send(part)

    def wait(self) -> None:
        """Send nothing and count the ticks until the other side leaves."""
        self._connection.settimeout(TICK)
        while self._peer.ticks <= CROSSED and not self._peer.over.is_set():
            try:
                if self._connection.recv(1, socket.MSG_PEEK) == b"":
                    return
                self._peer.over.wait(TICK)
            except TimeoutError:
                pass
            self._peer.ticks += 1


class HostilePeer:
    """Use as a context manager.

    Args:
        script: Answers a request; the connection is closed after it unless `keep` is set.
        reads: Whether requests are read at all.
        scheme: What the address begins with; no TLS is spoken here whatever it says.
    """

    def __init__(self, script: Script, *, reads: bool = True, scheme: str = "http", keep: bool = False) -> None:
        self.script, self._reads, self._scheme, self._keep = script, reads, scheme, keep
        self.ticks = 0
        self.requests = 0
        self.over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        """The address that it listens on."""
        port: int = self._server.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, function: Callable[[], None]) -> None:
        thread = threading.Thread(target=function, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc]

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            while True:
                request = _request_from(connection) if self._reads else b""
                if request is None:
                    return
                self.requests += 1
                self.script(Exchange(self, connection, request))
                if not self._keep:
                    return


def _request_from(connection: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65_536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        part = connection.recv(65_536)
        if not part:
            return None
        body += part
    return head + b"\r\n\r\n" + body


def ok(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole reply."""
    lines = [b"HTTP/1.1 " + status, b"Content-Type: application/json", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
