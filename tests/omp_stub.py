"""A local web server that answers as it is told, request by request: for what a real OMP server never does."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

CAPABILITIES: dict[str, Any] = {
    "omp_version": "0.1",
    "provider": "stub",
    "verbs": ["add", "add_many", "get", "update", "delete", "list", "search", "context", "audit", "export", "import"],
    "features": {"temporal": True, "supports_supersession": True, "scopes": "native", "idempotency_keys": True},
}
FIRST_EDITION: dict[str, Any] = {
    **CAPABILITIES,
    "verbs": ["add", "search", "get", "update", "delete", "list", "context", "audit"],
    "features": {"temporal": False, "supports_supersession": False, "scopes": "native"},
}
RECORD: dict[str, Any] = {
    "id": "mem_1",
    "content": "prefers tea",
    "user_id": "ann",
    "created_at": "2026-01-31T12:00:00Z",
    "version": 1,
}


@dataclass(frozen=True)
class Answer:
    """A reply; `hang` and `drop` send nothing, and `size` that many bytes of white space."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False
    size: int = 0


@dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


def answer(body: Any = None, status: int = 200, **headers: str) -> Answer:
    """Return an answer in JSON; `retry_after="1"` becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, b"" if body is None else json.dumps(body).encode(), named)


def problem(status: int, code: str, type: str, message: str = "so it is", **more: Any) -> Answer:
    """Return an error envelope."""
    return answer({"error": {"code": code, "type": type, "message": message, **more}}, status)


class OmpStub:
    """Use as a context manager; `url` is the base_url.

    `GET /capabilities` is answered with `capabilities` unless an answer is queued for it; everything else gets the
    answers in their order, then `rule`.
    """

    def __init__(self) -> None:
        self.capabilities: Any = CAPABILITIES
        self.answers: deque[Answer] = deque()
        self.rule: Callable[[Asked], Answer] = lambda asked: answer(RECORD)
        self.asked: list[Asked] = []
        self.arrived, self.left, self.released = threading.Event(), threading.Event(), threading.Event()
        self._taken = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """The address that it listens on."""
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def verbs(self) -> list[Asked]:
        """The requests that came in, without those for capabilities."""
        return [asked for asked in self.asked if asked.path != "/capabilities"]

    @property
    def connections(self) -> int:
        """The number of connections that were made."""
        return self._server.connections

    def __enter__(self) -> OmpStub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def emptied(self, seconds: float) -> bool:
        """Wait until every answer was taken; return whether that came in time."""
        with self._taken:
            return self._taken.wait_for(lambda: not self.answers, seconds)

    def reply_to(self, asked: Asked) -> Answer:
        """Return what is to be sent."""
        self.asked.append(asked)
        if asked.path == "/capabilities" and self.capabilities is not None:
            return answer(self.capabilities)
        self.arrived.set()
        with self._taken:
            reply = self.answers.popleft() if self.answers else None
            self._taken.notify_all()
        return self.rule(asked) if reply is None else reply


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    connections = 0

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class _Handler(BaseHTTPRequestHandler):
    stub: OmpStub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.stub.reply_to(Asked(self.command, self.path, headers, body))
        if reply.hang:
            self._wait_until_left()
        if reply.hang or reply.drop:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(reply.size or len(reply.body)))
        self.end_headers()
        try:
            self.wfile.write(reply.body)
            for _ in range(reply.size >> 20):
                self.wfile.write(b" " * (1 << 20))
        except OSError:
            self.close_connection = True

    def _wait_until_left(self) -> None:
        self.connection.settimeout(0.05)
        while not self.stub.released.is_set():
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    self.stub.left.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                self.stub.left.set()
                return

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the base
