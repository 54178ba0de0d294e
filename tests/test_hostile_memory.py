"""Hostile replies cost a client little memory: measured as the peak of a child process."""

from __future__ import annotations

import functools
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests._async.hostile_clients import ALL, Client
from tests.hostile_peer import Exchange, HostilePeer, Script, ok

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "programs" / "hostile_reply.py"
MOST = 160 * 1024
"""KiB by which a process may grow: a reply has 64 MiB at most, is there twice for a moment, and is refused then if it
would take more than 96 MiB once it is read."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
RECORD = b'"id":"mem_1","content":"x","user_id":"ann","created_at":"2026-01-31T12:00:00Z","version":1'
SIZE = 60 << 20


def endless(exchange: Exchange) -> None:
    exchange.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    block = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    for _ in range(200):
        exchange.send(block)


def endless_header(exchange: Exchange) -> None:
    exchange.send(HEAD + b"X-A: ")
    for _ in range(200):
        exchange.send(b"a" * (1 << 20))


def many(start: bytes, part: bytes, end: bytes, size: int = SIZE) -> Script:
    return lambda exchange: exchange.send(ok(start + part * (size // len(part)) + end))


def packed(body: Callable[[], bytes]) -> Script:
    """Return what sends a body compressed; it is not made before it is asked for."""
    data = functools.cache(lambda: gzip.compress(body(), 1))
    return lambda exchange: exchange.send(ok(data(), b"Content-Encoding: gzip"))


KINDS: dict[str, Script] = {
    "a body without end": endless,
    "a header without end": endless_header,
    "headers": lambda exchange: exchange.send(HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(500_000)) + b"\r\n{}"),
    "a bomb": packed(lambda: b" " * (200 << 20)),
    "a bomb of objects": packed(lambda: b"{" + RECORD + b',"x-a":[' + b"{}," * (20 << 20) + b"{}]}"),
    "objects": many(b"{" + RECORD + b',"x-a":[', b"{},", b"{}]}"),
    "lists of data": many(b'{"data":[', b"[],", b"[]]}"),
    "numbers": many(b'{"data":[{"index":0,"embedding":[', b"1.5,", b"1.5]}]}"),
    "results": many(b'{"results":[', b"{},", b"{}]}"),
    "one digit after the other": many(b"{" + RECORD + b',"x-a":', b"1", b"}"),
    "depth": many(b"", b"[", b""),
    "depth of objects": many(b"", b'{"a":', b""),
    "members": lambda exchange: exchange.send(ok(b"{" + b",".join(b'"k%d":1' % n for n in range(4_000_000)) + b"}")),
    "a failure of objects": lambda exchange: exchange.send(
        ok(b'{"error":[' + b"{}," * (SIZE // 3) + b"{}]}", status=b"400 Bad")
    ),
    "redirects": lambda exchange: exchange.send(
        b"HTTP/1.1 307 T\r\nContent-Length: 0\r\nLocation: /a%d%s\r\n\r\n" % (id(exchange), b"x" * 9_000)
    ),
}


@ALL
@pytest.mark.long
@pytest.mark.timeout(120)
def test_client_takes_little_memory_for_any_reply(client: Client) -> None:
    grown = {name: grows(client, script) for name, script in KINDS.items()}
    print(client.name, grown)
    assert {name: size for name, size in grown.items() if size >= MOST} == {}


@pytest.mark.parametrize("kind", ["objects", "a bomb of objects"])
def test_reply_of_many_small_values_takes_little_memory(kind: str) -> None:
    client = next(mark.values[0] for mark in ALL.args[1] if mark.id == "passthrough")
    assert grows(client, KINDS[kind]) < MOST


def grows(client: Client, script: Script) -> int:
    """Return by how many KiB a process grows that asks once, and gets an error that the protocol names."""
    with (
        HostilePeer(lambda exchange: exchange.send(ok(b"{}", status=b"404 Not Found"))) as small,
        HostilePeer(script) as large,
    ):
        done = subprocess.run(
            [sys.executable, PROGRAM, client.name, small.url, large.url],
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["error"], said
    return int(said["grown"])
