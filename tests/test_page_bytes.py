"""A page holds so many bytes, not only so many items: of list, search, export and history, on every way to them."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory
from openmem._model.timestamps import micros
from openmem._rules.paging import PAGE_BYTES, fitting, highest_so_far
from openmem.types import UTC
from tests.server.running import running

SIZE = 900_000
COUNT = 24
FIT = PAGE_BYTES // SIZE
LARGE: dict[str, Any] = {"x-a": "z" * SIZE}


@pytest.fixture(params=["file", "postgres", "server"])
def memory(request: pytest.FixtureRequest, store_url: str) -> Any:
    if request.param == "server":
        with running(store_url) as client, Memory(url=str(client.base_url), timeout=30) as memory:
            yield memory
        return
    url = store_url if request.param == "file" else request.getfixturevalue("postgres_url")
    with Memory(url=url, embedder="none", timeout=30) as memory:
        yield memory


def fill(memory: Memory) -> list[str]:
    return [memory.add(content=f"tea {n}", user_id="ann", **LARGE).id for n in range(COUNT)]


def exported(memory: Memory, user_id: str | None) -> int:
    """Return how many large memories an export holds, none of whose pages is larger than one."""
    count = 0
    cursor: str | None = None
    while True:
        part = memory.export(user_id, limit=500, cursor=cursor)
        assert sum(map(len, part.lines)) <= PAGE_BYTES + SIZE
        count += sum(LARGE["x-a"][:100] in line for line in part.lines)
        cursor = part.next_cursor
        if cursor is None:
            return count


def test_pages_of_large_memories_end_early_and_lead_to_all(memory: Memory) -> None:
    ids = fill(memory)
    listed: list[str] = []
    cursor: str | None = None
    while True:
        page = memory.list("ann", limit=500, cursor=cursor)
        assert len(page.items) <= FIT
        listed += [record.id for record in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == ids[::-1]
    assert exported(memory, "ann") == COUNT
    results = memory.search("tea", "ann", limit=1_000)
    assert (len(results), results.truncated) == (FIT, True)
    seen, rest = [*results], memory.search("tea", "ann", limit=1_000, offset=FIT)
    while rest:
        seen += rest
        rest = memory.search("tea", "ann", limit=1_000, offset=len(seen))
    assert len({result.memory.id for result in seen}) == len(seen) == COUNT
    assert [result.memory.id for result in results] == [r.memory.id for r in memory.search("tea", "ann", limit=FIT)]
    few = memory.search("tea", "ann", limit=3)
    assert (len(few), few.truncated) == (3, False)
    memory.add(content="coffee", user_id="bob", **LARGE)
    assert exported(memory, None) == COUNT + 1


def test_pages_of_a_history_of_a_large_memory_end_early(memory: Memory) -> None:
    record = memory.add(content="tea", user_id="ann", **LARGE)
    for number in range(COUNT):
        memory.update(record.id, user_id="ann", tags=[str(number)])
    versions: list[int] = []
    cursor: str | None = None
    while True:
        page = memory.history(record.id, user_id="ann", limit=1_000, cursor=cursor)
        assert 1 <= len(page) <= FIT
        assert all(past.model_extra == LARGE for past in page)
        versions += [past.version for past in page]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert versions == list(range(COUNT, 0, -1))


@pytest.mark.parametrize("verb", ["list", "search", "export", "history"])
def test_file_is_read_no_further_than_a_page(store_url: str, verb: str) -> None:
    with Memory(url=store_url, embedder="none") as memory:
        ids = fill(memory)
        for number in range(COUNT):
            memory.update(ids[0], content=f"coffee {number}")
        ask: dict[str, Callable[[], object]] = {
            "list": lambda: memory.list("ann", limit=500),
            "search": lambda: memory.search("tea", "ann", limit=100),
            "export": lambda: memory.export("ann", limit=500),
            "history": lambda: memory.history(ids[0], limit=1_000),
        }
        tracemalloc.start()
        try:
            ask[verb]()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < COUNT * SIZE if verb == "export" else peak < PAGE_BYTES * 2.5


def test_head_makes_no_body(store_url: str) -> None:
    with running(store_url) as client, Memory(url=str(client.base_url)) as memory:
        record = memory.add(content="tea", user_id="ann")
        memory.update(record.id, user_id="ann", content="milk")
        for path in ("/memories?user_id=ann", "/memories/search?q=milk&user_id=ann", f"/memories/{record.id}/history"):
            full, head = client.get(path), client.head(path)
            assert (full.status_code, head.status_code, head.content) == (200, 200, b"")
            assert len(full.content) > 20
            assert "content-length" not in head.headers
            assert head.headers["content-type"] == full.headers["content-type"]
        assert client.head("/memories/nobody-has-this/history").status_code == 404


def test_versions_come_in_their_order_though_the_clock_was_set_back(store_path: Path) -> None:
    with Memory(url=str(store_path), embedder="none") as memory:
        older = memory.add(content="older", user_id="ann")
        record = memory.add(content="1", user_id="ann", supersedes=[older.id])
        for number in range(2, 6):
            memory.update(record.id, content=str(number))
        with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
            back = micros(datetime(2020, 1, 1, tzinfo=UTC))
            connection.execute("update versions set replaced_at = ? + version where version in (2, 3)", (back,))
            connection.execute(
                "update versions set record = json_set(record, '$.is.updated_at', ?) where version in (3, 4)",
                (datetime(2020, 1, 1, tzinfo=UTC).isoformat(),),
            )
        found = [past.content for past in memory.history(record.id)]
        assert found == ["4", "3", "2", "1", "older"]
        one_by_one: list[str] = []
        cursor: str | None = None
        while len(one_by_one) < 5:
            page = memory.history(record.id, limit=1, cursor=cursor)
            one_by_one += [past.content for past in page]
            cursor = page.next_cursor
        assert one_by_one == found


def test_page_holds_as_much_as_fits_and_one_at_least() -> None:
    most = PAGE_BYTES
    assert fitting([most // 2, most // 2, 1], 10) == 2
    assert fitting([most + 1, 1], 10) == 1
    assert fitting([1] * 20, 10) == 10
    assert fitting([], 10) == 0
    assert highest_so_far([3, 1, 2, 5]) == [3, 3, 3, 5]
