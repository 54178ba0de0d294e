"""The event loop is free for others while the largest legal requests run: one line of the table for each route.

Processor time of the loop's own thread is measured: callback by callback, compared with that of parsing a body of
1 MiB, and between two ticks of a timer. Whoever else computes on the machine changes neither.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, AsyncServerStore, MemoryItem
from openmem.server import create_app
from openmem.server.asgi import ASGIApp
from openmem.server.bodies import parse_object
from openmem.server.gate import Drain
from openmem.server.health import operation_routes
from tests.doubling import set_garbage_aside

MANY = 1_000_000  # characters of extensions
TICK = 0.01
callback_of: Callable[[asyncio.Handle], object] = attrgetter("_callback")
MOST_BETWEEN_TICKS = 0.05  # seconds of the loop's processor time: how long somebody else waits at most for a turn


def record(number: int, user_id: str = "imp", **more: object) -> str:
    memory = {"id": f"i{number}", "user_id": user_id, "created_at": "2026-01-01T00:00:00Z", "content": "w " * 500}
    return json.dumps({"memory": memory | more})


def change(extension: str) -> str:
    return f'{{"user_id":"fat","x-b":[{extension}]}}'


def add(extension: str) -> str:
    return f'{{"content":"x","user_id":"ann","x-a":[{extension}]}}'


# Name, method, path, body, status. What a route takes at most, or what makes it compute most.
LARGEST: list[tuple[str, str, str, Callable[[], str], int]] = [
    ("add of lists", "POST", "/memories", lambda: add(", ".join(["[]"] * (MANY // 4))), 201),
    ("add of objects", "POST", "/memories", lambda: add(", ".join(['{"": 1}'] * (MANY // 10))), 201),
    ("add of deep lists", "POST", "/memories", lambda: add(", ".join(["[" * 60 + "]" * 60] * (MANY // 124))), 201),
    (
        "add of names",
        "POST",
        "/memories",
        lambda: json.dumps({"content": "x", "user_id": "ann"} | {f"x-{n}": 1 for n in range(60_000)}),
        201,
    ),
    ("add of too much", "POST", "/memories", lambda: add(",".join(["{}"] * 330_000)), 400),
    (
        "unknown members",
        "POST",
        "/memories",
        lambda: json.dumps({"content": "x"} | {f"k{n}": 1 for n in range(80_000)}),
        400,
    ),
    (
        "batch",
        "POST",
        "/memories/batch",
        lambda: json.dumps({"user_id": "bob", "items": [{"content": f"note {n} about tea"} for n in range(10_000)]}),
        201,
    ),
    (
        "batch of tags",
        "POST",
        "/memories/batch",
        lambda: json.dumps({"user_id": "cyd", "items": [{"content": "x", "tags": list("abcdefgh")}] * 10_000}),
        201,
    ),
    (
        "batch of everything",
        "POST",
        "/memories/batch",
        lambda: json.dumps(
            {
                "user_id": "dot",
                "items": [
                    {
                        "content": f"note {number}",
                        "scope": f"a/b{number % 9}",
                        "tags": ["t"],
                        "source": {"app": "a", "type": "explicit"},
                        "confidence": 0.5,
                        "valid_to": "2036-01-01T00:00:00Z",
                        "x-a": {"b": 1},
                    }
                    for number in range(6_000)
                ],
            }
        ),
        201,
    ),
    ("update of lists", "PATCH", "/memories/i1", lambda: change(", ".join(["[]"] * (MANY // 8))), 200),
    ("update of objects", "PATCH", "/memories/i1", lambda: change(", ".join(['{"": 1}'] * (MANY // 20))), 200),
    ("update of too much", "PATCH", "/memories/i1", lambda: change(",".join(["{}"] * 330_000)), 400),
    ("one memory", "GET", "/memories/i1?user_id=fat", str, 200),
    ("history", "GET", "/memories/i1/history?user_id=fat&limit=1000", str, 200),
    ("list of large ones", "GET", "/memories?user_id=fat&limit=500", str, 200),
    ("search of large ones", "GET", "/memories/search?user_id=fat&q=w&limit=100", str, 200),
    ("export of large ones", "GET", "/export?user_id=fat", str, 200),
    ("wait", "POST", "/memories/wait", lambda: json.dumps({"user_id": "ann", "ids": ["mem_1"] * 80_000}), 400),
    ("search", "POST", "/memories/search", lambda: json.dumps({"user_id": "bob", "q": "tea note " * 1_100}), 200),
    ("context", "POST", "/context", lambda: json.dumps({"user_id": "bob", "query": "tea " * 2_000}), 200),
    ("list", "GET", "/memories?user_id=bob&limit=500", str, 200),
    ("search by address", "GET", "/memories/search?user_id=bob&q=tea&limit=100", str, 200),
    ("export", "GET", "/export?user_id=bob", str, 200),
    ("import", "POST", "/import", lambda: "\n".join(map(record, range(900))), 200),
    ("audit", "GET", "/audit?user_id=bob&limit=1000", str, 200),
    ("delete", "DELETE", "/memories?user_id=bob", str, 200),
]


@asynccontextmanager
async def served(folder: Path, *, fat: bool = False) -> AsyncIterator[ASGIApp]:
    memory = AsyncMemory(url=f"sqlite:///{folder / 'm.db'}", embedder="none")
    app = create_app(memory, store=AsyncServerStore(f"sqlite:///{folder / 's.db'}"))
    app.include_router(operation_routes(memory, Drain(), None))
    async with app.router.lifespan_context(app):
        many: list[MemoryItem] = [{"content": f"note {number} about tea"} for number in range(2_000)]
        await memory.add_many(many, user_id="bob")
        if fat:
            own: dict[str, object] = {"x-a": [{}] * 120_000}
            await memory.import_([record(number, "fat", **own) for number in range(12)])
            for number in range(3):
                await memory.update("i1", user_id="fat", content=f"w {number}")
        yield app


async def ask(app: ASGIApp, method: str, address: str, body: bytes = b"") -> int:
    path, _, query = address.partition("?")
    kind = b"application/x-ndjson" if path == "/import" else b"application/json"
    headers = [(b"host", b"localhost"), (b"content-type", kind), (b"content-length", b"%d" % len(body))]
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "root_path": "",
        "headers": headers,
    }
    scope |= {"path": path, "raw_path": path.encode(), "query_string": query.encode()}
    parts = [body[start : start + 16_384] for start in range(0, len(body), 16_384)] or [b""]
    status = 0

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    return status


async def longest_wait(app: ASGIApp, request: asyncio.Future[int]) -> float:
    """Ask for `/health/live` again and again while a request runs; return the most processor time between two ticks.

    The timer is due every `TICK` and gets its turn as soon as the callback that runs then is done, as any other
    request would.
    """
    longest, began = 0.0, time.thread_time()
    while not request.done():
        assert await ask(app, "GET", "/health/live") == 200
        await asyncio.sleep(TICK)
        now = time.thread_time()
        longest, began = max(longest, now - began), now
    return longest


@contextmanager
def longest_callback(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, str]]]:
    """Give a list of the processor times of callbacks of the event loop, with what they ran.

    What earlier tests left in memory is set aside: a collection of garbage would walk over it within some callback.
    """
    times: list[tuple[float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> object:
        began = time.thread_time()
        try:
            return run(handle)
        finally:
            # Not the text of the handle, which shows results: to make it can take longer than the callback did.
            times.append((time.thread_time() - began, getattr(callback_of(handle), "__qualname__", "a task")))

    set_garbage_aside()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield times


def parsing_time() -> float:
    """Return the processor time that parsing 1 MiB of JSON takes here."""
    body = add(",".join(["{}"] * 330_000)).encode()
    times = []
    for _ in range(3):
        began = time.thread_time()
        parse_object(body)
        times.append(time.thread_time() - began)
    return min(times)


@pytest.mark.parametrize(("name", "method", "path", "body", "status"), LARGEST, ids=[case[0] for case in LARGEST])
async def test_nobody_waits_for_a_large_request(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    method: str,
    path: str,
    body: Callable[[], str],
    status: int,
) -> None:
    text = body().encode()
    assert len(text) <= 1_048_576
    limit = parsing_time()
    async with served(tmp_path, fat="fat" in path + text[:20].decode()) as app:
        with longest_callback(monkeypatch) as times:
            request = asyncio.ensure_future(ask(app, method, path, text))
            waited = await longest_wait(app, request)
            assert await request == status
        print(name, round(waited * 1000), sorted(times)[-3:])
        assert max(times)[0] < limit, max(times)
        assert waited < MOST_BETWEEN_TICKS, max(times)
