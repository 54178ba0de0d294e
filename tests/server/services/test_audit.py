"""The audit log of a provider that keeps none: the server keeps it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openmem import AsyncMemory, AsyncServerStore, ServerStore
from openmem._config.registry import BUILT_IN
from openmem.providers import ProviderName
from openmem.server import create_app
from openmem.types import AuditEntry
from tests.server.plain_provider import SPEC
from tests.server.process import until
from tests.server.running import Place, RouteOptions, client_of, serving


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A server over a provider without an audit log."""
    monkeypatch.setitem(BUILT_IN, SPEC.name, SPEC)
    memory = AsyncMemory(ProviderName("plain"), url=f"sqlite:///{tmp_path / 'memories.db'}", embedder="none")
    url = f"sqlite:///{tmp_path / 'server.db'}"
    app = create_app(memory, store=AsyncServerStore(url), settings=RouteOptions(open_without_keys=False))
    with ServerStore(url) as store, serving(app) as address, client_of(address) as client:
        yield Place(client, store)


def journal(place: Place, key: dict[str, str], user: str, **more: str) -> list[tuple[str, str | None, str | None]]:
    entries = place.client.get("/audit", params={"user_id": user, **more}, headers=key).json()["entries"]
    return [(entry["action"], entry.get("memory_id"), entry.get("scope")) for entry in entries]


def test_every_verb_is_entered_newest_first(place: Place, user: str) -> None:
    key, client = place.key(app="notes"), place.client
    assert client.get("/capabilities").json()["features"]["supports_audit"] is False
    id = client.post("/memories", json={"content": "tea", "user_id": user, "scope": "a"}, headers=key).json()["id"]
    path = f"/memories/{id}"
    client.get(f"/memories?user_id={user}&scope=a", headers=key)
    client.get(f"/memories/search?q=tea&user_id={user}", headers=key)
    client.get(f"/memories/search?q=tea&user_id={user}&purpose=context", headers=key)
    client.post("/context", json={"query": "tea", "user_id": user, "scope": "a/*"}, headers=key)
    client.get(path, headers=key)
    client.patch(path, json={"content": "coffee"}, headers=key)
    client.get(f"{path}/history", headers=key)
    client.delete(path, headers=key)
    client.delete(f"/memories?user_id={user}&scope=b/*", headers=key)
    assert journal(place, key, user)[::-1] == [
        ("add", id, "a"),
        ("list", None, "a"),
        ("search", None, None),
        ("context", None, None),
        ("context", None, "a/*"),
        ("get", id, "a"),
        ("update", id, "a"),
        ("get", id, None),
        ("delete", id, None),
        ("delete", None, "b/*"),
    ]


def test_export_is_entered_for_each_user_of_each_page(place: Place, user: str) -> None:
    key, other = place.key(), f"{user}-2"
    for whose, count in ((user, 250), (other, 1)):
        items = [{"content": f"fact {number}"} for number in range(count)]
        place.client.post("/memories/batch", json={"items": items, "user_id": whose}, headers=key)
    place.client.get("/export", headers=key)  # 200 lines, then 51
    place.client.get(f"/export?user_id={other}&limit=1", headers=key)
    place.client.get(f"/export?user_id={user}-3", headers=key)
    listed = {whose: [entry for entry in journal(place, key, whose) if entry[0] == "list"] for whose in (user, other)}
    assert listed == {user: [("list", None, None)] * 2, other: [("list", None, None)] * 2}
    assert journal(place, key, f"{user}-3") == [("list", None, None)]


def exported(user: str, *ids: str) -> bytes:
    """Return the lines of memories whose scopes are called like them."""
    header = {"format": "omp-export", "version": 1}
    named = [{"id": id, "content": f"note {id}", "user_id": user, "scope": f"s/{id}"} for id in ids]
    lines = [header, *({"memory": {**memory, "created_at": "2026-01-01T00:00:00Z"}} for memory in named)]
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def test_import_is_entered_for_each_memory_that_it_stored(place: Place, user: str) -> None:
    key, other = place.key(app="mover"), f"{user}-2"
    one, two = f"{user}-a", f"{user}-b"
    body = exported(user, one, two) + b"\n" + exported(other, f"{other}-a")
    headers = {**key, "X-Request-Id": "move-1"}
    assert place.client.post("/import", content=body, headers=headers).json()["imported"] == 3
    assert journal(place, key, user) == [("add", two, f"s/{two}"), ("add", one, f"s/{one}")]
    assert journal(place, key, other) == [("add", f"{other}-a", f"s/{other}-a")]
    entry = place.client.get("/audit", params={"user_id": other}, headers=key).json()["entries"][0]
    assert (entry["app"], entry["request_id"]) == ("mover", "move-1")
    for conflict, action, id in (("skip", None, None), ("overwrite", "update", two), ("duplicate", "add", None)):
        before = journal(place, key, user)
        assert place.client.post(f"/import?conflict={conflict}", content=exported(user, two), headers=key).is_success
        made = [] if action is None else [(action, id, f"s/{two}")]
        assert journal(place, key, user) == made + before


def test_import_that_is_refused_in_the_middle_is_entered_as_far_as_it_came(place: Place, user: str) -> None:
    key, ids = place.key(), [f"{user}-{number}" for number in range(700)]
    reply = place.client.post("/import", content=exported(user, *ids) + b"no JSON", headers=key)
    assert (reply.status_code, reply.json()["error"]["details"]["done"]["imported"]) == (400, 499)
    assert {id for _, id, _ in journal(place, key, user, limit="1000")} == {*ids[:499]}


