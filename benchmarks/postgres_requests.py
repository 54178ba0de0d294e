"""An instance for each request, as many write it, against one that the application shares; and whether it leaks."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from benchmarks.corpus import Batch
from benchmarks.measure import Line, note, race, ratio
from benchmarks.postgres_rivals import KnownAsync
from benchmarks.postgres_stores import Stores, user
from fastapi import FastAPI

from openmem import AsyncMemory

AT_MOST = 1.5
MEMORY_AT_MOST = 1.1
_AT_ONCE = 8
_PATIENCE = 15.0
_APP = "requests"


@dataclass(frozen=True, slots=True)
class Held:
    """The memory of a process."""

    connections: int
    tasks: int
    threads: int
    files: int

    def beyond(self, before: Held) -> Held:
        """Return how much more it is than before."""
        return Held(*(max(0, now - then) for now, then in zip(astuple(self), astuple(before), strict=True)))

    def __str__(self) -> str:
        return f"{self.connections} connections, {self.tasks} tasks, {self.threads} threads, {self.files} files"


async def request_lines(stores: Stores, queries: Batch, rounds: int, requests: int) -> list[Line]:
    """Compare the two patterns, one request at a time; then send many to the app with an instance for each."""
    vectors = KnownAsync()
    vectors.learn(queries)
    url = f"{stores.url}?application_name={_APP}"
    own = own_app(url, vectors)
    paths = [f"/search?q={quote(text)}&user={user(n)}" for n, text in enumerate(queries.texts)]
    note(f"requests: {rounds} rounds")
    # At another address, so that it does not keep open the connections that the others use.
    async with AsyncMemory(url=f"{stores.url}?application_name=shared", embedder=vectors) as memory:
        shared = shared_app(memory)
        timings = await race({"own": lambda n: ask(own, paths[n]), "shared": lambda n: ask(shared, paths[n])}, rounds)
    await _ask_all(own, paths, len(paths))  # what grows once has grown: caches, the pools of the memory allocator
    await _lasting(url, None)
    before, before_bytes = _held(url), _resident()
    note(f"requests: {requests:,} with an instance for each, {_AT_ONCE} at once")
    await _ask_all(own, paths, requests)
    leaked = await _lasting(url, before)
    what = f"left behind by {requests:,} requests"
    lines = [
        ratio("request, an instance for each, against a shared one", timings["own"], timings["shared"], AT_MOST),
        Line(what, str(leaked), "nothing", float(sum(astuple(leaked))), requests, at_most=1.0),
    ]
    return lines + _memory_lines(before_bytes, _resident(), requests)


def own_app(url: str, vectors: KnownAsync) -> FastAPI:
    """Return an application that makes an instance for each request."""
    app = FastAPI()

    @app.get("/search")
    async def search(q: str, user: str) -> dict[str, list[str]]:
        async with AsyncMemory(url=url, embedder=vectors) as memory:
            return _texts(await memory.search(q, user, mode="vector"))

    return app


def shared_app(memory: AsyncMemory) -> FastAPI:
    """Return an application that shares an instance."""
    app = FastAPI()

    @app.get("/search")
    async def search(q: str, user: str) -> dict[str, list[str]]:
        return _texts(await memory.search(q, user, mode="vector"))

    return app


async def ask(app: FastAPI, path: str) -> None:
    """Send a request as a server would."""
    name, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": name,
        "raw_path": name.encode(),
        "query_string": query.encode(),
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(scope, receive, send)
    if status != 200:
        raise RuntimeError(f"the application answered {status}")


async def _ask_all(app: FastAPI, paths: list[str], requests: int) -> None:
    numbers = iter(range(requests))

    async def client() -> None:
        for number in numbers:
            await ask(app, paths[number % len(paths)])

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))


async def _lasting(url: str, before: Held | None) -> Held:
    """Wait until nothing more is held than before, or as before if that is not known; return what stays."""
    base = before or Held(0, 10**9, 10**9, 10**9)
    end = time.monotonic() + _PATIENCE
    while True:
        left = _held(url).beyond(base)
        if not any(astuple(left)) or time.monotonic() > end:
            return left
        await asyncio.sleep(0.2)


def _held(url: str) -> Held:
    gc.collect()
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity where application_name = %s", (_APP,)
        ).fetchone()
        assert row is not None
        files = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
        # The event loop's own few threads come when they are first needed and stay.
        threads = sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())
        return Held(int(row[0]), len(asyncio.all_tasks()), threads, files)


def _memory_lines(before: int, after: int, requests: int) -> list[Line]:
    if not before:
        return []  # this system does not say
    what = f"memory of the process (RSS) after {requests:,} requests, against before"
    now, then = (f"{size / 2**20:.1f} MB" for size in (after, before))
    return [Line(what, now, then, after / before, requests, at_most=MEMORY_AT_MOST)]


def _resident() -> int:
    """Return how many bytes of memory the process has, or 0 where that is not known."""
    gc.collect()
    source = Path("/proc/self/statm")
    return int(source.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if source.exists() else 0


def _texts(results: list[Any]) -> dict[str, list[str]]:
    return {"results": [result.memory.content for result in results]}
