"""The caller's event loop is free while the largest calls run on Postgres and on a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, MemoryItem
from tests.loop_time import longest_callback, parsing_time
from tests.running_server import host

MANY: list[MemoryItem] = [
    {"content": f"note {number} about tea", "tags": ["a", "b"], "source": {"app": "notes"}} for number in range(10_000)
]


def record(number: int, user_id: str, **more: object) -> str:
    memory = {"id": f"{user_id}{number}", "user_id": user_id, "created_at": "2026-01-01T00:00:00Z"}
    return json.dumps({"memory": memory | {"content": "w " * 500} | more})


LARGEST: list[tuple[str, Callable[[AsyncMemory], Awaitable[Any]]]] = [
    ("add_many", lambda memory: memory.add_many(MANY, user_id="bob")),
    ("list", lambda memory: memory.list("bob", limit=500)),
    ("search", lambda memory: memory.search("tea " * 2_000, "bob", limit=100)),
    ("export", lambda memory: memory.export("bob", limit=500)),
    ("import_", lambda memory: memory.import_([record(number, "imp") for number in range(500)])),
    (
        "import_ of lists",
        lambda memory: memory.import_([record(n, "fat", **{"x-a": [{}] * 120_000}) for n in range(3)]),
    ),
    ("list of large ones", lambda memory: memory.list("fat", limit=500)),
    ("export of large ones", lambda memory: memory.export("fat", limit=500)),
    ("add of a long text", lambda memory: memory.add("茶" * 99_000, user_id="eve")),
    ("update to a long text", lambda memory: memory.update("imp1", user_id="imp", content="茶" * 98_000)),
    ("update of lists", lambda memory: memory.update("imp2", user_id="imp", extra={"x-b": [[]] * 240_000})),
]


@contextmanager
def on_a_server(folder: Path) -> Iterator[str]:
    behind = host().serve("sqlite", f"sqlite:///{folder / 'm.db'}", store=folder / "s.db")
    try:
        yield behind.url
    finally:
        behind.close()


async def longest(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return the longest time, in terms of that of parsing 1 MiB, for which each call held the loop."""
    held: dict[str, float] = {}
    unit = parsing_time()
    async with AsyncMemory(url=url, embedder="none", timeout=90) as memory:
        await memory.search("tea", "nobody")  # what is loaded once is none of these calls
        for name, call in LARGEST:
            with longest_callback(monkeypatch) as times:
                await asyncio.ensure_future(call(memory))
            held[name] = round(max(times)[0] / unit, 2)
    print(round(unit, 3), held)
    return held


async def test_the_largest_calls_on_postgres_leave_the_callers_loop_free(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await longest(postgres_url, monkeypatch)
    assert {name: share for name, share in held.items() if share > 0.5} == {}


async def test_the_largest_calls_on_a_server_leave_the_callers_loop_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_a_server(tmp_path) as url:
        held = await longest(url, monkeypatch)
    assert {name: share for name, share in held.items() if share > 0.5} == {}
