"""Hostile requests to a real server process: each gets the envelope and the right status, and changes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse

import httpx
import pytest

from tests.server.hostile import GOOD_MEMORY, Hostile, all_requests
from tests.server.process import started

EVERY = list(all_requests())


@dataclass(frozen=True)
class Target:
    """A server that is sent bytes."""

    port: int

    def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send bytes on a connection of their own and return the answer to them."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has everything
                connection.sendall(data)
            reply = HTTPResponse(connection)
            reply.begin()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("hostile")
    store = f"sqlite:///{folder / 'server.db'}"
    with (
        started("--url", f"sqlite:///{folder / 'memories.db'}", OMP_SERVER_STORE=store) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.port}") as client,
    ):
        assert client.post("/memories", json=GOOD_MEMORY).status_code == 201
        yield Target(running.port)
        stored = client.get("/memories", params={"user_id": "ann"}).json()["items"]
        assert [memory["content"] for memory in stored] == ["likes tea"]
        assert running.stop() == 0
        assert "Traceback" not in running.output()


@pytest.mark.parametrize("hostile", EVERY, ids=[hostile.name for hostile in EVERY])
def test_hostile_request_gets_the_envelope_and_the_right_status(hostile: Hostile, target: Target) -> None:
    status, headers, body = target.send(hostile.data)
    assert status in hostile.statuses, body[:300]
    assert headers["x-request-id"]
    if status >= 400:
        error = json.loads(body)["error"]
        assert error.keys() >= {"code", "message", "type", "request_id"}
        assert error["request_id"] == headers["x-request-id"]
        assert len(error["message"]) < 500
        assert "Traceback" not in body.decode()


def test_there_are_enough_of_them() -> None:
    assert len({hostile.data for hostile in EVERY}) >= 300
