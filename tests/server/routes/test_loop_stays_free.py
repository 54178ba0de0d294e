"""The event loop is free for others while the largest legal requests run: one line of the table for each route.

Processor time of the loop's own thread is measured: callback by callback, compared with that of parsing a body of
1 MiB, and between two ticks of a timer. Other work on the machine changes neither.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from openmem import AsyncMemory, AsyncServerStore, Memory, MemoryItem
from openmem.server import create_app
from openmem.server.middleware.admission import Drain
from openmem.server.routes.health import operation_routes
from tests.loop_time import MOST_BETWEEN_TICKS, ask, longest_callback, longest_wait, parsing_time
from tests.running_server import host

MANY = 1_000_000  # characters of extensions


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
    (
        "batch of long texts",
        "POST",
        "/memories/batch",
        lambda: json.dumps({"user_id": "eve", "items": [{"content": "茶" * 99_000}] * 3}, ensure_ascii=False),
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


# What a store beyond the process adds: parameters, rows and replies, small and many, or few and large.
OVER_POSTGRES = ["batch of everything", "batch of long texts", "add of objects", "update of lists", "import"]
OVER_POSTGRES += ["history", "search of large ones", "list of large ones", "list", "export of large ones", "search"]
OVER_A_SERVER = ["batch of everything", "add of objects", "import", "history", "search of large ones", "list", "export"]


def fill(url: str, fat: int) -> None:
    """Store 2,000 small memories of `bob`, and some of `fat` that are nearly as large as a request may be."""
    many: list[MemoryItem] = [{"content": f"note {number} about tea"} for number in range(2_000)]
    with Memory(url=url, embedder="none") as memory:
        memory.add_many(many, user_id="bob")
        own: dict[str, object] = {"x-a": [{}] * 120_000}
        memory.import_([record(number, "fat", **own) for number in range(fat)])
        for number in range(3):
            memory.update("i1", user_id="fat", content=f"w {number}")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a filled store, to be copied: to fill one takes longer than most requests here."""
    path = tmp_path_factory.mktemp("filled") / "m.db"
    with ThreadPoolExecutor(1) as executor:  # a coroutine test has a loop, which may not wait
        executor.submit(fill, f"sqlite:///{path}", 12).result()
    return path


@asynccontextmanager
async def served(folder: Path, url: str) -> AsyncIterator[ASGIApp]:
    memory = AsyncMemory(url=url, embedder="none")
    app = create_app(memory, store=AsyncServerStore(f"sqlite:///{folder / 's.db'}"))
    app.router.routes.extend(operation_routes(memory, Drain(), None))
    async with app.router.lifespan_context(app):
        yield app


@pytest.mark.parametrize(("name", "method", "path", "body", "status"), LARGEST, ids=[case[0] for case in LARGEST])
async def test_large_request_keeps_no_other_waiting(
    tmp_path: Path,
    filled: Path,
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
    copy = await asyncio.to_thread(shutil.copy, filled, tmp_path / "m.db")
    async with served(tmp_path, f"sqlite:///{copy}") as app:
        with longest_callback(monkeypatch) as times:
            request = asyncio.ensure_future(ask(app, method, path, text))
            waited = await longest_wait(app, request)
            assert await request == status
        print(name, round(waited * 1000), sorted(times)[-3:])
        assert max(times)[0] < limit, max(times)
        assert waited < MOST_BETWEEN_TICKS, max(times)


async def hold(app: ASGIApp, monkeypatch: pytest.MonkeyPatch, name: str) -> str | None:
    """Ask for a line of the table and return what is wrong, if the loop was held for long."""
    _, method, path, body, status = next(case for case in LARGEST if case[0] == name)
    text = body().encode()
    with longest_callback(monkeypatch) as times:
        request = asyncio.ensure_future(ask(app, method, path, text))
        waited = await longest_wait(app, request)
        assert await request == status, name
    print(name, round(waited * 1000), [round(one * 1000) for one, _ in sorted(times)[-3:]])
    held = max(times)[0] >= parsing_time() / 2 or waited >= MOST_BETWEEN_TICKS
    return f"{name}: {sorted(times)[-3:]}, {waited}" if held else None


async def test_large_request_over_postgres_keeps_no_other_waiting(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(fill, postgres_url, 3)
    async with served(tmp_path, postgres_url) as app:
        assert [held for name in OVER_POSTGRES if (held := await hold(app, monkeypatch, name))] == []


async def test_large_request_over_another_server_keeps_no_other_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = host().serve("sqlite", f"sqlite:///{tmp_path / 'b.db'}", store=tmp_path / "b-server.db")
    try:
        await asyncio.to_thread(fill, behind.url, 3)
        async with served(tmp_path, behind.url) as app:
            assert [held for name in OVER_A_SERVER if (held := await hold(app, monkeypatch, name))] == []
    finally:
        await asyncio.to_thread(behind.close)
