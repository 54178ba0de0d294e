"""A server that is killed again and again under load: what it acknowledged is there, and there once."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.server.process import Process, started

CLIENTS = 64
ADDS_PER_KILL = 1  # of each client
AT_LENGTH = (pytest.mark.long, pytest.mark.timeout(60))

Start = Callable[[], Process]


async def add_for_sure(client: httpx.AsyncClient, name: str, up: asyncio.Event) -> int:
    """Send an add until it is acknowledged; return how often it was sent."""
    headers = {"Idempotency-Key": name.replace(" ", "-")}
    sent = 0
    while True:
        sent += 1
        try:
            reply = await client.post("/memories", json={"content": name, "user_id": "ann"}, headers=headers)
        except httpx.TransportError:
            await asyncio.sleep(0.02)
            await up.wait()  # to knock all the time would only take the processor from the server that starts
            continue
        if reply.status_code == 201:
            assert reply.json()["content"] == name
            return sent
        assert reply.status_code in (409, 429, 503), reply.text
        await asyncio.sleep(0.02)


async def load_and_kill(start: Start, port: int, kills: int) -> tuple[Counter[str], int]:
    """Run the clients while the server dies and comes back; return what is stored and how many adds were repeated."""
    running = await asyncio.to_thread(start)
    progress, adds = Progress(), kills * ADDS_PER_KILL
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=15, limits=limits) as client,
        asyncio.TaskGroup() as clients,
    ):
        tasks = [clients.create_task(add_some(client, number, adds, progress)) for number in range(CLIENTS)]
        for kill in range(kills):
            await progress.reach((kill + 1) * CLIENTS * adds // (kills + 1))
            progress.up.clear()
            await asyncio.to_thread(running.stop, signal.SIGKILL)
            running = await asyncio.to_thread(start)
            progress.up.set()
        repeated = sum(await asyncio.gather(*tasks))
        stored = await every_content(client)
    return stored, repeated


class Progress:
    """The number of adds that were acknowledged, and whether the server is up as far as the clients know."""

    def __init__(self) -> None:
        self.count = 0
        self.up = asyncio.Event()
        self.up.set()
        self._turn = asyncio.Condition()

    async def step(self) -> None:
        async with self._turn:
            self.count += 1
            self._turn.notify_all()

    async def reach(self, goal: int) -> None:
        async with self._turn:
            await self._turn.wait_for(lambda: self.count >= goal)


async def add_some(client: httpx.AsyncClient, number: int, adds: int, progress: Progress) -> int:
    """Add memories one after the other; return how many had to be sent more than once."""
    repeated = 0
    for count in range(adds):
        repeated += await add_for_sure(client, f"note {number} {count}", progress.up) > 1
        await progress.step()
    return repeated


async def every_content(client: httpx.AsyncClient) -> Counter[str]:
    found: Counter[str] = Counter()
    cursor: str | None = ""
    while cursor is not None:
        asked = {"user_id": "ann", "limit": "500"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/memories", params=asked)).json()
        found.update(memory["content"] for memory in page["items"])
        cursor = page.get("next_cursor")
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("backend", "kills"),
    [("sqlite", 2), *(pytest.param(backend, 5, marks=AT_LENGTH) for backend in ("sqlite", "postgres"))],
)
def test_acknowledged_writes_survive_and_none_is_doubled(
    backend: str, kills: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port, store = free_port(), f"sqlite:///{tmp_path / 'server.db'}"
    url = f"sqlite:///{tmp_path / 'memories.db'}"
    if backend == "postgres":
        url = store = request.getfixturevalue("postgres_url")
    with ExitStack() as servers:

        def start() -> Process:
            return servers.enter_context(started("--port", str(port), "--url", url, OMP_SERVER_STORE=store))

        stored, repeated = asyncio.run(load_and_kill(start, port, kills))
    wanted = (f"note {number} {count}" for number in range(CLIENTS) for count in range(kills * ADDS_PER_KILL))
    assert stored == Counter(wanted)
    assert repeated > 0  # some adds met a server that was dead or dying
