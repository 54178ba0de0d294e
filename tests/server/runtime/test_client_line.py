"""However the line between a client and the server breaks: the promised error in time, and nothing lost or doubled."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from openmem import AsyncMemory, DeadlineExceededError, Memory, OMPError
from openmem.errors import ProviderUnavailableError
from tests.promised_errors import SECRET, shown
from tests.server.process import Process, started
from tests.tcp_proxy import BLACK_HOLE, HALF_OPEN, PASS, REFUSE, RESET, Mode, TcpProxy, cut, latency

SOON = 2.0  # three attempts, and the pauses between them
DEADLINE = 0.3
AFTER = DEADLINE + 0.7


class FromOutside:
    """An `AsyncMemory` whose verbs are called as those of `Memory` are."""

    def __init__(self, **given: Any) -> None:
        self._runner = asyncio.Runner()
        self._memory = AsyncMemory(**given)

    def __getattr__(self, verb: str) -> Any:
        return lambda *args, **given: self._runner.run(getattr(self._memory, verb)(*args, **given))

    def __enter__(self) -> FromOutside:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._runner.run(self._memory.close())
        self._runner.close()


@dataclass(frozen=True)
class Line:
    """A client, and the line that it has to the server."""

    memory: Memory
    proxy: TcpProxy
    user: str

    def add(self, content: str = "likes coffee", **more: Any) -> str:
        return self.memory.add(content=content, user_id=self.user, **more).id

    def contents(self) -> list[str]:
        return sorted(record.content for record in self.memory.list(self.user).items)

    def break_(self, mode: Mode) -> None:
        """Break the line for the connections that exist, and for those to come."""
        self.proxy.mode = mode
        if mode is BLACK_HOLE or mode is REFUSE:
            self.proxy.reset_connections()


@contextmanager
def failing(kind: type[OMPError], text: str | None = None, *, within: float) -> Iterator[None]:
    """Expect an error of exactly this kind from the block, in time, and without the key."""
    began = time.monotonic()
    with pytest.raises(kind, match=text) as caught:
        yield
    assert time.monotonic() - began < within
    assert type(caught.value) is kind
    assert SECRET not in shown(caught.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("line")
    with started("--url", str(folder / "m.db"), "--store", str(folder / "s.db")) as process:
        yield process


@pytest.fixture(scope="module")
def proxy(server: Process) -> Iterator[TcpProxy]:
    with TcpProxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture(params=[Memory, FromOutside], ids=["sync", "async"])
def line(request: pytest.FixtureRequest, proxy: TcpProxy) -> Iterator[Line]:
    """A client that has spoken to the server before, and holds a connection."""
    proxy.mode = PASS
    with request.param(base_url=f"http://127.0.0.1:{proxy.port}", api_key=SECRET) as memory:
        line = Line(memory, proxy, f"user-{secrets.token_hex(6)}")
        line.add("likes tea")
        yield line
        proxy.mode = PASS


def test_slow_line_makes_calls_slow_and_breaks_nothing(line: Line) -> None:
    line.break_(latency(0.02))
    assert line.add() == line.memory.search("coffee", line.user)[0].memory.id
    line.break_(latency(DEADLINE))
    with failing(DeadlineExceededError, within=AFTER):
        line.memory.search("tea", line.user, timeout=DEADLINE)
    line.break_(PASS)
    assert line.contents() == ["likes coffee", "likes tea"]


def test_connection_that_was_reset_at_rest_is_not_used(line: Line) -> None:
    line.proxy.reset_connections()
    line.add()
    line.proxy.reset_connections()
    assert line.contents() == ["likes coffee", "likes tea"]


@pytest.mark.parametrize("mode", [RESET, REFUSE], ids=lambda mode: mode.name)
def test_line_that_is_torn_is_unavailable_soon(line: Line, mode: Mode) -> None:
    line.break_(mode)
    with failing(ProviderUnavailableError, "broke off|cannot connect", within=SOON):
        line.add("lost")
    line.break_(PASS)
    line.add()
    assert line.contents() == ["likes coffee", "likes tea"]


@pytest.mark.parametrize("mode", [HALF_OPEN, BLACK_HOLE], ids=lambda mode: mode.name)
def test_silent_line_costs_no_more_than_the_deadline(line: Line, mode: Mode) -> None:
    line.break_(mode)
    with failing(DeadlineExceededError, within=AFTER):
        line.memory.search("tea", line.user, timeout=DEADLINE)
    with failing(DeadlineExceededError, within=AFTER):
        line.add(key="drink", timeout=DEADLINE)
    line.break_(PASS)
    line.add(key="drink")  # what was under way may have arrived all the same
    assert line.contents() == ["likes coffee", "likes tea"]


def test_add_whose_reply_is_cut_is_stored_once_however_often_it_was_sent(line: Line) -> None:
    sent = []
    for reply_bytes in (0, 300):  # before the status, and in the body
        line.break_(cut(reply_bytes))
        before = line.proxy.accepted
        with failing(ProviderUnavailableError, "broke off", within=SOON):
            line.add(f"note {reply_bytes}")
        assert line.proxy.accepted - before >= 2  # it was sent again
        sent.append(f"note {reply_bytes}")
    line.break_(PASS)
    assert line.contents() == sorted(["likes tea", *sent])


def test_read_whose_reply_is_cut_is_unavailable_and_the_next_one_works(line: Line) -> None:
    line.memory.add_many([{"content": f"fact {number:02}"} for number in range(40)], user_id=line.user)
    line.break_(cut(2_000))
    with failing(ProviderUnavailableError, "broke off", within=SOON):
        line.memory.export(line.user)
    line.break_(PASS)
    assert len(line.contents()) == 41
    assert len(line.memory.export(line.user).lines) == 42


def test_request_repeated_by_its_key_is_done_once_wherever_its_reply_was_cut(server: Process, proxy: TcpProxy) -> None:
    user, ids, cuts = f"user-{secrets.token_hex(6)}", set(), range(0, 420, 30)
    for reply_bytes in cuts:
        body, headers = (
            {"content": f"note {reply_bytes}", "user_id": user},
            {"Idempotency-Key": f"{user}-{reply_bytes}"},
        )
        proxy.mode = cut(reply_bytes)
        with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}") as client:
            with pytest.raises(httpx.TransportError):
                client.post("/memories", json=body, headers=headers)
            proxy.mode = PASS
            reply = client.post("/memories", json=body, headers=headers)
        assert reply.status_code == 201
        assert reply.json()["content"] == body["content"]
        ids.add(reply.json()["id"])
    stored = server.ask("GET", f"/memories?user_id={user}").json()["items"]
    assert len(stored) == len(ids) == len(cuts)
