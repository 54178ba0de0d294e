"""Requests of attackers, as the bytes that go over the wire, and the answers they deserve."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BAD = frozenset({400})
NO_PLACE = frozenset({400, 404})
GOOD_MEMORY = {"content": "likes tea", "user_id": "ann"}


@dataclass(frozen=True)
class Hostile:
    """One request, and the answers to it that are right."""

    name: str
    data: bytes
    statuses: frozenset[int]


def request(
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str | bytes] | None = None,
    *,
    json: bool = True,
) -> bytes:
    """Return a request with the usual headers; those given come after them."""
    lines = [f"{method} {path} HTTP/1.1".encode("latin-1", "surrogateescape"), b"Host: localhost"]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
        if json:
            lines.append(b"Content-Type: application/json")
    for name, value in (headers or {}).items():
        lines.append(name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b"   ",
    "open brace": b"{",
    "closed brace": b"}",
    "open bracket": b"[",
    "half a word": b"nul",
    "single quotes": b"{'content': 'x'}",
    "key alone": b'{"content"}',
    "no value": b'{"content":}',
    "comma at the end": b'{"content":"x","user_id":"ann",}',
    "cut short": b'{"content":"x","user_id":"ann"',
    "two values": b'{"content":"x","user_id":"ann"} {}',
    "comment": b'{"content":"x" /* hello */,"user_id":"ann"}',
    "bytes that are no text": b"\xff\xfe\xfd",
    "broken utf-8": b'{"content":"\xc3\x28","user_id":"ann"}',
    "overlong utf-8": b'{"content":"\xc0\xaf","user_id":"ann"}',
    "surrogate in utf-8": b'{"content":"\xed\xa0\x80","user_id":"ann"}',
    "utf-16": '{"content":"x","user_id":"ann"}'.encode("utf-16"),
    "a list": b"[]",
    "null": b"null",
    "a number": b"42",
    "a text": b'"text"',
    "true": b"true",
    "NaN": b"NaN",
    "Infinity": b'{"confidence":Infinity}',
    "deep lists": b"[" * 50_000,
    "deep lists, closed": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 50_000,
    "deep under an extension": b'{"content":"x","user_id":"ann","x-a":' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    "a number of 5,000 digits": b'{"content":"x","user_id":"ann","confidence":' + b"9" * 5_000 + b"}",
    "raw control character": b'{"content":"a\nb","user_id":"ann"}',
}

BODY_ROUTES = {
    "add": ("POST", "/memories"),
    "batch": ("POST", "/memories/batch"),
    "wait": ("POST", "/memories/wait"),
    "context": ("POST", "/context"),
}

WRONG: dict[str, list[Any]] = {
    "content": [None, 1, 1.5, True, [], {}, "", "   ", "\n\t", "a\0b", "\ud800", "x" * 100_001],
    "user_id": [None, 1, True, [], {}, "", "  ", "*", "a\0b", "\udfff", "u" * 1_000],
    "scope": [1, True, [], {}, "", " ", "/a", "a/", "a//b", "a/*", "*", "a*b", "a\0b", "s" * 600],
    "tags": ["tea", 1, {}, [1], [None], [""], [["a"]], ["a\0"], ["t"] * 10_000],
    "source": ["app", 1, [], {"type": "guessed"}, {"app": 1}, {"ref": []}],
    "confidence": ["0.5", -0.1, 1.1, True, [], {}, 1e308],
    "valid_from": ["yesterday", 5, True, [], "2024-01-01T00:00:00", "2024-13-01T00:00:00Z", "", "9999999999999"],
    "valid_to": ["tomorrow", 5, {}, "2024-01-01", "0000-00-00T00:00:00Z", "2024-01-01T25:00:00Z"],
    "supersedes": ["mem_1", 1, {}, [1], [""], [None], ["a\0"]],
    "key": [1, True, [], "", " ", "k\0"],
}
UNKNOWN = [
    "id",
    "created_at",
    "version",
    "scoope",
    "user",
    "contnet",
    "timeout",
    "__proto__",
    "status",
    "embedding_model",
    "X-Upper",
    "",
]

QUERIES: dict[str, list[str]] = {
    "/memories?user_id=ann&limit=": ["0", "-1", "501", "x", "1.5", "1e2", "9" * 30, "%00", "0x10", "true"],
    "/memories?user_id=ann&cursor=": ["junk", "%00", "e30", "AAAA", "x" * 5_000, "../..", "eyJwYWdlIjoxfQ"],
    "/memories?user_id=ann&since=": ["x", "2024-01-01T00:00:00", "1700000000", "%F0%9F%8D%B5"],
    "/memories?user_id=ann&until=": ["x", "2024-01-01T00:00:00", "NaN"],
    "/memories?user_id=ann&as_of=": ["x", "now", "2024-01-01"],
    "/memories?user_id=ann&scope=": ["a//b", "/a", "a*b", "*/a", "%00", "s" * 600],
    "/memories?user_id=ann&include_expired=": ["maybe", "2", "[]"],
    "/memories?user_id=ann&tag=": ["%00", "t" * 2_000],
    "/memories?user_id=": ["", "%20", "*", "%00", "%ED%A0%80", "u" * 1_000],
    "/memories/search?user_id=ann&q=": ["", "%20", "%00", "q" * 10_001],
    "/memories/search?user_id=ann&q=tea&limit=": ["0", "1001", "-5", "ten"],
    "/memories/search?user_id=ann&q=tea&min_score=": ["x", "nan", "inf", "-inf", "2", "-1"],
    "/memories/search?user_id=ann&q=tea&mode=": ["psychic", "VECTOR", "%00"],
    "/memories/search?user_id=ann&q=tea&explain=": ["perhaps"],
    "/memories/search?user_id=ann&q=tea&purpose=": ["fun"],
    "/audit?user_id=ann&limit=": ["0", "1001", "x"],
    "/audit?user_id=ann&since=": ["x", "2024-01-01T00:00:00"],
    "/changes?user_id=ann&limit=": ["0", "1001", "x"],
    "/changes?user_id=ann&cursor=": ["junk", "%00"],
    "/export?user_id=ann&limit=": ["0", "501", "x"],
    "/export?user_id=ann&cursor=": ["junk", "%00"],
}
MISSING = ["/memories", "/memories/search", "/memories/search?q=tea", "/memories/search?user_id=ann", "/audit"]

PATHS = [
    "/memories/..%2f..%2fetc%2fpasswd",
    "/memories/%00",
    "/memories/%ff%fe",
    "/memories/%ED%A0%80",
    "/memories/" + "a" * 5_000,
    "/memories/%2e%2e",
    "/memories/nobody-made-this",
    "/memories/mem_",
    "/memories/mem_00000000000000000000000000",
    "/memories/a%2Fb/history",
    "//memories",
    "/memories//history",
    "/MEMORIES",
    "/memories;user_id=ann",
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../openmem/server.py",
    "/.git/config",
    "/.env",
    "/admin",
    "/v1/memories",
    "/openapi.yaml",
    "/memories/a/b/c",
    "/keys",
    "/\\..\\..\\windows",
    "/memories%3Fuser_id=ann",
]

METHODS = [
    ("PUT", "/memories"),
    ("PATCH", "/memories"),
    ("TRACE", "/memories"),
    ("PROPFIND", "/memories"),
    ("FOO", "/memories"),
    ("get", "/memories?user_id=ann"),
    ("POST", "/memories/mem_1"),
    ("PUT", "/memories/mem_1"),
    ("DELETE", "/memories/mem_1/history"),
    ("DELETE", "/context"),
    ("GET", "/context"),
    ("POST", "/audit"),
    ("DELETE", "/audit"),
    ("POST", "/changes"),
    ("POST", "/export"),
    ("GET", "/import"),
    ("GET", "/memories/wait"),
    ("POST", "/capabilities"),
    ("DELETE", "/healthz"),
    ("POST", "/health/live"),
    ("PUT", "/version"),
    ("GET", "/reembed"),
]

# By header: values that make `GET /memories/{id}`, a PATCH or a POST wrong.
BY_ID: dict[str, list[str | bytes]] = {
    "X-User-Id": ["", "  ", "*", b"\xff\xfe", "u" * 1_000],
    "X-OMP-Timeout": ["x", "-1", "nan", "inf", "1e400", "1,5"],
}
ON_PATCH: dict[str, list[str | bytes]] = {
    "If-Match": ["abc", '"x"', '"-1"', '"1.5"', '"' + "9" * 400 + '"', '"1", "2"']
}
ON_POST: dict[str, list[str | bytes]] = {
    "Idempotency-Key": ["", "k" * 256, b"\xc3\xa4", "a\tb"],
    "X-OMP-App": ["a" * 1_000, b"\xff"],
}

_START = b"POST /memories HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = _START + b"Transfer-Encoding: chunked\r\n\r\n"

WIRE: dict[str, tuple[bytes, frozenset[int]]] = {
    "length that is negative": (_START + b"Content-Length: -1\r\n\r\n", BAD),
    "length with a plus": (_START + b"Content-Length: +5\r\n\r\nhello", BAD),
    "length in hex": (_START + b"Content-Length: 0x5\r\n\r\nhello", BAD),
    "length that is no number": (_START + b"Content-Length: many\r\n\r\n", BAD),
    "two lengths": (_START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", BAD),
    "length of 2 GiB": (_START + b"Content-Length: 2147483648\r\n\r\n", frozenset({413})),
    "length beyond 64 bits": (_START + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", frozenset({400, 413})),
    "chunk size that is no number": (CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n", BAD),
    "chunk size that is negative": (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", BAD),
    "chunks of 2 MiB": (CHUNKED + (b"10000\r\n" + b" " * 65_536 + b"\r\n") * 32 + b"0\r\n\r\n", frozenset({413})),
    "unknown coding": (_START + b"Transfer-Encoding: rot13\r\n\r\n", frozenset({400, 501})),
    "space in a header's name": (b"GET /memories HTTP/1.1\r\nHost: localhost\r\nX User: a\r\n\r\n", BAD),
    "header without a colon": (b"GET /memories HTTP/1.1\r\nHost: localhost\r\nhello\r\n\r\n", BAD),
    "NUL in a header": (b"GET /memories HTTP/1.1\r\nHost: localhost\r\nX-User-Id: a\0b\r\n\r\n", BAD),
    "bare CR in a header": (b"GET /memories HTTP/1.1\r\nHost: localhost\r\nX-A: a\rSet-Cookie: b\r\n\r\n", BAD),
    "no host": (b"GET /capabilities HTTP/1.1\r\n\r\n", frozenset({200, 400})),
    "header of 100 KB": (
        b"GET /capabilities HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n",
        frozenset({431}),
    ),
    "2,000 headers": (
        b"GET /capabilities HTTP/1.1\r\nHost: localhost\r\n"
        + b"".join(b"X-%d: %060d\r\n" % (n, n) for n in range(2_000))
        + b"\r\n",
        frozenset({400, 431}),
    ),
    "target of 100 KB": (
        b"GET /memories?user_id=" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        frozenset({414, 431}),
    ),
    "version 3": (b"GET /memories HTTP/3.0\r\nHost: localhost\r\n\r\n", frozenset({400, 505})),
    "version 0.9": (b"GET /memories\r\n\r\n", frozenset({400, 505})),
    "space in the target": (b"GET /memories?user_id=a b HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n", BAD),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", BAD),
    "zeros": (b"\0" * 200 + b"\r\n\r\n", BAD),
    "gzip": (
        request("POST", "/memories", gzip.compress(b"{" + b" " * 10_000_000), {"Content-Encoding": "gzip"}),
        frozenset({415}),
    ),
    "brotli": (request("POST", "/memories", b"\x8b\x02", {"Content-Encoding": "br"}), frozenset({415})),
    "two codings": (request("POST", "/memories", b"x", {"Content-Encoding": "gzip, identity"}), frozenset({415})),
}

TYPES: list[str | bytes] = [
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
    b"\xff",
]


def all_requests() -> Iterator[Hostile]:
    """Yield every hostile request. What is right about each is written beside it above."""
    for route, (method, path) in BODY_ROUTES.items():
        for name, body in BODIES.items():
            yield Hostile(f"{route}: {name}", request(method, path, body), BAD)
    for field, values in WRONG.items():
        for number, value in enumerate(values):
            body = json.dumps({**GOOD_MEMORY, field: value}).encode()
            yield Hostile(f"add: {field} {number}", request("POST", "/memories", body), BAD)
    for field in UNKNOWN:
        body = json.dumps({**GOOD_MEMORY, field: "x"}).encode()
        yield Hostile(f"add: unknown field {field!r}", request("POST", "/memories", body), BAD)
    for start, values in QUERIES.items():
        for number, value in enumerate(values):
            yield Hostile(f"{start} {number}", request("GET", start + value), BAD)
    for path in MISSING:
        yield Hostile(f"missing: {path}", request("GET", path), BAD)
    for path in PATHS:
        yield Hostile(f"path: {path[:40]}", request("GET", path), NO_PLACE)
    for method, path in METHODS:
        yield Hostile(
            f"method: {method} {path}",
            request(method, path, b"{}"),
            frozenset({400 if method in ("FOO", "get") else 405, 405}),
        )
    yield from _headers()
    for name, (data, statuses) in WIRE.items():
        yield Hostile(f"wire: {name}", data, statuses)


def _headers() -> Iterator[Hostile]:
    body = json.dumps(GOOD_MEMORY).encode()
    for number, kind in enumerate(TYPES):
        data = request("POST", "/memories", body, {"Content-Type": kind}, json=False)
        yield Hostile(f"type {number}", data, frozenset({400, 415}))
    for table, method, path, sent in (
        (BY_ID, "GET", "/memories/mem_1", None),
        (ON_PATCH, "PATCH", "/memories/mem_1", b'{"content":"x"}'),
        (ON_POST, "POST", "/memories", body),
    ):
        # A tag that is none of the memory's is a condition that does not hold.
        statuses = frozenset({400, 412}) if table is ON_PATCH else BAD
        for name, values in table.items():
            for number, value in enumerate(values):
                yield Hostile(f"{method} {name} {number}", request(method, path, sent, {name: value}), statuses)
