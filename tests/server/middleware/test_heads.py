"""The head of a request: values given twice, hosts, and time that grows with the text and not with its square."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest

from openmem import AsyncMemory, InvalidRequestError
from openmem._protocol.hosts import host_in, network_of
from openmem._protocol.request_heads import MAX_HEADERS, SINGLE, fields_of
from openmem.server import create_app
from openmem.server.middleware.access_log import AccessLog
from openmem.server.middleware.limits import Limits, RequestLimits
from openmem.server.middleware.origins import OriginGuard
from openmem.server.middleware.tracing import carrier_of, traced
from tests.doubling import set_garbage_aside
from tests.server.process import Process, request, started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with started("--url", str(tmp_path_factory.mktemp("heads") / "m.db")) as process:
        yield process


def test_values_of_a_list_are_joined_in_order() -> None:
    given = [(b"if-none-match", b'"1"'), (b"host", b"a"), (b"if-none-match", b'"2"'), (b"accept", b"x")]
    assert fields_of(given) == {b"if-none-match": b'"1", "2"', b"host": b"a", b"accept": b"x"}


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_single_value_given_twice_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=f"the header {name.decode()} must be given once"):
        fields_of([(name, b"a"), (b"x", b"y"), (name, b"a")])


@pytest.mark.parametrize("name", ["X-User-Id", "Authorization", "X-API-Key", "Idempotency-Key", "Host", "X-OMP-App"])
def test_header_given_twice_is_a_400_on_the_wire(server: Process, name: str) -> None:
    with server.connect() as wire:
        head = request("GET", "/memories?user_id=ann")[:-2]
        wire.send(head + f"{name}: ann\r\n{name.lower()}: localhost\r\n\r\n".encode())
        reply = wire.reply()
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert f"{name.lower()} must be given once" in reply.json()["error"]["message"]


def test_condition_sent_in_two_lines_is_one_list(server: Process) -> None:
    id = server.ask("POST", "/memories", b'{"content":"x","user_id":"ann"}').json()["id"]
    with server.connect() as wire:
        wire.send(request("GET", f"/memories/{id}")[:-2] + b'If-None-Match: "7"\r\nIf-None-Match: "1"\r\n\r\n')
        assert wire.reply(head_only=True).status == 304


def test_request_without_a_host_is_refused(server: Process) -> None:
    with server.connect() as wire:
        wire.send(b"GET /capabilities HTTP/1.1\r\n\r\n")
        assert wire.reply().status == 400


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "x-made-up, chunked"])
def test_transfer_coding_besides_chunks_is_refused(server: Process, coding: str) -> None:
    """A proxy that knows such a coding and a server that does not would see two bodies."""
    body = b'{"content":"tea","user_id":"ann"}'
    with server.connect() as wire:
        wire.send(request("POST", "/memories", transfer_encoding=coding, content_type="application/json"))
        wire.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        reply = wire.reply()
    assert (reply.status, reply.code) == (400, "invalid_request")


@pytest.mark.parametrize(("count", "status"), [(MAX_HEADERS - 1, 200), (MAX_HEADERS, 431)])
def test_number_of_headers_is_bounded(server: Process, count: int, status: int) -> None:
    with server.connect() as wire:
        more = b"".join(b"a%d:b\r\n" % number for number in range(count))
        wire.send(request("GET", "/health/live")[:-2] + more + b"\r\n")
        assert wire.reply().status == status


# Written out, since what the server takes for all of them is what is in doubt.
KEEP_PAGES_OUT = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health/live", {}, 200),
        ("GET", "/memories?user_id=ann", {}, 200),
        ("GET", "/nowhere", {}, 404),
        ("PUT", "/memories", {}, 405),
        ("GET", "/memories", {}, 400),
        ("GET", "/memories", {"host": "attacker.example"}, 403),
        ("POST", "/memories", {"content-encoding": "gzip", "content-length": "0"}, 415),
        ("POST", "/memories", {"content-length": "99999999"}, 413),
        ("GET", "/" + "a" * 20_000, {}, 431),
        ("GET", "/ /", {}, 400),
        ("get", "/memories", {}, 400),
        ("OPTIONS", "/memories", {}, 405),
    ],
)
def test_every_answer_has_the_headers_that_keep_pages_out(
    server: Process, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    with server.connect() as wire:
        wire.send(request(method, path, **headers))
        reply = wire.reply()
    assert reply.status == status
    assert KEEP_PAGES_OUT.items() <= reply.headers.items()
    if status >= 400:
        assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "whatever"])
@pytest.mark.parametrize(("mode", "dest"), [("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe")])
def test_request_that_a_page_makes_a_browser_send_is_refused(server: Process, site: str, mode: str, dest: str) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
    reply = server.ask("GET", "/memories/search?user_id=victim&q=x", **headers)
    assert (reply.status, reply.code) == (403, "scope_denied")
    assert server.ask("GET", "/audit?user_id=victim").json()["entries"] == []


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_request_of_a_person_or_of_the_own_page_is_served(server: Process, site: str) -> None:
    assert server.ask("GET", "/memories?user_id=ann", sec_fetch_site=site).status == 200


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:80", "localhost"),
        ("[::1]:8080", "[::1]"),
        ("a.b-c_d:", "a.b-c_d"),
        ("x@localhost", None),
        ("localhost:80:80", None),
        ("[::1", None),
        ("a b", None),
        ("localhost/", None),
        ("", None),
    ],
)
def test_host_is_read_strictly(header: str, host: str | None) -> None:
    assert host_in(header) == host


def test_addresses_of_one_ipv6_site_count_as_one() -> None:
    assert network_of("2001:db8:1:2:aaaa::1") == network_of("2001:db8:1:2:bbbb::2") != network_of("2001:db8:1:3::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("not an address") == "not an address"


def test_no_baggage_and_nothing_long_is_read_for_tracing() -> None:
    given = [(b"traceparent", b"00-1"), (b"baggage", b"a=b"), (b"tracestate", b"x" * 513), (b"b3", b"0")]
    assert carrier_of(given) == {"traceparent": "00-1", "b3": "0"}


# Time

PATTERNS = {
    "blanks": " {}x",
    "blanks inside": "x{}x",
    "tabs": "\t{}x",
    "quotes": '"{}',
    "tags": '"1",{}',
    "weak": "W/{}",
    "commas": ",{}x",
    "semicolons": "a;{}x",
    "digits": "1{}x",
    "brackets": "[{}",
    "colons": ":{}",
    "percent": "%{}",
    "pluses": "+{}x",
    "stars": "*{}x",
}
NAMES = sorted(
    {
        *(name.decode() for name in SINGLE - {b"content-length"}),
        *("if-match", "if-none-match", "accept", "accept-encoding", "forwarded", "x-forwarded-for", "cookie", "range"),
        *("traceparent", "tracestate", "baggage", "access-control-request-headers", "content-encoding", "user-agent"),
    }
)
PARAMETERS = ["limit", "since", "cursor", "scope", "q", "min_score", "mode", "explain", "tags", "user_id", "x"]
MARKS = ["%2F", "/", ".", "%", "a", "//", "%00", ";"]
SMALL, LARGE = 2_000, 16_000


@asynccontextmanager
async def an_app(folder: Path) -> AsyncIterator[AccessLog]:
    async def is_open() -> bool:
        return False

    async with AsyncMemory(url=f"sqlite:///{folder / 'm.db'}", embedder="none") as memory:
        inner = RequestLimits(create_app(memory), Limits(head=10_000_000))
        yield AccessLog(traced(OriginGuard(inner, (), (), local=True, is_open=is_open), "sqlite"))


async def ask(
    app: AccessLog, method: str, path: str, query: str = "", *headers: tuple[str, str], body: str = ""
) -> bytes:
    """Send a request as a web server would; return the body of the answer."""
    sent: list[bytes] = []
    given = [(b"host", b"localhost"), (b"content-length", b"%d" % len(body))]
    given = [pair for pair in given if pair[0] not in {name.encode() for name, _ in headers}]
    scope = {"type": "http", "http_version": "1.1", "method": method, "root_path": "", "query_string": query.encode()}
    scope |= {"path": unquote(path), "raw_path": path.encode()}
    scope |= {"headers": given + [(name.encode(), value.encode("latin-1")) for name, value in headers]}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(sent)


async def grows_too_fast(work: Callable[[int], Awaitable[object]]) -> bool:
    """Return whether the processor time of some work grows with the square of a length."""

    async def took(length: int, times: int = 3) -> float:
        measured = []
        for _ in range(times):
            began = time.process_time()
            await work(length)
            measured.append(time.process_time() - began)
        return min(measured)

    # A square would be 64 times as much. A fixed part of a few milliseconds is not part of the growth.
    fixed = 0.02
    if await took(LARGE, 1) <= fixed:
        return False
    set_garbage_aside()  # which may have been it
    return await took(LARGE) > fixed + 3 * await took(SMALL) * LARGE / SMALL


@pytest.mark.parametrize("name", NAMES)
async def test_header_takes_time_that_grows_with_its_length_only(tmp_path: Path, name: str) -> None:
    async with an_app(tmp_path) as app:
        id = json.loads(await ask(app, "POST", "/memories", body='{"content":"x","user_id":"ann"}'))["id"]
        for label, pattern in PATTERNS.items():
            for method, body in (("GET", ""), ("PATCH", '{"tags":["a"]}')):

                async def work(n: int, pattern: str = pattern, method: str = method, body: str = body) -> object:
                    value = pattern.format(pattern[0] * n)
                    return await ask(app, method, f"/memories/{id}", "", (name, value), body=body)

                assert not await grows_too_fast(work), label


@pytest.mark.parametrize("name", PARAMETERS)
async def test_parameter_takes_time_that_grows_with_its_length_only(tmp_path: Path, name: str) -> None:
    async with an_app(tmp_path) as app:
        for label, pattern in PATTERNS.items():

            async def work(n: int, pattern: str = pattern) -> object:
                given = {"user_id": "ann", "q": "tea", name: pattern.format(pattern[0] * n)}
                return await ask(app, "GET", "/memories/search", urlencode(given))

            assert not await grows_too_fast(work), label


@pytest.mark.parametrize("mark", MARKS)
async def test_path_takes_time_that_grows_with_its_length_only(tmp_path: Path, mark: str) -> None:
    async with an_app(tmp_path) as app:
        assert not await grows_too_fast(lambda n: ask(app, "GET", "/memories/" + mark * (n // len(mark))))
