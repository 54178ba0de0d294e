"""Exports and imports of any size, and clients that leave before the end."""

from __future__ import annotations

import json
import socket
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from openmem import Memory
from openmem._async.ndjson import BATCH_CHARACTERS
from tests.server.running import running, running_with_store

COUNT = 4_000
SIZE = 4_000


def line(user: str, number: int) -> str:
    record = {"id": f"{user}-{number}", "content": f"{number} " + "x" * SIZE, "user_id": user}
    return json.dumps({"memory": {**record, "created_at": "2026-01-01T00:00:00Z"}}) + "\n"


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread or process does."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a store with 16 MB of memories."""
    url = f"sqlite:///{tmp_path_factory.mktemp('large') / 'memories.db'}"
    with Memory(url=url, embedder="none") as memory:
        memory.import_(line("ann", number) for number in range(COUNT))
    return url


def test_export_is_streamed_and_comes_back_by_import(open_server: httpx.Client, user: str) -> None:
    items = [{"content": f"fact {number}", "x-n": number} for number in range(450)]
    open_server.post("/memories/batch", json={"items": items, "user_id": user})
    with open_server.stream("GET", "/export", params={"user_id": user}) as reply:
        assert reply.headers["content-type"] == "application/x-ndjson"
        lines = [*reply.iter_lines()]
    assert "format" in json.loads(lines[0])
    assert sorted(json.loads(text)["memory"]["x-n"] for text in lines[1:]) == [*range(450)]
    text = "\n".join(lines)
    assert open_server.post("/import", content=text).json()["skipped"] == 450
    overwritten = open_server.post("/import?conflict=overwrite", content=text).json()
    assert (overwritten["overwritten"], overwritten["imported"]) == (450, 0)


def test_export_comes_in_pages_if_a_limit_is_given(open_server: httpx.Client, user: str) -> None:
    open_server.post("/memories/batch", json={"items": [{"content": "a"}] * 5, "user_id": user})
    query, found = {"user_id": user, "limit": "2"}, 0
    for expected in (3, 2, 1):  # the header is on the first page
        reply = open_server.get("/export", params=query)
        assert len(reply.text.splitlines()) == expected
        found += expected
        if expected != 1:
            query["cursor"] = reply.headers["x-next-cursor"]
    assert "x-next-cursor" not in reply.headers


def test_export_of_many_takes_little_memory(large: str) -> None:
    with running(large) as client:
        tracemalloc.start()
        try:
            with client.stream("GET", "/export") as reply:
                size = sum(len(part) for part in reply.iter_raw())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert size > COUNT * SIZE
    assert peak < size / 2


def test_export_stops_when_its_reader_leaves(large: str) -> None:
    with running(large) as client:
        before = len(client.get("/audit?user_id=ann&limit=1000").json()["entries"])
        with client.stream("GET", "/export?user_id=ann") as reply:
            next(reply.iter_raw(100))
        client.close()
    # The server has stopped, so nothing goes on; all of it would be 20 pages.
    with Memory(url=large, embedder="none") as memory:
        assert len(memory.audit("ann", limit=1000)) - before < 15


