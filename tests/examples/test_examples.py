"""The example apps as a client meets them: real servers on free ports, real HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from aiohttp import web

from examples import aiohttp_app, fastapi_app
from openmem import AsyncMemory

ANN = {"X-User-Id": "ann"}
BOB = {"X-User-Id": "bob"}


def listening() -> socket.socket:
    """Return a listening socket: who connects before the server is ready waits instead of failing."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def address(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def fastapi_server(open_memory: Callable[[], AsyncMemory]) -> AsyncIterator[str]:
    config = uvicorn.Config(fastapi_app.create_app(open_memory), log_level="warning", ws="none", lifespan="on")
    server, listener = uvicorn.Server(config), listening()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield address(listener)
    server.should_exit = True
    await serving


@asynccontextmanager
async def aiohttp_server(open_memory: Callable[[], AsyncMemory]) -> AsyncIterator[str]:
    runner, listener = web.AppRunner(aiohttp_app.create_app(open_memory)), listening()
    await runner.setup()
    await web.SockSite(runner, listener).start()
    yield address(listener)
    await runner.cleanup()


Server = Callable[[Callable[[], AsyncMemory]], AbstractAsyncContextManager[str]]
SERVERS: dict[str, Server] = {"fastapi": fastapi_server, "aiohttp": aiohttp_server}


@pytest.fixture(params=SERVERS)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    def open_memory() -> AsyncMemory:
        return AsyncMemory(url=str(tmp_path / "app.db"), embedder="none", app="web")

    async with SERVERS[request.param](open_memory) as url, httpx.AsyncClient(base_url=url) as http:
        yield http


async def remember(client: httpx.AsyncClient, user: dict[str, str], content: str, **more: Any) -> dict[str, Any]:
    reply = await client.post("/memories", headers=user, json={"content": content, **more})
    assert reply.status_code == 201, reply.text
    record: dict[str, Any] = reply.json()
    return record


async def recall(client: httpx.AsyncClient, user: dict[str, str], query: str) -> list[str]:
    reply = await client.get("/memories/search", headers=user, params={"q": query})
    assert reply.status_code == 200, reply.text
    return [hit["memory"]["content"] for hit in reply.json()]


async def test_remembered_text_is_recalled(client: httpx.AsyncClient) -> None:
    record = await remember(client, ANN, "Ann prefers dark mode", scope="ui", tags=["theme"])
    assert (record["user_id"], record["scope"], record["tags"]) == ("ann", "ui", ["theme"])
    assert await recall(client, ANN, "dark mode") == ["Ann prefers dark mode"]


async def test_two_users_do_not_see_each_other(client: httpx.AsyncClient) -> None:
    anns = await remember(client, ANN, "Ann prefers dark mode")
    await remember(client, BOB, "Bob prefers light mode")
    assert await recall(client, ANN, "mode") == ["Ann prefers dark mode"]
    assert await recall(client, BOB, "mode") == ["Bob prefers light mode"]
    assert (await client.get(f"/memories/{anns['id']}", headers=ANN)).status_code == 200
    foreign = await client.get(f"/memories/{anns['id']}", headers=BOB)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "not_found")


async def test_context_stays_within_the_budget(client: httpx.AsyncClient) -> None:
    for number in range(20):
        await remember(client, ANN, f"Ann likes the dark theme number {number}")
    reply = await client.post("/context", headers=ANN, json={"query": "dark theme", "token_budget": 100})
    block = reply.json()
    assert reply.status_code == 200
    assert "dark theme" in block["text"]
    assert 0 < block["token_count"] <= 100
    assert 0 < len(block["citations"]) < 20


@pytest.mark.parametrize("headers", [{}, {"X-User-Id": "*"}], ids=["missing", "star"])
async def test_wrong_user_is_a_bad_request(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    reply = await client.get("/memories/search", headers=headers, params={"q": "dark"})
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert (error["code"], error["type"]) == ("invalid_request", "invalid")
    assert "user_id" in error["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"content": " "}', b"{}"], ids=["junk", "list", "blank", "empty"])
async def test_bad_body_is_a_bad_request(client: httpx.AsyncClient, body: bytes) -> None:
    reply = await client.post("/memories", headers={**ANN, "Content-Type": "application/json"}, content=body)
    error = reply.json()["error"]
    assert reply.status_code == 400, reply.text
    assert (error["code"], error["type"]) == ("invalid_request", "invalid")


async def test_concurrent_requests_share_one_memory(client: httpx.AsyncClient) -> None:
    contents = [f"Ann noted fact {number}" for number in range(30)]
    records = await asyncio.gather(*(remember(client, ANN, content) for content in contents))
    assert sorted(record["content"] for record in records) == sorted(contents)
    assert len({record["id"] for record in records}) == 30
    assert len(await recall(client, ANN, "noted fact")) == 10


async def test_closed_app_keeps_what_was_stored(tmp_path: Path) -> None:
    def open_memory() -> AsyncMemory:
        return AsyncMemory(url=str(tmp_path / "app.db"), embedder="none")

    for serve, content in zip(SERVERS.values(), ("first by Ann", "second by Ann"), strict=True):
        async with serve(open_memory) as url, httpx.AsyncClient(base_url=url) as client:
            await remember(client, ANN, content)
            assert content in await recall(client, ANN, "Ann")
    async with open_memory() as memory:
        assert len((await memory.list("ann")).items) == 2
