"""Limits of a request: size, encoding and time, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.server.process import Process, Wire, request, started, until

LIMIT = 4096
LIMITS = {
    "--max-request-bytes": LIMIT,
    "--max-header-bytes": 2048,
    "--head-timeout": 0.6,
    "--body-idle-timeout": 0.6,
    "--body-timeout": 1.5,
    "--keep-alive-timeout": 1,
    "--max-connections": 20,
    "--concurrency": 3,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("limits")
    flags = [text for name, value in LIMITS.items() for text in (name, str(value))]
    with started("--url", str(folder / "m.db"), *flags) as process:
        yield process


def memory(size: int) -> bytes:
    body = json.dumps({"content": "x", "user_id": "ann"}).encode()
    return body + b" " * (size - len(body))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def first_bytes_while_dripping(wire: Wire, part: bytes) -> bytes:
    """Send a part at each tick, for ten times as long as is allowed; return the first bytes of an answer."""
    wire.socket.settimeout(0.1)
    for _ in range(150):
        wire.send(part)
        with suppress(TimeoutError):
            return wire.socket.recv(12)
    return b""


def test_body_of_just_the_limit_is_taken(server: Process) -> None:
    assert server.ask("POST", "/memories", memory(LIMIT)).status == 201


def test_length_above_the_limit_is_refused_before_the_body_comes(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", content_length=str(LIMIT + 1), x_request_id="big"))
        reply = wire.reply()
    assert (reply.status, reply.code) == (413, "payload_too_large")
    assert (reply.headers["x-request-id"], reply.headers["connection"]) == ("big", "close")


@pytest.mark.parametrize("chunked", [False, True])
def test_client_that_sends_all_first_still_reads_the_refusal(server: Process, chunked: bool) -> None:
    """Unless the rest of the body is taken, the connection is reset and the answer is lost on its way."""
    body = memory(4_000_000)
    with server.connect() as wire:
        if chunked:
            wire.send(request("POST", "/memories", transfer_encoding="chunked") + chunk(body) + chunk(b""))
        else:
            wire.send(request("POST", "/memories", body) + body)
        reply = wire.reply()
        assert (reply.status, reply.code, reply.headers["connection"]) == (413, "payload_too_large", "close")
        assert wire.reader.read() == b""


def test_chunked_body_is_counted(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", transfer_encoding="chunked", content_type="application/json"))
        wire.send(chunk(memory(LIMIT)))
        wire.send(chunk(b" "))
        assert wire.reply().status == 413


def test_chunked_body_within_the_limit_is_taken(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", transfer_encoding="chunked", content_type="application/json"))
        wire.send(chunk(memory(100)) + b"0\r\n\r\n")
        assert wire.reply().status == 201


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "identity, gzip", "x"])
@pytest.mark.parametrize("path", ["/memories", "/import"])
def test_encoded_body_is_refused(server: Process, path: str, encoding: str) -> None:
    reply = server.ask("POST", path, b"\x1f\x8b" * 50, content_encoding=encoding)
    assert (reply.status, reply.code) == (415, "unsupported_media_type")


def test_body_that_says_it_is_not_encoded_is_taken(server: Process) -> None:
    assert server.ask("POST", "/memories", memory(60), content_encoding="identity").status == 201


def test_body_that_stands_still_is_given_up(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", content_length="100") + b"{")
        reply = wire.reply()
        assert (reply.status, reply.code) == (408, "request_timeout")
        assert wire.is_closed()


def test_body_that_drips_is_given_up(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/memories", content_length="4000"))
        assert first_bytes_while_dripping(wire, b" ") == b"HTTP/1.1 408"


def test_half_a_head_is_given_up(server: Process) -> None:
    with server.connect() as wire:
        wire.send(b"GET /capabilities HTTP/1.1\r\nhost: loc")
        reply = wire.reply()
        assert (reply.status, reply.code) == (408, "request_timeout")
        assert wire.is_closed()


def test_head_that_drips_is_given_up(server: Process) -> None:
    with server.connect() as wire:
        wire.send(b"GET /capabilities HTTP/1.1\r\n")
        assert first_bytes_while_dripping(wire, b"a: b\r\n") == b"HTTP/1.1 408"


def test_half_a_head_after_a_request_is_given_up(server: Process) -> None:
    with server.connect() as wire:
        assert wire.ask("GET", "/health/live").status == 200
        wire.send(b"GET /capab")
        assert wire.reply().status == 408


@pytest.mark.parametrize("before", [False, True])
def test_silent_connection_is_closed(server: Process, before: bool) -> None:
    with server.connect() as wire:
        if before:
            assert wire.ask("GET", "/health/live").status == 200
        assert wire.is_closed()


@pytest.mark.parametrize("complete", [False, True])
def test_head_that_is_too_large_is_refused(server: Process, complete: bool) -> None:
    with server.connect() as wire:
        wire.send(b"GET /capabilities HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"y" * 3000)
        if complete:
            wire.send(b"\r\n\r\n")
        reply = wire.reply()
    assert (reply.status, reply.code) == (431, "header_too_large")
    assert "x-request-id" in reply.headers


def test_bytes_that_are_no_http_get_an_envelope(server: Process) -> None:
    with server.connect() as wire:
        wire.send(b"\x16\x03\x01 hello\r\n\r\n")
        reply = wire.reply()
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert "x-request-id" in reply.headers


def test_import_may_be_longer_than_the_limit_line_by_line(server: Process) -> None:
    line = json.dumps(
        {"memory": {"content": "y" * 1000, "user_id": "imp", "created_at": "2024-01-01T00:00:00Z"}}
    ).encode()
    lines = [line.replace(b'"content"', b'"id": "i%d", "content"' % number) + b"\n" for number in range(20)]
    reply = server.ask("POST", "/import", b"".join(lines), content_type="application/x-ndjson")
    assert (reply.status, reply.json()["imported"]) == (200, 20)


def test_line_of_an_import_above_the_limit_is_refused_and_named(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/import", transfer_encoding="chunked", content_type="application/x-ndjson"))
        wire.send(chunk(b"\n" + b"z" * LIMIT))
        wire.send(chunk(b"z"))
        reply = wire.reply()
    assert (reply.status, reply.code) == (413, "payload_too_large")
    assert reply.json()["error"]["details"]["line"] == 2


def test_import_that_stands_still_is_given_up(server: Process) -> None:
    with server.connect() as wire:
        wire.send(request("POST", "/import", transfer_encoding="chunked", content_type="application/x-ndjson"))
        reply = wire.reply()
    assert (reply.status, reply.code) == (408, "request_timeout")


def test_bodies_that_wait_take_no_place(server: Process) -> None:
    slow = [server.connect() for _ in range(6)]  # twice as many as there are places
    try:
        for wire in slow:
            wire.send(request("POST", "/memories", content_length="100") + b"{")
        until(lambda: b"omp_requests_in_flight 7.0" in server.ask("GET", "/metrics").body)
        assert server.ask("GET", "/memories?user_id=ann").status == 200
    finally:
        for wire in slow:
            wire.__exit__()


def test_import_that_waits_takes_no_place(server: Process) -> None:
    slow = [server.connect() for _ in range(6)]
    try:
        for wire in slow:
            wire.send(request("POST", "/import", transfer_encoding="chunked", content_type="application/x-ndjson"))
        until(lambda: b"omp_requests_in_flight 7.0" in server.ask("GET", "/metrics").body)
        assert server.ask("GET", "/memories?user_id=ann").status == 200
    finally:
        for wire in slow:
            wire.__exit__()