def test_import_is_entered_while_it_comes(place: Place, user: str) -> None:
    key, ids = place.key(), [f"{user}-{number}" for number in range(700)]
    lines = exported(user, *ids).splitlines(keepends=True)

    def body() -> Iterator[bytes]:
        yield b"".join(lines[:501])
        until(lambda: len(journal(place, key, user, limit="1000")) == 499)
        yield b"".join(lines[501:])

    assert place.client.post("/import", content=body(), headers=key).json()["imported"] == 700
    assert len(journal(place, key, user, limit="1000")) == 700


def test_erased_user_has_no_ids_and_scopes_in_the_audit_log(place: Place, user: str) -> None:
    key, body = place.key(), {"content": "tea", "user_id": user, "scope": "a"}
    id = place.client.post("/memories", json=body, headers=key).json()["id"]
    place.client.get(f"/memories?user_id={user}&scope=a", headers=key)
    place.client.get(f"/memories/{id}", headers=key)
    place.client.get(f"/memories/search?user_id={user}&q=tea", headers=key)
    receipt = place.client.delete(f"/memories?user_id={user}", headers=key).json()
    assert (receipt["erased"]["audit"], receipt["remaining"]["audit"]) == (3, 0)
    assert journal(place, key, user)[::-1] == [
        (action, None, None) for action in ("add", "list", "get", "search", "delete")
    ]


def test_erased_scope_takes_the_names_of_its_memories_out_of_the_audit_log(place: Place, user: str) -> None:
    key, ids = place.key(), {}
    for scope in ("a", "a/b", "ab", "c"):
        body = {"content": "tea", "user_id": user, "scope": scope}
        ids[scope] = place.client.post("/memories", json=body, headers=key).json()["id"]
    place.client.patch(f"/memories/{ids['c']}", json={"scope": "a/c"}, headers=key)
    place.client.get(f"/memories/{ids['c']}/history", headers=key)
    receipt = place.client.delete(f"/memories?user_id={user}&scope=a/*", headers=key).json()
    assert (receipt["erased"]["audit"], receipt["remaining"]["audit"]) == (5, 0)
    assert [entry for entry in journal(place, key, user) if entry[1] or entry[2]] == [
        ("delete", None, "a/*"),
        ("add", ids["ab"], "ab"),
    ]


def test_entries_of_a_batch_are_written_at_once(tmp_path: Path, place: Place, user: str) -> None:
    key, users = place.key(), [user, f"{user}-2"]
    items = [{"content": f"fact {number}", "user_id": users[number % 2]} for number in range(50)]
    place.client.post("/memories/batch", json={"items": items}, headers=key)
    with closing(sqlite3.connect(tmp_path / "server.db")) as store:
        times = store.execute("select user_id, count(distinct at), count(*) from journal group by user_id").fetchall()
    assert sorted(times) == [(whose, 1, 25) for whose in users]


def test_silent_store_holds_up_the_answer_for_a_moment_only(tmp_path: Path, place: Place, user: str) -> None:
    key = {**place.key(), "X-OMP-Timeout": "0.5"}
    assert place.client.get("/capabilities", headers=key).status_code == 200
    with closing(sqlite3.connect(tmp_path / "server.db", isolation_level=None)) as writer:
        writer.execute("begin immediate")
        begun = time.monotonic()
        body = {"items": [{"content": "a", "user_id": f"{user}-{n}"} for n in range(30)]}
        assert place.client.post("/memories/batch", json=body, headers=key).status_code == 201
        assert time.monotonic() - begun < 5


def test_entries_have_app_and_request_and_can_be_asked_for_by_app(place: Place, user: str) -> None:
    notes, other = place.key(app="notes"), place.key(app="other")
    for key, request in ((notes, "r1"), (other, "r2")):
        body = {"items": [{"content": "a"}, {"content": "b"}], "user_id": user}
        place.client.post("/memories/batch", json=body, headers={**key, "X-Request-Id": request})
    query = {"user_id": user, "app": "other"}
    entries = place.client.get("/audit", params=query, headers=notes).json()["entries"]
    assert [(entry["app"], entry["request_id"]) for entry in entries] == [("other", "r2")] * 2
    assert len(place.client.get("/audit", params={"user_id": user, "limit": "3"}, headers=notes).json()["entries"]) == 3


def test_failed_verb_is_not_entered(place: Place, user: str) -> None:
    key = place.key()
    place.client.post("/memories", json={"content": " ", "user_id": user}, headers=key)
    place.client.delete("/memories/mem_x", headers=key)
    assert journal(place, key, user) == []


def test_audit_log_is_closed_to_those_who_may_not_read_everything(place: Place, user: str) -> None:
    for key in (place.key("read:a/*"), place.key("write:*"), place.key("admin:*", user_id=f"{user}-2")):
        reply = place.client.get("/audit", params={"user_id": user}, headers=key)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "scope_denied")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "since=2026-01-01T00:00:00", "app="])
def test_wrong_parameter_is_refused_as_by_any_provider(place: Place, user: str, query: str) -> None:
    reply = place.client.get(f"/audit?user_id={user}&{query}", headers=place.key())
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


def test_old_entries_go_when_the_server_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILT_IN, SPEC.name, SPEC)
    memory = AsyncMemory(ProviderName("plain"), url=f"sqlite:///{tmp_path / 'memories.db'}", embedder="none")
    url = f"sqlite:///{tmp_path / 'server.db'}"
    now = datetime.now(UTC)
    with ServerStore(url) as store:
        store.enter("ann", *(AuditEntry(timestamp=now - timedelta(days=days), action="add") for days in (40, 1, 31)))
        app = create_app(memory, store=AsyncServerStore(url), audit_days=30)
        with serving(app):
            until(lambda: len(store.entries("ann")) == 1)
