"""However the line between the server and Postgres breaks: the promised status in bounded time, and it heals by itself.

Memories and the server's own store are in the same database, behind the same line.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from openmem import AsyncServerStore
from openmem.server.middleware.rate_limit import STORE_SECONDS, RateLimiter
from openmem.testing.postgres import PostgresServer
from tests.postgres_observer import Observer, until
from tests.promised_errors import SECRET, with_secret
from tests.server.contract_check import check_reply
from tests.server.process import started
from tests.tcp_proxy import BLACK_HOLE, HALF_OPEN, PASS, REFUSE, RESET, Mode, TcpProxy, cut, latency

SOON = 3.0  # seconds for what is refused at once, on a machine that does other things besides
DEADLINE = 0.4
AFTER = DEADLINE + 1.5  # in all; a call that is over may still try to end on Postgres what it began there


@dataclass(frozen=True)
class Line:
    """A client of the server, and the line from there to Postgres."""

    client: httpx.Client
    proxy: TcpProxy
    url: str

    def break_(self, mode: Mode) -> None:
        """Break the line for the connections that exist, and for those to come."""
        self.proxy.mode = mode
        if mode in (BLACK_HOLE, REFUSE):
            self.proxy.reset_connections()

    def add(self, user: str, content: str = "likes tea", **headers: Any) -> httpx.Response:
        given = {name.replace("_", "-"): str(value) for name, value in headers.items()}
        return self.client.post("/memories", json={"content": content, "user_id": user}, headers=given)

    def contents(self, user: str) -> list[str]:
        reply = self.client.get("/memories", params={"user_id": user, "limit": 500})
        assert reply.status_code == 200, reply.text
        return sorted(item["content"] for item in reply.json()["items"])

    def held(self) -> int:
        return Observer(self.url).held()


@pytest.fixture(scope="module")
def the_line(postgres: PostgresServer, postgres_template: str) -> Iterator[Line]:
    url = postgres.new_database(template=postgres_template)
    parts = urlsplit(url)
    with TcpProxy(parts.hostname or "127.0.0.1", parts.port or 5432) as proxy:
        place = with_secret(url, port=proxy.port) + "?connect_timeout=1"
        with (
            started(OMP_URL=place) as server,
            httpx.Client(
                base_url=f"http://127.0.0.1:{server.port}", timeout=10, event_hooks={"response": [check_reply]}
            ) as client,
        ):
            yield Line(client, proxy, url)
            assert server.stop() == 0
            said = server.output()
            assert "Traceback" not in said
            assert SECRET not in said
    postgres.drop_database(url)


@pytest.fixture
def line(the_line: Line, user: str) -> Iterator[Line]:
    """The line, healthy, after its first use."""
    assert the_line.add(user).status_code == 201
    yield the_line
    the_line.proxy.mode = PASS


class answers:  # noqa: N801 - read as a verb, as pytest.raises is
    """Expect a failure from a request, in time, with all that belongs to it."""

    def __init__(self, status: int, code: str, *, within: float) -> None:
        self._expected, self._within = (status, code), within

    def __enter__(self) -> answers:
        self._started = time.monotonic()
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert time.monotonic() - self._started < self._within

    def to(self, reply: httpx.Response) -> None:
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == self._expected
        assert error["type"] == "provider_error"
        assert SECRET not in reply.text
        assert ("retry-after" in reply.headers) == (reply.status_code == 503)
        if reply.status_code == 503:
            assert int(reply.headers["retry-after"]) >= 1


def test_slow_line_makes_requests_slow_and_breaks_nothing(line: Line, user: str) -> None:
    line.break_(latency(0.02))
    started = time.monotonic()
    assert line.add(user, "likes coffee").status_code == 201
    assert time.monotonic() - started > 0.04
    line.break_(latency(DEADLINE))
    with answers(504, "deadline_exceeded", within=AFTER) as expected:
        expected.to(line.add(user, "likes milk", X_OMP_Timeout=DEADLINE, Idempotency_Key=user))
    line.break_(PASS)
    assert line.add(user, "likes milk", Idempotency_Key=user).status_code == 201
    assert line.contents(user) == ["likes coffee", "likes milk", "likes tea"]


def test_health_follows_the_line(line: Line) -> None:
    def ready() -> int:
        return line.client.get("/health/ready").status_code

    until(lambda: ready() == 200)
    line.break_(RESET)
    until(lambda: ready() == 503)
    line.break_(PASS)
    until(lambda: ready() == 200)


def test_connections_that_were_reset_at_rest_are_replaced(line: Line, user: str) -> None:
    line.proxy.reset_connections()
    assert line.add(user, "likes coffee", Idempotency_Key=user).status_code == 201
    line.proxy.reset_connections()
    assert line.contents(user) == ["likes coffee", "likes tea"]


@pytest.mark.parametrize("mode", [RESET, REFUSE, cut(0)], ids=lambda mode: mode.name)
def test_line_that_is_torn_is_a_503_at_once_until_it_is_healed(line: Line, user: str, mode: Mode) -> None:
    line.break_(mode)
    with answers(503, "provider_unavailable", within=SOON) as expected:
        expected.to(line.client.get("/memories/search", params={"user_id": user, "q": "tea"}))
        expected.to(line.add(user, "likes coffee", Idempotency_Key=user))
        expected.to(line.client.delete("/memories", params={"user_id": user}))
        expected.to(line.client.get("/export", params={"user_id": user}))
    assert line.client.get("/health/live").status_code == 200
    line.break_(PASS)
    assert line.contents(user) == ["likes tea"]
    assert line.add(user, "likes coffee", Idempotency_Key=user).status_code == 201
    assert line.contents(user) == ["likes coffee", "likes tea"]


@pytest.mark.parametrize("mode", [HALF_OPEN, BLACK_HOLE], ids=lambda mode: mode.name)
def test_silent_line_is_a_504_when_the_time_of_the_client_is_up(line: Line, user: str, mode: Mode) -> None:
    line.break_(mode)
    for _ in range(2):
        with answers(504, "deadline_exceeded", within=AFTER) as expected:
            expected.to(line.add(user, "likes coffee", X_OMP_Timeout=DEADLINE, Idempotency_Key=user))
    with answers(504, "deadline_exceeded", within=AFTER) as expected:
        search = {"user_id": user, "q": "tea"}
        expected.to(line.client.get("/memories/search", params=search, headers={"X-OMP-Timeout": str(DEADLINE)}))
    line.break_(PASS)
    until(lambda: not line.held())
    replies = [line.add(user, "likes coffee", Idempotency_Key=user) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert line.contents(user) == ["likes coffee", "likes tea"]


def test_postgres_that_takes_no_connection_is_a_503_after_the_time_to_connect(line: Line, user: str) -> None:
    line.break_(BLACK_HOLE)
    with answers(503, "provider_unavailable", within=1.0 + SOON) as expected:
        expected.to(line.add(user, "likes coffee"))
    line.break_(PASS)
    assert line.contents(user) == ["likes tea"]


def test_add_whose_line_is_cut_anywhere_is_stored_once_by_its_key(line: Line, user: str) -> None:
    broken, cuts = 0, range(0, 360, 24)
    for reply_bytes in cuts:
        line.break_(cut(reply_bytes))
        reply = line.add(user, f"note {reply_bytes}", Idempotency_Key=f"{user}-{reply_bytes}")
        assert reply.status_code in (201, 503), reply.text
        broken += reply.status_code == 503
        line.break_(PASS)
        again = line.add(user, f"note {reply_bytes}", Idempotency_Key=f"{user}-{reply_bytes}")
        assert again.status_code == 201
        if reply.status_code == 201:
            assert again.json() == reply.json()
    assert broken > 3
    assert line.contents(user) == sorted(["likes tea", *(f"note {reply_bytes}" for reply_bytes in cuts)])


def test_connection_that_is_reset_in_the_middle_of_a_write_loses_nothing_acknowledged(line: Line, user: str) -> None:
    with Observer(line.url).interfere(line.proxy.reset_connections):
        reply = line.add(user, "likes coffee", Idempotency_Key=user)
    assert reply.status_code == 503
    until(lambda: not line.held())
    assert line.add(user, "likes coffee", Idempotency_Key=user).status_code == 201
    assert line.contents(user) == ["likes coffee", "likes tea"]


def test_export_that_breaks_in_the_middle_does_not_look_complete(line: Line, user: str) -> None:
    memories = [{"content": f"fact {number} {secrets.token_hex(200)}"} for number in range(450)]
    assert line.client.post("/memories/batch", json={"items": memories, "user_id": user}).status_code == 201
    line.break_(latency(0.1))  # so that the next page is still on its way when the first has arrived
    with line.client.stream("GET", "/export", params={"user_id": user}) as reply:
        assert reply.status_code == 200
        line.break_(RESET)
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()
    line.break_(PASS)
    assert len(line.client.get("/export", params={"user_id": user}).text.splitlines()) == 452


async def test_silent_store_holds_up_the_counting_of_requests_for_a_second_at_most(line: Line) -> None:
    place = with_secret(line.url, port=line.proxy.port)
    async with AsyncServerStore(place) as store:
        limiter = RateLimiter(store, 60)  # each request asks the store
        assert await limiter.take("a") == 0.0
        line.break_(HALF_OPEN)
        started = time.monotonic()
        assert await limiter.take("a") == 0.0
        assert STORE_SECONDS <= time.monotonic() - started < STORE_SECONDS + SOON
        line.break_(PASS)
        assert await limiter.take("a") == 0.0
