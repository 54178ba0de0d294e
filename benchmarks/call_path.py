"""The way down of each verb: calls of openmem's functions, and files of it, up to the first statement.

    python -m benchmarks.call_path

Counted, not timed: a warm instance without an embedder, the profiler of Python in every thread. A statement is a call
of the driver; over HTTP it is the request that the client hands to the HTTP library. The table of docs/architecture.md
is what this prints.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

import asyncpg
import httpx
import psycopg

import openmem
from openmem import AsyncMemory, Memory
from openmem.server.runtime.build import build_server
from openmem.server.runtime.settings import ServerSettings
from openmem.testing.postgres import postgres_server

WARM_UP: Final = 5
USER: Final = "ann"
TEXT: Final = "Ann prefers dark mode"
VERBS: Final = ("add", "get", "search", "list")

_OURS: Final = f"{Path(openmem.__file__).parent}{os.sep}"
_DRIVERS: Final = tuple(f"{Path(package.__file__ or '').parent}{os.sep}" for package in (asyncpg, psycopg, httpx))
_STATEMENTS: Final = frozenset({"fetch", "execute", "executemany"})
_REQUEST: Final = "build_request"  # of the HTTP library, called by a context manager of its own
_REQUEST_DEPTH: Final = 4
_FLUSHER: Final = "openmem-journal"  # the thread that writes the audit entries of reads, which no caller waits for


@dataclass
class CallPath:
    """The calls of one verb.

    Attributes:
        calls: Calls of openmem's functions so far.
        files: Files that they are in.
        before: Both, at the first statement.
        statements: Statements so far.
    """

    calls: int = 0
    files: set[str] = field(default_factory=set)
    before: tuple[int, int] | None = None
    statements: int = 0

    def reach_statement(self) -> None:
        """Note a statement."""
        self.statements += 1
        self.before = self.before or (self.calls, len(self.files))


class Profiler:
    """Counts what runs in any thread while a path is recorded; must be there before the threads are."""

    def __init__(self) -> None:
        self._path: CallPath | None = None

    def __enter__(self) -> Profiler:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    @contextmanager
    def recording(self) -> Iterator[CallPath]:
        """Record the path of what is done in the block."""
        self._path = path = CallPath()
        try:
            yield path
        finally:
            self._path = None

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        path = self._path
        if path is None or threading.current_thread().name == _FLUSHER:
            return
        if event == "call":
            file = frame.f_code.co_filename
            if file.startswith(_OURS):
                path.calls += 1
                path.files.add(file)
            elif file.startswith(_DRIVERS) and _is_statement(frame):
                path.reach_statement()
        elif event == "c_call" and isinstance(getattr(argument, "__self__", None), sqlite3.Connection):
            path.reach_statement()


def _is_statement(frame: FrameType) -> bool:
    """Return whether a function of a driver is called by our code, or by a context manager that our code enters."""
    name = frame.f_code.co_name
    callers = 1 if name in _STATEMENTS else _REQUEST_DEPTH if name == _REQUEST else 0
    for _ in range(callers):
        if frame.f_back is None:
            return False
        frame = frame.f_back
        if frame.f_code.co_filename.startswith(_OURS):
            return True
    return False


def asked(memory: Any, verb: str, id: str) -> Any:
    """Return what a verb returns."""
    if verb == "add":
        return memory.add(content=TEXT, user_id=USER)
    if verb == "get":
        return memory.get(id, user_id=USER)
    return memory.search("dark mode", USER) if verb == "search" else memory.list(USER)


async def of_async(profiler: Profiler, memory: AsyncMemory) -> dict[str, CallPath]:
    """Return the paths of all verbs of an asynchronous instance."""
    async with memory:
        id = (await memory.add(content=TEXT, user_id=USER)).id
        return {verb: await _recorded(profiler, partial(asked, memory, verb, id)) for verb in VERBS}


def of_sync(profiler: Profiler, memory: Memory) -> dict[str, CallPath]:
    """Return the paths of all verbs of a synchronous instance."""
    found = {}
    with memory:
        id = memory.add(content=TEXT, user_id=USER).id
        for verb in VERBS:
            for _ in range(WARM_UP):
                asked(memory, verb, id)
            with profiler.recording() as found[verb]:
                asked(memory, verb, id)
    return found


async def of_server(profiler: Profiler, folder: Path) -> dict[str, CallPath]:
    """Return the paths of all routes, through the whole server and its middleware, over the embedded store."""
    settings = ServerSettings(
        url=str(folder / "served.db"), store=f"sqlite:///{folder / 'server.db'}", rate_limit_per_minute=60_000
    )
    app: Any = build_server(settings)
    transport, headers = httpx.ASGITransport(app), {"Host": "localhost"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        body = {"content": TEXT, "user_id": USER}
        id = (await client.post("/memories", json=body)).json()["id"]
        requests: dict[str, Callable[[], Awaitable[Any]]] = {
            "add": lambda: client.post("/memories", json=body),
            "get": lambda: client.get(f"/memories/{id}", params={"user_id": USER}),
            "search": lambda: client.get("/memories/search", params={"q": "dark mode", "user_id": USER}),
            "list": lambda: client.get("/memories", params={"user_id": USER}),
        }
        return {verb: await _recorded(profiler, request) for verb, request in requests.items()}


def at_an_address(profiler: Profiler, folder: Path) -> dict[str, dict[str, CallPath]]:
    """Return the paths of all verbs on the memories of a server, which is a process of its own."""
    command = [sys.executable, "-m", "openmem.server", "--port", "0", "--url", str(folder / "far.db")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        url = next(line.rpartition(" ")[2].strip() for line in server.stderr if "serving" in line)
        try:
            return {
                "`Memory`, a server": of_sync(profiler, Memory(base_url=url)),
                "`AsyncMemory`, a server": asyncio.run(of_async(profiler, AsyncMemory(base_url=url))),
            }
        finally:
            server.terminate()


async def _recorded(profiler: Profiler, ask: Callable[[], Awaitable[Any]]) -> CallPath:
    for _ in range(WARM_UP):
        await ask()
    with profiler.recording() as path:
        await ask()
    return path


def measured(folder: Path) -> dict[str, dict[str, CallPath]]:
    """Return the paths of all verbs on all ways."""
    with Profiler() as profiler, postgres_server(fsync=False) as server:
        url, other = server.new_database(), server.new_database()
        file, second = str(folder / "one.db"), str(folder / "two.db")
        return {
            "`Memory`, SQLite": of_sync(profiler, Memory(url=file)),
            "`AsyncMemory`, SQLite": asyncio.run(of_async(profiler, AsyncMemory(url=second))),
            "`Memory`, Postgres": of_sync(profiler, Memory(url=url)),
            "`AsyncMemory`, Postgres": asyncio.run(of_async(profiler, AsyncMemory(url=other))),
            "a route of the server, SQLite": asyncio.run(of_server(profiler, folder)),
            **at_an_address(profiler, folder),
        }


def table(paths: dict[str, dict[str, CallPath]]) -> str:
    """Return the table in Markdown: calls / files before the first statement, and statements."""
    lines = [f"| | {' | '.join(f'`{verb}`' for verb in VERBS)} |", "|---" * (1 + len(VERBS)) + "|"]
    for way, found in paths.items():
        cells = [f"{path.before[0]} / {path.before[1]}, {path.statements}" for path in found.values() if path.before]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    os.environ["OMP_EMBEDDER"] = "none"
    with TemporaryDirectory() as name:
        print(table(measured(Path(name))))
