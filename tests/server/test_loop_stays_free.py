"""The event loop is free for others while the largest legal requests run: one line of the table for each route.

Processor time of the loop's own thread is measured, callback by callback, and compared with that of parsing a body of
1 MiB: whoever else computes on the machine changes neither.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, AsyncServerStore, MemoryItem
from openmem.server import create_app
from openmem.server.asgi import ASGIApp
from openmem.server.bodies import parse_object

MANY = 1_000_000  # characters of extensions


def record(number: int) -> str:
    memory = {"id": f"i{number}", "user_id": "imp", "created_at": "2026-01-01T00:00:00Z", "content": "w " * 500}
    return json.dumps({"memory": memory})


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
async def served(folder: Path) -> AsyncIterator[ASGIApp]:
    memory = AsyncMemory(url=f"sqlite:///{folder / 'm.db'}", embedder="none")
    app = create_app(memory, store=AsyncServerStore(f"sqlite:///{folder / 's.db'}"))
    async with app.router.lifespan_context(app):
        many: list[MemoryItem] = [{"content": f"note {number} about tea"} for number in range(2_000)]
        await memory.add_many(many, user_id="bob")
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


@contextmanager
def longest_callback(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[float, str]]]:
    """Give a list of the processor times of callbacks of the event loop, with what they ran."""
    times: list[tuple[float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> object:
        began = time.thread_time()
        try:
            return run(handle)
        finally:
            times.append((time.thread_time() - began, repr(handle)))

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
async def test_no_callback_takes_as_long_as_parsing_a_large_body(
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
    async with served(tmp_path) as app:
        with longest_callback(monkeypatch) as times:
            request = asyncio.ensure_future(ask(app, method, path, text))
            answered = 0
            while not request.done():
                assert await ask(app, "GET", "/capabilities") == 200
                answered += 1
                await asyncio.sleep(0)
            assert await request == status
        assert answered > 2
        assert max(times)[0] < limit, max(times)
