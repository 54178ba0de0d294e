"""Writes whose client leaves, or whose time is up, before they are done: what must follow them is not left out."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from openmem import AsyncMemory, AsyncServerStore, ServerStore
from openmem._config.registry import BUILT_IN
from openmem.providers import ProviderName
from openmem.server import create_app
from openmem.server.middleware.access_log import AccessLog
from openmem.server.routes.disconnects import GRACE
from tests.server.process import request, until
from tests.server.running import Place, RouteOptions, client_of, running_with_store, serving
from tests.server.slow_provider import SPEC, Barrier

SHORT = {"X-OMP-Timeout": "0.7"}


@dataclass(frozen=True)
class Slow:
    """A server whose provider finishes what it began, and has no audit log."""

    client: httpx.Client
    barrier: Barrier

    def add(self, user: str, **headers: str) -> httpx.Response:
        body = {"content": "tea", "user_id": user, "scope": "a"}
        return self.client.post("/memories", json=body, headers=headers)

    def journal(self, user: str) -> list[tuple[str, str | None, str | None]]:
        """Return the writes in the audit log, newest first."""
        entries = self.client.get("/audit", params={"user_id": user}).json()["entries"]
        named = [(entry["action"], entry.get("memory_id"), entry.get("scope")) for entry in entries]
        return [entry for entry in named if entry[0] in ("add", "update", "delete")]

    def contents(self, user: str) -> list[str]:
        items = self.client.get("/memories", params={"user_id": user}).json()["items"]
        return sorted(item["content"] for item in items)


@pytest.fixture
def barrier() -> Iterator[Barrier]:
    barrier = Barrier()
    yield barrier
    barrier.opened.set()


@contextmanager
def serving_slowly(barrier: Barrier, folder: Path, *, open_without_keys: bool) -> Iterator[Place]:
    url, options = f"sqlite:///{folder / 'server.db'}", RouteOptions(open_without_keys=open_without_keys)
    app = create_app(
        AsyncMemory(ProviderName(SPEC.name), barrier=barrier), store=AsyncServerStore(url), settings=options
    )
    with ServerStore(url) as store, serving(AccessLog(app)) as address, client_of(address) as client:
        try:
            yield Place(client, store)
        finally:
            barrier.opened.set()


@pytest.fixture
def slow(barrier: Barrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """A server without keys."""
    monkeypatch.setitem(BUILT_IN, SPEC.name, SPEC)
    with serving_slowly(barrier, tmp_path, open_without_keys=True) as place:
        yield Slow(place.client, barrier)


@pytest.fixture
def place(barrier: Barrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A server that asks for keys."""
    monkeypatch.setitem(BUILT_IN, SPEC.name, SPEC)
    with serving_slowly(barrier, tmp_path, open_without_keys=False) as place:
        yield place


def ask_and_leave(client: httpx.Client, method: str, path: str, body: Any, begun: Any) -> None:
    """Send a request and leave as soon as it has begun; return when the server may know that."""
    sent = b"" if body is None else json.dumps(body).encode()
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as connection:
        connection.sendall(request(method, path, sent) + sent)
        begun()
        since = time.monotonic()
        until(lambda: time.monotonic() - since > 2 * GRACE)  # from then on connections are watched
    for _ in range(10):
        assert client.get("/capabilities").status_code == 200


