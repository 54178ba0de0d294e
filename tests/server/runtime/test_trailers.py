"""Trailers of chunked bodies: never headers, bounded like a head; and what else is sent around a body."""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from openmem import ServerStore
from openmem._protocol.request_heads import SINGLE
from tests.server.process import SRC, Process, Reply, request, started, without_httptools

HEADERS = sorted({*(name.decode() for name in SINGLE), "if-match", "if-none-match", "content-encoding", "cookie"})
VALUES = {
    "x-user-id": "bob",
    "authorization": "Bearer of-nobody",
    "x-api-key": "of-nobody",
    "content-length": "1",
    "content-type": "text/plain",
    "content-encoding": "gzip",
    "host": "attacker.example",
    "origin": "https://attacker.example",
    "sec-fetch-site": "cross-site",
    "if-match": '"9"',
    "x-omp-timeout": "nonsense",
    "x-omp-app": "other",
}
BODY = b'{"tags":["a"]}'


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("trailers")
    path = without_httptools(folder) if request.param == "h11" else str(SRC)
    with started("--url", str(folder / "m.db"), "--max-header-bytes", "4096", PYTHONPATH=path) as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in process.output()


def add(server: Process, user: str) -> str:
    body = json.dumps({"content": "tea", "user_id": user}).encode()
    return str(server.ask("POST", "/memories", body).json()["id"])


def change(server: Process, id: str, trailer: bytes, **headers: str) -> Reply:
    given = {"transfer_encoding": "chunked", "content_type": "application/json", **headers}
    with server.connect() as wire:
        wire.send(request("PATCH", f"/memories/{id}", **given))
        wire.send(b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(BODY), BODY, trailer))
        return wire.reply()


@pytest.mark.parametrize("name", HEADERS)
def test_trailer_is_never_a_header(server: Process, name: str) -> None:
    id = add(server, "ann")
    trailer = f"{name}: {VALUES.get(name, 'x')}\r\n".encode()
    reply = change(server, id, trailer, x_user_id="ann", x_request_id="mine")
    # A second length is refused by one of the parsers, as it may be an attempt to smuggle a request.
    assert reply.status in ((200, 400) if name == "content-length" else (200,))
    if reply.status == 200:
        assert reply.headers["x-request-id"] == "mine"
    assert change(server, id, b"X-User-Id: ann\r\n", x_user_id="bob").status == 404


def test_key_in_a_trailer_is_none(tmp_path: Path) -> None:
    with ServerStore(f"sqlite:///{tmp_path / 'k.db'}") as store:
        key = store.create_key(app="notes", user_id="ann", grants=("admin:*",)).secret
    with started("--url", str(tmp_path / "m.db"), "--store", f"sqlite:///{tmp_path / 'k.db'}") as process:
        for name, value in (("authorization", f"Bearer {key}"), ("x-api-key", key)):
            assert change(process, "mem_1", f"{name}: {value}\r\n".encode()).status == 401


def test_connection_is_used_again_after_trailers(server: Process) -> None:
    with server.connect() as wire:
        for _ in range(3):
            wire.send(request("POST", "/context", transfer_encoding="chunked", content_type="application/json"))
            body = b'{"query":"tea","user_id":"ann"}'
            wire.send(b"%x\r\n%s\r\n0\r\nx-sum: 1\r\nx-other: 2\r\n\r\n" % (len(body), body))
            assert wire.reply().status == 200


@pytest.mark.parametrize(
    "endless",
    [b"x-n: " + b"a" * 1000 + b"\r\n", b"a: b\r\n", b"x" * 1000, b"a:" + b" " * 1000],
    ids=["lines", "short lines", "one name", "blanks"],
)
def test_endless_trailers_end_the_connection(server: Process, endless: bytes) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", transfer_encoding="chunked", content_type="application/json"))
        wire.send(b"2\r\n{}\r\n0\r\n")
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 50_000_000:
                wire.send(endless * 20)
                sent += len(endless) * 20
        assert sent < 50_000_000
        rest = b""
        with suppress(ConnectionResetError):
            rest = wire.reader.read()
        assert not rest or b" 400 " in rest or b"HTTP/1.1 431 " in rest


def test_endless_extension_of_a_chunk_ends_the_connection(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", transfer_encoding="chunked", content_type="application/json"))
        sent = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            wire.send(b"2;a=")
            while sent < 50_000_000:
                wire.send(b"b" * 10_000)
                sent += 10_000
        assert sent < 50_000_000


def test_requests_sent_ahead_are_answered_in_order(server: Process) -> None:
    with server.connect() as wire:
        ids = [f"ahead-{number}" for number in range(100)]
        wire.send(b"".join(request("GET", "/health/live", x_request_id=id) for id in ids))
        assert [wire.reply().headers["x-request-id"] for _ in ids] == ids


def test_requests_with_bodies_sent_ahead_are_answered_in_order(server: Process) -> None:
    body = b'{"content":"x","user_id":"ahead"}'
    with server.connect() as wire:
        ids = [f"body-{number}" for number in range(20)]
        wire.send(b"".join(request("POST", "/memories", body, x_request_id=id) + body for id in ids))
        replies = [wire.reply() for _ in ids]
    assert [reply.headers["x-request-id"] for reply in replies] == ids
    assert {reply.status for reply in replies} == {201}
    stored = server.ask("GET", "/memories?user_id=ahead&limit=50").json()["items"]
    assert len(stored) == 20


def test_answer_comes_although_more_was_sent_ahead_than_is_held(server: Process) -> None:
    one = request("GET", "/capabilities")
    count = 400_000 // len(one)
    with server.connect() as wire:
        wire.socket.setblocking(False)
        ahead, answered = one * count, 0
        rest = b""
        while answered < count:
            select.select([wire.socket], [wire.socket] if ahead else [], [])
            with suppress(BlockingIOError):
                ahead = ahead[wire.socket.send(ahead) :] if ahead else ahead
            with suppress(BlockingIOError):
                rest += wire.socket.recv(1 << 16)
            answered += rest.count(b"HTTP/1.1 200 OK")
            rest = rest[-14:] if not rest.endswith(b"HTTP/1.1 200 OK") else b""
        assert answered == count
