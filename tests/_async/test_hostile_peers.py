"""Hostile peers: every client ends by its deadline, with the promised error, in little memory."""

from __future__ import annotations

import gzip
import importlib
import itertools
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from openmem import DeadlineExceededError, InvalidRequestError, MemoryItem, OMPError, ProviderError
from tests._async.hostile_clients import ALL, KEY, Client, on_each, passthrough
from tests.bombs import bomb
from tests.hostile_peer import TICK, Exchange, HostilePeer, Script, ok

TIMEOUT = 0.3
LATE = 4 * TIMEOUT / TICK
"""Ticks of a slow peer that a client with `TIMEOUT` may let it have, at most, on a busy machine."""
GZIP_NAME = b"\x1f\x8b\x08\x08\0\0\0\0\0\xff"
"""Begins a file whose name follows, which may be of any length."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def forever(part: bytes) -> itertools.repeat[bytes]:
    return itertools.repeat(part)


def after(start: bytes, part: bytes) -> Script:
    """Return what sends something at once, then a part at each tick."""

    def script(exchange: Exchange) -> None:
        exchange.send(start)
        exchange.drip(forever(part))

    return script


def ring(exchange: Exchange) -> None:
    exchange.drip(iter([b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: /a%d\r\n" % id(exchange)]))
    exchange.drip(iter([b"\r\n"]))


def many_tiny_chunks(exchange: Exchange) -> None:
    exchange.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    exchange.drip(forever(b"1\r\n \r\n" * 2_000))


SLOW: dict[str, Script] = {
    "silence": lambda exchange: exchange.wait(),
    "head": after(b"HTTP/1.1 200 OK\r\nX-Pad: ", b"a"),
    "status line": after(b"HTTP/1.1 200 ", b"O"),
    "interim replies": after(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": after(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "body": after(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "chunks": after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a chunk's size": after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "tiny chunks": many_tiny_chunks,
    "trailers": after(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-A: a\r\n"),
    "gzip of nothing": after(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n" + GZIP_NAME, b"a"),
    "body until close": after(HEAD + b"\r\n", b" "),
    "ring of redirects": ring,
}


async def failure(client: Client, url: str, timeout: float | None = TIMEOUT) -> OMPError:
    if client.sdk is not None:
        importlib.import_module(client.sdk)  # which takes longer than the timeouts here
    with pytest.raises(OMPError) as caught:
        await client.ask(url, timeout)
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    return caught.value


@on_each("script", SLOW)
async def test_slow_peer_is_left_at_the_deadline(client: Client, script: Script) -> None:
    with HostilePeer(script) as peer:
        error = await failure(client, peer.url)
        assert isinstance(error, DeadlineExceededError | ProviderError)
        if script is not ring:  # which may be found out before
            assert isinstance(error, DeadlineExceededError)
    assert peer.ticks < LATE


@ALL
async def test_peer_that_reads_nothing_is_left_at_the_deadline(client: Client) -> None:
    with HostilePeer(lambda exchange: exchange.wait(), reads=False) as peer:
        assert isinstance(await failure(client, peer.url), DeadlineExceededError)
    assert peer.ticks < LATE


@ALL
async def test_handshake_that_comes_byte_by_byte_is_left_at_the_deadline(client: Client) -> None:
    script = after(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0", b"\0")
    with HostilePeer(script, reads=False, scheme="https") as peer:
        assert isinstance(await failure(client, peer.url), DeadlineExceededError)
    assert peer.ticks < LATE


@ALL
async def test_host_that_takes_no_connection_is_left_at_the_deadline(client: Client) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.socket() as first,
        socket.socket() as second,
    ):
        for waiting in (first, second):  # the queue is full: what comes now is not answered
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        error = await failure(client, f"http://127.0.0.1:{server.getsockname()[1]}")
        assert isinstance(error, DeadlineExceededError)


async def test_body_that_is_never_read_is_left_at_the_deadline() -> None:
    with HostilePeer(lambda exchange: exchange.wait(), reads=False) as peer:
        items: list[MemoryItem] = [{"content": "tea " * 20_000, "user_id": "ann"}] * 200
        async with passthrough(peer.url, timeout=TIMEOUT) as memory:
            with pytest.raises(DeadlineExceededError):
                await memory.add_many(items)
    assert peer.ticks < LATE


LARGE_BODY, TWICE, UNKNOWN = "more than 64 MiB", "encoded more than once", "not asked for"
ENCODED: dict[str, tuple[Callable[[], bytes], bytes, str]] = {
    "gzip": (lambda: bomb("gzip"), b"gzip", LARGE_BODY),
    "x-gzip": (lambda: bomb("gzip"), b"x-gzip", LARGE_BODY),
    "deflate": (lambda: bomb("zlib"), b"deflate", LARGE_BODY),
    "raw deflate": (lambda: bomb("raw deflate"), b"deflate", LARGE_BODY),
    "gzip in gzip": (lambda: gzip.compress(bomb("gzip")), b"gzip, gzip", TWICE),
    "gzip in gzip in two headers": (
        lambda: gzip.compress(bomb("gzip", 1 << 20)),
        b"gzip\r\nContent-Encoding: gzip",
        TWICE,
    ),
    "gzip in deflate": (lambda: zlib.compress(bomb("gzip", 1 << 20)), b"gzip, deflate", TWICE),
    "br": (lambda: b"\x1b\xff\xff", b"br", UNKNOWN),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd", b"zstd", UNKNOWN),
    "compress": (lambda: b"\x1f\x9d", b"compress", UNKNOWN),
    "made up": (lambda: b"{}", b"x-squeezed", UNKNOWN),
    "not gzip": (lambda: b"{}", b"gzip", "cannot be decoded"),
    "gzip that breaks off": (lambda: gzip.compress(b'{"a": 1}')[:-9], b"gzip", "breaks off"),
    "chunked as an encoding": (lambda: b"{}", b"chunked", UNKNOWN),
}


@on_each("body encoding says", ENCODED)
async def test_encoding_that_is_a_bomb_or_unknown_is_an_error_of_the_provider(
    client: Client, body: Callable[[], bytes], encoding: bytes, says: str
) -> None:
    data = body()
    with HostilePeer(lambda exchange: exchange.send(ok(data, b"Content-Encoding: " + encoding))) as peer:
        error = await failure(client, peer.url, 15)
        assert type(error) is ProviderError, error
        assert says in error.message
        assert peer.requests == 1


@ALL
async def test_length_beyond_the_limit_is_refused_before_a_byte_is_read(client: Client) -> None:
    script = after(HEAD + b"Content-Length: 100000000000\r\n\r\n", b" ")
    with HostilePeer(script) as peer:
        assert type(await failure(client, peer.url, 15)) is ProviderError
    assert peer.ticks < LATE


def endless(start: bytes, part: bytes) -> Script:
    """Return what sends a body without end at full speed."""

    def script(exchange: Exchange) -> None:
        exchange.send(HEAD + b"Transfer-Encoding: chunked\r\n" + start)
        block = b"100000\r\n" + part * (1 << 20) + b"\r\n"
        for _ in range(200):
            exchange.send(block)

    return script


ENDLESS = {
    "white space": endless(b"\r\n", b" "),
    # It is decoded to nothing at all, however long it gets.
    "the name of a gzip file": endless(b"Content-Encoding: gzip\r\n\r\na\r\n" + GZIP_NAME + b"\r\n", b"a"),
}


@on_each("script", ENDLESS)
async def test_body_without_end_is_refused_at_the_limit(client: Client, script: Script) -> None:
    with HostilePeer(script) as peer:
        error = await failure(client, peer.url, 15)
        assert type(error) is ProviderError
        assert LARGE_BODY in error.message


def headers_without_end(exchange: Exchange) -> None:
    exchange.send(HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(200_000)) + b"\r\n{}")


ODD: dict[str, Script] = {
    "a million headers": headers_without_end,
    "a header with a control character": lambda exchange: exchange.send(ok(b"{}", b"X-A: \x00\x07")),
    "a header without a name": lambda exchange: exchange.send(ok(b"{}", b": x")),
    "two lengths": lambda exchange: exchange.send(ok(b"{}", b"Content-Length: 3")),
    "a negative length": lambda exchange: exchange.send(HEAD + b"Content-Length: -1\r\n\r\n{}"),
    "a length in letters": lambda exchange: exchange.send(HEAD + b"Content-Length: two\r\n\r\n{}"),
    "fewer bytes than said": lambda exchange: exchange.send(HEAD + b"Content-Length: 20\r\n\r\n{}"),
    "nothing": lambda exchange: None,
    "no HTTP": lambda exchange: exchange.send(b"220 mail.example ESMTP\r\n"),
    "HTTP/2": lambda exchange: exchange.send(b"\0\0\0\4\0\0\0\0\0"),
    "a switch of protocols": lambda exchange: exchange.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
    "a status of four digits": lambda exchange: exchange.send(b"HTTP/1.1 2000 OK\r\n\r\n{}"),
    "a status of 999": lambda exchange: exchange.send(ok(b"{}", status=b"999 Odd")),
    "not modified": lambda exchange: exchange.send(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "no content": lambda exchange: exchange.send(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "an empty body": lambda exchange: exchange.send(ok(b"")),
    "a web page": lambda exchange: exchange.send(ok(b"<html>login</html>")),
    "bytes": lambda exchange: exchange.send(ok(b"\xff\xfe\0\0")),
    "a byte order mark": lambda exchange: exchange.send(ok(b"\xef\xbb\xbf")),
    "depth": lambda exchange: exchange.send(ok(b"[" * 100_000 + b"]" * 100_000)),
    "depth of objects": lambda exchange: exchange.send(ok(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)),
    "a number of 5,000 digits": lambda exchange: exchange.send(ok(b'{"data": %s}' % (b"1" * 5_000))),
    "a lone surrogate": lambda exchange: exchange.send(ok(b'{"id": "\\ud800"}')),
    "a failure in a success": lambda exchange: exchange.send(ok(b'{"error": {"code": "x", "message": "y"}}')),
    "a failure without a body": lambda exchange: exchange.send(ok(b"", status=b"500 Oh")),
    "a failure of depth": lambda exchange: exchange.send(ok(b"[" * 100_000, status=b"418 Oh")),
    "another status in each way": lambda exchange: exchange.send(ok(b"{}", status=b"299 Odd")),
    "a redirect to nowhere": lambda exchange: exchange.send(ok(b"", status=b"302 Found")),
    "a redirect elsewhere": lambda exchange: exchange.send(
        ok(b"", b"Location: http://127.0.0.2:9/x", status=b"307 Go")
    ),
    "a redirect to itself": lambda exchange: exchange.send(ok(b"", b"Location: /", status=b"307 Go")),
    "a redirect to no address": lambda exchange: exchange.send(ok(b"", b"Location: http://[", status=b"307 Go")),
    "a redirect into a file": lambda exchange: exchange.send(
        ok(b"", b"Location: file:///etc/passwd", status=b"307 Go")
    ),
}


@on_each("script", ODD)
async def test_reply_that_makes_no_sense_is_an_error_of_ours(client: Client, script: Script) -> None:
    with HostilePeer(script) as peer:
        error = await failure(client, peer.url, 8)
        assert isinstance(error, ProviderError | InvalidRequestError), error
        assert not isinstance(error, DeadlineExceededError)


@ALL
async def test_redirect_to_another_server_is_not_followed(client: Client) -> None:
    def elsewhere(exchange: Exchange) -> None:
        exchange.send(ok(b"", b"Location: " + other.url.encode() + b"/x", status=b"307 Go"))

    with HostilePeer(lambda exchange: exchange.send(ok(b"{}"))) as other, HostilePeer(elsewhere) as peer:
        error = await failure(client, peer.url, 15)
        assert isinstance(error, ProviderError)
        assert (peer.requests > 0, other.requests) == (True, 0)


PAUSES = [b"1" * 31, b"-1", b"NaN", b"inf", b"1e400", b"Mon, 01 Jan 0001 00:00:00 GMT", b"x" * 50_000, b"0x10", b"\xb2"]
STATUSES = [b"429 Slow", b"503 Busy"]


@on_each(
    "pause status",
    {f"{status[:3].decode()}-{n}": (pause, status) for status in STATUSES for n, pause in enumerate(PAUSES)},
)
async def test_pause_that_makes_no_sense_is_neither_waited_for_nor_an_error_of_its_own(
    client: Client, pause: bytes, status: bytes
) -> None:
    with HostilePeer(lambda exchange: exchange.send(ok(b"{}", b"Retry-After: " + pause, status=status))) as peer:
        error = await failure(client, peer.url, 8)
        assert error.http_status in (429, 503)
        assert peer.requests <= 5


async def test_pause_of_an_age_is_not_waited_for() -> None:
    with HostilePeer(lambda exchange: exchange.send(ok(b"{}", b"Retry-After: 999999999", status=b"429 Slow"))) as peer:
        async with passthrough(peer.url, timeout=None) as memory:
            with pytest.raises(OMPError) as caught:
                await memory.get("mem_1", user_id="ann")
    assert caught.value.http_status == 429


ENVIRONMENTS = [
    {"HTTP_PROXY": "http://u:hush-hush@[::1"},
    {"ALL_PROXY": "socks5://u:hush-hush@127.0.0.1:9"},
    {"HTTPS_PROXY": "gopher://u:hush-hush@127.0.0.1:9", "ALL_PROXY": "gopher://u:hush-hush@127.0.0.1:9"},
]


@on_each("environment", {str(number): environment for number, environment in enumerate(ENVIRONMENTS)})
async def test_proxy_of_the_environment_that_cannot_be_used_is_named_without_its_password(
    client: Client, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = await failure(client, "http://127.0.0.1:9", 8)
    assert type(error) is InvalidRequestError
    assert "ALL_PROXY" in error.message
    assert "hush-hush" not in f"{error!r} {error.__cause__!r} {error.__context__!r}"


@ALL
async def test_proxy_of_the_environment_that_is_slow_is_left_at_the_deadline(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HostilePeer(after(b"HTTP/1.1 200 ", b"O")) as peer:
        monkeypatch.setenv("ALL_PROXY", peer.url)
        assert isinstance(await failure(client, "https://memory.invalid", 2 * TIMEOUT), DeadlineExceededError)
        assert peer.requests > 0
    assert peer.ticks < LATE


@ALL
async def test_password_of_a_netrc_file_is_not_sent(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("default login ann password hush-hush\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    heads: list[bytes] = []

    def script(exchange: Exchange) -> None:
        heads.append(exchange.request)
        exchange.send(ok(b"{}", status=b"404 Not Found"))

    with HostilePeer(script) as peer:
        await failure(client, peer.url, 8)
    assert heads
    assert not any(b"Basic" in head for head in heads)
    assert all(KEY.encode() in head for head in heads)
