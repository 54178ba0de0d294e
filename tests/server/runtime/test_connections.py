"""More connections than there is room for: the oldest idle ones give way, descriptors suffice, the log stays short."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from openmem import ServerStore
from openmem.server.middleware.logs import MAX_LINES
from openmem.server.runtime.connections import RESERVED_DESCRIPTORS, ConnectionTable, connection_limit
from tests.server.process import SRC, Process, request, started, until, without_httptools

ROOM = 20
PATIENT = ("--head-timeout", "60", "--body-idle-timeout", "60", "--write-timeout", "60")
GAVE_WAY = "a connection was closed to make room for another"


class Seat:
    def __init__(self, goes: bool = True) -> None:
        self.goes = goes
        self.told = 0

    def evict(self) -> bool:
        self.told += 1
        return self.goes

    def resume(self) -> None:
        self.told += 1


def test_oldest_without_a_request_goes_first_then_the_oldest_with_half_a_body() -> None:
    table = ConnectionTable(4)
    body, stays, old, new = Seat(), Seat(goes=False), Seat(), Seat()
    table.waits_for_request(body)
    table.waits_for_body(body)
    for seat in (stays, old, new):
        table.waits_for_request(seat)
    assert repr(table) == "<ConnectionTable [limit 4 | 3 without a request, 1 without a caller]>"
    assert table.make_room(4)
    assert [seat.told for seat in (body, stays, old, new)] == [0, 0, 0, 0]
    assert [table.make_room(5) for _ in range(4)] == [True, True, True, False]
    assert [seat.told for seat in (body, stays, old, new)] == [1, 1, 1, 1]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A store of keys, and the secret of one of them."""
    url = f"sqlite:///{tmp_path_factory.mktemp('keys') / 'k.db'}"
    with ServerStore(url) as store:
        return url, store.create_key(app="notes", user_id="ann", grants=("admin:*",)).secret


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(
    request: pytest.FixtureRequest, key: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("connections")
    path = without_httptools(folder) if request.param == "h11" else str(SRC)
    flags = ("--url", str(folder / "m.db"), "--store", key[0], "--max-connections", str(ROOM), *PATIENT)
    with started(*flags, PYTHONPATH=path) as process:
        yield process
        assert process.stop() == 0
        assert "Traceback" not in process.output()


CHUNKED = {"transfer_encoding": "chunked", "content_type": "application/json"}
HOSTILE = {
    "nothing": b"",
    "half a head": b"GET /memories HTTP/1.1\r\nhost: loc",
    "half a body": request("POST", "/memories", content_length="1000") + b"{",
    "trailers": request("POST", "/memories", **CHUNKED) + b"2\r\n{}\r\n0\r\nx: y\r\n",
    "many requests ahead": request("GET", "/capabilities") * 100,
    "half an import": request("POST", "/import", **CHUNKED) + b"1\r\n{\r\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_caller_with_a_key_is_served_whatever_others_hold(server: Process, key: tuple[str, str], kind: str) -> None:
    with ExitStack() as stack:
        for _ in range(3 * ROOM):
            wire = stack.enter_context(server.connect())
            with suppress(ConnectionResetError, BrokenPipeError):
                wire.send(HOSTILE[kind])
        for _ in range(5):
            assert server.ask("GET", "/memories", authorization=f"Bearer {key[1]}").status == 200


def test_caller_whose_key_was_checked_does_not_give_way(server: Process, key: tuple[str, str]) -> None:
    body = b'{"content":"slowly"}'
    with server.connect() as mine, ExitStack() as stack:
        mine.send(
            request(
                "POST",
                "/memories",
                content_length=str(len(body)),
                authorization=f"Bearer {key[1]}",
                content_type="application/json",
            )
            + body[:5]
        )
        until(lambda: b"omp_requests_in_flight 2.0" in server.ask("GET", "/metrics").body)
        for _ in range(2 * ROOM):
            stack.enter_context(server.connect())
        until(lambda: server.ask("GET", "/health/live").status == 200)
        mine.send(body[5:])
        assert mine.reply().status == 201


def test_stranger_who_reads_nothing_holds_no_place(key: tuple[str, str], tmp_path: Path) -> None:
    flags = ("--url", str(tmp_path / "m.db"), "--store", key[0], "--concurrency", "1", *PATIENT)
    with started(*flags) as server, ExitStack() as stack:
        for _ in range(3):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", server.port))
            stack.enter_context(connection)
            connection.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    connection.send(request("GET", "/openapi.json") * 100)
        for _ in range(5):
            assert server.ask("GET", "/memories", authorization=f"Bearer {key[1]}").status == 200


def test_key_is_looked_at_before_the_body_comes(server: Process, key: tuple[str, str]) -> None:
    for path in ("/memories", "/memories/batch", "/context", "/import", "/memories/wait", "/memories/search"):
        with server.connect() as wire:
            wire.send(request("POST", path, content_length="500", content_type="application/json"))
            reply = wire.reply()
        assert (reply.status, reply.code, reply.headers["connection"]) == (401, "unauthorized", "close")


def with_descriptors(folder: Path, descriptors: int) -> str:
    """Return a program that is Python with so many descriptors at most."""
    wrapped = folder / "python"
    wrapped.write_text(f'#!/bin/sh\nexec prlimit --nofile={descriptors}:{descriptors} {sys.executable} "$@"\n')
    wrapped.chmod(0o755)
    return str(wrapped)


@pytest.mark.skipif(not shutil.which("prlimit"), reason="needs prlimit")
def test_parent_of_workers_says_how_few_connections_each_can_hold(key: tuple[str, str], tmp_path: Path) -> None:
    program = with_descriptors(tmp_path, 200)
    with started("--url", str(tmp_path / "m.db"), "--store", key[0], "--workers", "2", program=program) as server:
        until(lambda: "at most" in server.output())
        assert f"at most {200 - RESERVED_DESCRIPTORS} connections at once in each worker, not 2048" in server.output()


@pytest.mark.skipif(not shutil.which("prlimit"), reason="needs prlimit")
def test_connections_are_fewer_than_descriptors_and_the_log_stays_short(key: tuple[str, str], tmp_path: Path) -> None:
    descriptors, count = 200, 400
    subprocess.run(["prlimit", f"--pid={os.getpid()}", "--nofile=4096:"], check=False, capture_output=True)
    program = with_descriptors(tmp_path, descriptors)
    with started("--url", str(tmp_path / "m.db"), "--store", key[0], program=program) as server:
        until(lambda: "at most" in server.output())
        limit = descriptors - RESERVED_DESCRIPTORS
        assert f"at most {limit} connections at once, not 2048" in server.output()
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(5):
                assert server.ask("GET", "/memories", authorization=f"Bearer {key[1]}").status == 200
        assert GAVE_WAY in server.output()
        assert "Traceback" not in server.output()
        seconds = Counter(line[:19] for line in server.output().splitlines())
        assert max(seconds.values()) <= MAX_LINES + 20


def test_limit_is_that_of_the_setting_where_there_are_descriptors() -> None:
    assert connection_limit(16) == 16