@pytest.mark.parametrize("verb", ["add", "add_many", "update", "delete", "delete_all"])
def test_write_is_entered_even_if_its_client_leaves(
    slow: Slow, user: str, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    id = slow.add(user).json()["id"]
    item = {"content": "coffee", "scope": "b"}
    line, body, contents, entry = {
        "add": ("POST /memories", {**item, "user_id": user}, ["coffee", "tea"], ("add", "h1", "b")),
        "add_many": ("POST /memories/batch", {"items": [item], "user_id": user}, ["coffee", "tea"], ("add", "h1", "b")),
        "update": (f"PATCH /memories/{id}", {"content": "milk"}, ["milk"], ("update", id, "a")),
        "delete": (f"DELETE /memories/{id}", None, [], ("delete", id, None)),
        "delete_all": (f"DELETE /memories?user_id={user}", None, [], ("delete", None, None)),
    }[verb]
    method, _, path = line.partition(" ")
    slow.barrier.close()
    with caplog.at_level(logging.INFO, "openmem.server.access"):
        ask_and_leave(slow.client, method, path, body, slow.barrier.reached.wait)
        slow.barrier.opened.set()
        until(lambda: slow.contents(user) == contents)
        until(lambda: slow.journal(user)[:1] == [entry])
        until(lambda: any(" 499 " in record.getMessage() for record in caplog.records))


def test_deleted_memory_is_in_no_kept_reply_even_if_the_client_leaves(slow: Slow, user: str) -> None:
    id = slow.add(user, **{"Idempotency-Key": user}).json()["id"]
    slow.barrier.close()
    ask_and_leave(slow.client, "DELETE", f"/memories/{id}", None, slow.barrier.reached.wait)
    slow.barrier.opened.set()
    until(lambda: slow.journal(user)[0][0] == "delete")
    until(lambda: slow.add(user, **{"Idempotency-Key": user}).status_code == 404)


def test_write_whose_time_is_up_is_entered_as_it_may_be_made_later(slow: Slow, user: str) -> None:
    id = slow.add(user, **{"Idempotency-Key": user}).json()["id"]
    item = {"content": "coffee", "scope": "b"}
    slow.barrier.close()
    for method, path, body, entry in [
        ("POST", "/memories", {**item, "user_id": user}, ("add", None, "b")),
        ("POST", "/memories/batch", {"items": [item, {**item, "scope": "c"}], "user_id": user}, ("add", None, "c")),
        ("PATCH", f"/memories/{id}", {"content": "milk"}, ("update", id, None)),
        ("DELETE", f"/memories/{id}", None, ("delete", id, None)),
        ("DELETE", f"/memories?user_id={user}&scope=b/*", None, ("delete", None, "b/*")),
    ]:
        reply = slow.client.request(method, path, json=body, headers=SHORT)
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
        assert slow.journal(user)[0] == entry
    assert len(slow.journal(user)) == 7
    assert slow.add(user, **{"Idempotency-Key": user}).status_code == 404
    slow.barrier.opened.set()
    until(lambda: "tea" not in slow.contents(user))


def test_import_whose_time_is_up_is_entered_as_it_may_be_made_later(slow: Slow, user: str) -> None:
    memory = {"id": f"{user}-1", "content": "tea", "user_id": user, "scope": "a", "created_at": "2026-01-01T00:00:00Z"}
    slow.barrier.close()
    reply = slow.client.post("/import", content=json.dumps({"memory": memory}), headers=SHORT)
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert slow.journal(user) == [("add", f"{user}-1", "a")]


def test_key_that_may_not_delete_everything_erases_no_reply_of_a_memory_that_may_not_be_its_own(
    place: Place, barrier: Barrier, user: str
) -> None:
    body = {"content": "tea", "user_id": user, "scope": "a"}
    headers = {**place.key(), "Idempotency-Key": user}
    made = place.client.post("/memories", json=body, headers=headers)
    barrier.close(reads=True)
    stranger = {**place.key("read:b", "delete:b"), "X-User-Id": user, **SHORT}
    assert place.client.delete(f"/memories/{made.json()['id']}", headers=stranger).status_code == 504
    barrier.opened.set()
    again = place.client.post("/memories", json=body, headers=headers)
    assert (again.content, again.headers["idempotent-replayed"]) == (made.content, "true")


def test_deletion_in_an_own_store_is_finished_although_the_client_leaves(
    postgres_url: str, tmp_path: Path, user: str
) -> None:
    store = f"sqlite:///{tmp_path / 'server.db'}"
    with running_with_store(postgres_url, store) as place, psycopg.connect(postgres_url, autocommit=True) as watcher:
        body, headers = {"content": "tea", "user_id": user}, {"Idempotency-Key": user}
        id = place.client.post("/memories", json=body, headers=headers).json()["id"]
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        (table,) = watcher.execute(
            "select format('%I.%I', schemaname, tablename) from pg_tables where tablename = 'memories'"
        ).fetchone() or ("",)
        with psycopg.connect(postgres_url) as locker:
            locker.execute(f"lock table {table} in access exclusive mode".encode())
            begun = lambda: until(lambda: watcher.execute(waiting).fetchone() == (1,))  # noqa: E731
            ask_and_leave(place.client, "DELETE", f"/memories/{id}", None, begun)
        until(lambda: place.client.get(f"/memories/{id}").status_code == 404)
        until(lambda: place.client.post("/memories", json=body, headers=headers).status_code == 404)
