"""Clients that ask for much and take little of it: none may keep others out, none is cut off while it reads."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from openmem import Memory
from tests.server.process import SRC, Process, Wire, request, started, until, without_httptools

CONCURRENCY = 2
PATIENCE = 1.5
COUNT = 2_000
SIZE = 8_000  # of one memory; all of them are more than the buffers between server and client hold
WINDOW = 16_384
GIVEN_UP = "a connection was closed whose client did not take its answer req="


def line(number: int) -> str:
    record = {"id": f"m{number}", "content": f"{number} " + "x" * SIZE, "user_id": "ann"}
    return json.dumps({"memory": {**record, "created_at": "2026-01-01T00:00:00Z"}})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 16 MB of memories."""
    path = tmp_path_factory.mktemp("large") / "memories.db"
    with Memory(url=f"sqlite:///{path}", embedder="none") as memory:
        memory.import_(line(number) for number in range(COUNT))
    return path


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest, large: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server with room for few requests and little patience, with either parser."""
    path = without_httptools(tmp_path_factory.mktemp("h11")) if request.param == "h11" else str(SRC)
    flags = ["--concurrency", str(CONCURRENCY), "--write-timeout", str(PATIENCE), "--keep-alive-timeout", "1"]
    with started("--url", str(large), *flags, PYTHONPATH=path) as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in process.output()


@contextmanager
def reader(server: Process, path: str) -> Iterator[Wire]:
    """Ask for something through a small window, and take nothing of the answer yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    connection.settimeout(10)
    connection.connect(("127.0.0.1", server.port))
    with Wire(connection) as wire:
        wire.send(request("GET", path))
        yield wire


def taken(wire: Wire) -> bytes:
    """Return what is still there until the connection ends or the answer does."""
    data = bytearray()
    try:
        while not data.endswith(b"0\r\n\r\n") and (part := wire.socket.recv(1 << 16)):
            data += part
    except ConnectionResetError:
        pass
    return bytes(data)


def take_slowly(wire: Wire, seconds: float) -> None:
    """Take a piece now and then."""
    begun = last = time.monotonic()
    while last - begun < seconds:
        assert wire.socket.recv(1 << 15)
        until(lambda since=last: time.monotonic() - since > PATIENCE / 10)
        last = time.monotonic()


def running(server: Process) -> int:
    """Return how many requests are being answered, besides this one."""
    numbers = server.ask("GET", "/metrics").body.decode()
    return int(float(numbers.split("\nomp_requests_in_flight ")[1].split()[0])) - 1


def test_readers_that_take_nothing_lose_their_places(server: Process) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(reader(server, "/export")) for _ in range(CONCURRENCY)]
        until(lambda: running(server) == CONCURRENCY)
        assert server.ask("GET", "/memories?user_id=bob").status == 503
        until(lambda: server.ask("GET", "/memories?user_id=bob").status == 200)
        until(lambda: running(server) == 0)
        for wire in wires:
            answer = taken(wire)
            assert answer.startswith(b"HTTP/1.1 200")
            assert not answer.endswith(b"0\r\n\r\n")
    until(lambda: server.output().count(GIVEN_UP) >= CONCURRENCY)


@pytest.mark.parametrize("count", [500, 16])
def test_reader_that_takes_nothing_of_a_whole_answer_loses_its_connection(server: Process, count: int) -> None:
    before = server.output().count(GIVEN_UP)
    with reader(server, f"/export?limit={count}") as wire:
        until(lambda: server.output().count(GIVEN_UP) > before)
        head, _, body = taken(wire).partition(b"\r\n\r\n")
        length = next(text for text in head.split(b"\r\n") if text.startswith(b"content-length: "))
        assert len(body) < int(length.split()[1])


def test_reader_that_takes_a_little_now_and_then_gets_everything(server: Process) -> None:
    with reader(server, "/export") as wire:
        take_slowly(wire, 2.5 * PATIENCE)
        assert taken(wire).endswith(b"0\r\n\r\n")


def test_reader_that_stops_in_the_middle_loses_its_connection(server: Process) -> None:
    before = server.output().count(GIVEN_UP)
    with reader(server, "/export?limit=500") as wire:
        take_slowly(wire, 1.5 * PATIENCE)
        assert server.output().count(GIVEN_UP) == before
        until(lambda: server.output().count(GIVEN_UP) > before)
