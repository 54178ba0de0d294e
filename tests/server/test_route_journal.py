"""The journal of a provider that keeps none: the server keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from openmem import AsyncMemory, AsyncServerStore, ServerStore
from openmem.registry import BUILT_IN
from openmem.server import create_app
from tests.server.plain_provider import SPEC
from tests.server.running import Place, RouteOptions, client_of, serving


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A server over a provider without a journal."""
    monkeypatch.setitem(BUILT_IN, SPEC.name, SPEC)
    memory = AsyncMemory("plain", url=f"sqlite:///{tmp_path / 'memories.db'}", embedder="none")
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


def test_journal_is_closed_to_those_who_may_not_read_everything(place: Place, user: str) -> None:
    for key in (place.key("read:a/*"), place.key("write:*"), place.key("admin:*", user_id=f"{user}-2")):
        reply = place.client.get("/audit", params={"user_id": user}, headers=key)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "scope_denied")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "since=2026-01-01T00:00:00", "app="])
def test_wrong_parameter_is_refused_as_by_any_provider(place: Place, user: str, query: str) -> None:
    reply = place.client.get(f"/audit?user_id={user}&{query}", headers=place.key())
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
