"""Every reply of the protocol's own routes is one that the protocol's first client can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from openmem import AsyncMemory, AsyncServerStore
from openmem._config.registry import BUILT_IN
from openmem._rules.capabilities import VERBS as NATIVE
from openmem.providers import ProviderName, ProviderSpec
from openmem.server import create_app
from openmem.testing import HashEmbedder
from openmem.types import AuditEntry
from tests import origin_types as origin
from tests.server.plain_provider import SPEC, TALKATIVE
from tests.server.running import Place, client_of, serving

EIGHT = {"add", "search", "get", "update", "delete", "list", "context", "audit"}
FULL: dict[str, Any] = {
    "content": "prefers green tea",
    "scope": "drinks/hot",
    "tags": ["tea"],
    "source": {"app": "notes", "type": "explicit", "ref": "s1", "uri": "app://1"},
    "confidence": 0.5,
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_to": "2199-01-01T00:00:00Z",
    "key": "tea",
    "x-notes": {"a": [1, None]},
}


def read(kind: type[origin.OriginModel], reply: httpx.Response) -> Any:
    return kind.model_validate_json(reply.content)


def walk(client: httpx.Client, user: str) -> None:
    """Use every route of the protocol and read each reply as its first client does."""
    first = read(origin.Record, client.post("/memories", json={**FULL, "user_id": user}))
    second = read(origin.Record, client.post("/memories", json={"content": "tea", "user_id": user}))
    owner = {"X-User-Id": user}
    change = {"content": "prefers black tea", "supersedes": [second.id], "x-notes": 2}
    changed = read(origin.Record, client.patch(f"/memories/{first.id}", headers=owner, json=change))
    assert read(origin.Record, client.get(f"/memories/{first.id}", headers=owner)) == changed
    assert read(origin.Page, client.get("/memories", params={"user_id": user, "limit": 1})).items == [changed]
    for mode in ("hybrid", "keyword", "vector"):
        asked = {"user_id": user, "q": "tea", "mode": mode, "explain": "true", "include_superseded": "true"}
        assert len(read(origin.Results, client.get("/memories/search", params=asked)).results) == 2
    assert read(origin.Block, client.post("/context", json={"query": "tea", "user_id": user})).citations
    assert client.get(f"/memories/{first.id}/history", headers=owner).status_code in (200, 405)
    assert client.get("/export", params={"user_id": user}).status_code == 200
    lines = client.get("/export", params={"user_id": user, "limit": 5}).content
    assert client.post("/import?conflict=overwrite", content=lines).status_code == 200
    assert client.delete(f"/memories/{second.id}", headers=owner).status_code == 204
    assert client.delete("/memories", params={"user_id": user}).status_code == 200
    entries = read(origin.Entries, client.get("/audit", params={"user_id": user, "limit": 1000})).entries
    assert {"add", "update", "delete"} <= {entry.action for entry in entries}


FAILURES: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/nowhere", {}),
    ("PUT", "/memories", {}),
    ("GET", "/memories/mem_none?user_id=ann", {}),
    ("GET", "/memories?user_id=ann&limit=0", {}),
    ("POST", "/memories", {"content": b"{"}),
    ("POST", "/memories", {"json": {"content": "tea", "user_id": "ann", "contnet": "tea"}}),
    ("POST", "/memories", {"content": b"a=b", "headers": {"content-type": "text/plain"}}),
    ("PATCH", "/memories/mem_none?user_id=ann", {"json": {"content": "tea"}, "headers": {"if-match": '"x"'}}),
]


@pytest.mark.parametrize(("method", "path", "more"), FAILURES)
def test_failure_is_one_the_first_client_reads(
    open_server: httpx.Client, method: str, path: str, more: dict[str, Any]
) -> None:
    reply = open_server.request(method, path, **more)
    assert reply.status_code >= 400
    assert read(origin.Failure, reply).error.request_id == reply.headers["x-request-id"]


def test_refused_keys_are_read_by_the_first_client(keyed_server: Place, user: str) -> None:
    for headers in ({}, keyed_server.key("read:work/*", user_id=user)):
        reply = keyed_server.client.get("/memories", params={"user_id": user + "x"}, headers=headers)
        assert read(origin.Failure, reply).error.type == "auth"


def test_server_of_the_embedded_store_is_read_by_the_first_client(tmp_path: Path, user: str) -> None:
    memory = AsyncMemory(url=f"sqlite:///{tmp_path / 'a.db'}", embedder=HashEmbedder())
    with serving(create_app(memory)) as address, client_of(address) as client:
        able = read(origin.Able, client.get("/capabilities"))
        assert set(able.verbs) == EIGHT
        assert set(able.model_extra["x-openmem"]["verbs"]) == {*NATIVE} - EIGHT
        walk(client, user)


@pytest.mark.parametrize(
    ("spec", "verbs"), [(SPEC, EIGHT - {"audit"}), (TALKATIVE, {"add"})], ids=["plain", "talkative"]
)
def test_third_party_and_the_audit_log_of_the_server_are_read_by_the_first_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, spec: ProviderSpec, verbs: set[str]
) -> None:
    """A provider may say what it can do in one list, and without a check; the lists stay closed all the same."""
    monkeypatch.setitem(BUILT_IN, spec.name, spec)
    memory = AsyncMemory(ProviderName(spec.name), url=str(tmp_path / "a.db"), embedder="none")
    app = create_app(memory, store=AsyncServerStore(f"sqlite:///{tmp_path / 'server.db'}"))
    with serving(app) as address, client_of(address) as client:
        assert set(read(origin.Able, client.get("/capabilities")).verbs) == verbs
        client.post("/memories", json={"content": "tea", "user_id": user})
        assert read(origin.Entries, client.get("/audit", params={"user_id": user})).entries


def test_audit_actions_are_those_of_the_protocol() -> None:
    assert AuditEntry.model_json_schema()["properties"]["action"]["anyOf"][0]["enum"] == [
        *("add", "search", "get", "update", "delete", "list", "context")
    ]