def test_import_of_many_takes_little_memory_and_is_stored_while_it_comes(open_server: httpx.Client, user: str) -> None:
    seen: list[int] = []

    def is_there() -> bool:
        return bool(open_server.get(f"/memories?user_id={user}").json()["items"])

    def lines() -> Iterator[bytes]:
        for number in range(COUNT):
            if number == 1_500:
                until(is_there)
                seen.append(number)
            yield line(user, number).encode()

    tracemalloc.start()
    try:
        reply = open_server.post("/import", content=lines())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (reply.json()["imported"], seen) == (COUNT, [1_500])
    assert peak < COUNT * SIZE / 1.5


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[]", "must be a header or an object"),
        (b'{"memory":{"id":"a"}}', "memory.content is missing"),
        (b'{"memory":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "is nested too deeply"),
        (b'{"memory":{"id":"a","content":NaN,"user_id":"u","created_at":"2026-01-01T00:00:00Z"}}', "is not JSON"),
        (b'{"format":"other"}', "format"),
        (b"x" * 17 * 1024 * 1024, "must have at most"),
    ],
    ids=["cut", "not utf-8", "list", "missing", "deep", "nan", "format", "long"],
)
def test_import_with_a_wrong_line_names_it_and_what_was_done(
    open_server: httpx.Client, user: str, wrong: bytes, what: str
) -> None:
    good = "".join(line(user, number)[:-1].replace("x" * SIZE, "x") + "\n" for number in range(501)).encode()
    reply = open_server.post("/import", content=good + wrong)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["details"]["line"]) == (400, "invalid_request", 502)
    assert error["details"]["done"]["imported"] == 500
    assert what in error["message"]


def test_import_ends_lines_at_line_feeds_only(open_server: httpx.Client, user: str) -> None:
    record = {"id": f"{user}-1", "content": "a\u2028b\u0085c", "user_id": user, "created_at": "2026-01-01T00:00:00Z"}
    text = json.dumps({"memory": record}, ensure_ascii=False)
    assert open_server.post("/import", content=f"\r\n{text}\r\n\n".encode()).json()["imported"] == 1
    assert open_server.get(f"/memories/{user}-1").json()["content"] == "a\u2028b\u0085c"


@pytest.mark.parametrize("query", ["conflict=", "conflict=replace", "conflict=skip&conflict=skip"])
def test_import_with_an_unknown_policy_is_refused(open_server: httpx.Client, query: str) -> None:
    reply = open_server.post(f"/import?{query}", content=b"")
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


def test_import_that_breaks_off_stores_whole_batches_only(tmp_path: Path, user: str) -> None:
    url = f"sqlite:///{tmp_path / 'memories.db'}"
    with running(url) as client:
        address = (client.base_url.host, client.base_url.port)
        with socket.create_connection(address, timeout=10) as connection:
            head = b"POST /import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
            connection.sendall(head + "".join(line(user, number) for number in range(700)).encode())
            until(lambda: bool(client.get(f"/memories?user_id={user}").json()["items"]))
        assert client.get("/capabilities").status_code == 200
    with Memory(url=url, embedder="none") as memory:
        lines = memory.export(user, limit=500)
        rest = memory.export(user, cursor=lines.next_cursor).lines if lines.next_cursor else []
    assert rest == []
    assert len(lines.lines) - 1 in batch_ends(user)


def batch_ends(user: str) -> list[int]:
    """Return after how many lines a batch is full."""
    ends, size = [], 0
    for number in range(700):
        size += len(line(user, number)) - 1
        if size >= BATCH_CHARACTERS:
            ends.append(number + 1)
            size = 0
    return ends


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_verb_is_cancelled_when_its_client_leaves(postgres_url: str, tmp_path: Path, method: str) -> None:
    store = f"sqlite:///{tmp_path / 'server.db'}"
    with running_with_store(postgres_url, store) as place, psycopg.connect(postgres_url, autocommit=True) as watcher:
        client = place.client
        assert client.get("/memories?user_id=ann").status_code == 200
        (table,) = watcher.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where tablename = 'memories'"
        ).fetchone() or ("",)
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )

        def blocked() -> int:
            (number,) = watcher.execute(waiting).fetchone() or (0,)
            return int(number)

        with psycopg.connect(postgres_url) as locker:
            locker.execute(f"lock table {table} in access exclusive mode".encode())
            body = b'{"content":"a","user_id":"ann"}' if method == "POST" else b""
            path = "/memories" if method == "POST" else "/memories?user_id=ann"
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
                connection.sendall(head + body)
                until(lambda: blocked() == 1)
            until(lambda: blocked() == 0)
        assert client.get("/memories?user_id=ann").json()["items"] == []
