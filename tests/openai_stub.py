"""A real local web server that speaks the OpenAI embeddings dialect, and can be told to misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

DIM = 8


@dataclass(frozen=True)
class Fault:
    """A reply instead of embeddings."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    drop: bool = False
    drip: bool = False


@dataclass(frozen=True)
class Received:
    """A request that came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


HANG = Fault(hang=True)
DROP = Fault(drop=True)
DRIP = Fault(drip=True)
BAD_JSON = Fault(body=b"<html>no</html>")


def fault(status: int, body: Any = None, **headers: str) -> Fault:
    """Return a reply with a JSON body; `retry_after="1"` becomes the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(status, b"" if body is None else json.dumps(body).encode(), named)


def vector_of(text: str) -> list[float]:
    """Return the vector that the server gives a text; it does not have length 1."""
    digest = hashlib.sha256(text.encode()).digest()
    return [byte / 16.0 - 8.0 for byte in digest[:DIM]]


class OpenAIStub:
    """Use as a context manager; `url` is the base_url. Faults are served first, each once, in order."""

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque()
        self.received: list[Received] = []
        self.rearrange: Any = lambda items: items
        self.arrived, self.released = threading.Event(), threading.Event()
        handler = type("Handler", (_Handler,), {"stub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> OpenAIStub:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, body: Any) -> bytes:
        items = [{"index": i, "embedding": vector_of(text)} for i, text in enumerate(body["input"])]
        return json.dumps({"object": "list", "data": self.rearrange(items)}).encode()


class _Handler(BaseHTTPRequestHandler):
    stub: OpenAIStub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.stub.received.append(Received(self.command, self.path, headers, body))
        self.stub.arrived.set()
        trouble = self.stub.faults.popleft() if self.stub.faults else None
        if trouble is None:
            is_embedding = self.path.endswith("/embeddings")
            self._send(200, self.stub.answer(body) if is_embedding else b'{"ok": true}', {})
        elif trouble.hang or trouble.drop:
            if trouble.hang:
                self.stub.released.wait()
            self.close_connection = True
        elif trouble.drip:
            self._drip()
        else:
            self._send(trouble.status, trouble.body, trouble.headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.stub.released.wait(0.05):
            try:
                self.wfile.write(b" ")
            except OSError:
                break
        self.close_connection = True
