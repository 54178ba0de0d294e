"""Scopes, tags and users over HTTP: shapes, limits, and what a key sees of them."""

from __future__ import annotations

import httpx
import pytest

from tests.server.running import Place


def fill(client: httpx.Client, user: str, headers: dict[str, str] | None = None) -> None:
    for scope in ("coding/a", "coding/b", "health", None):
        body = {"content": "tea", "user_id": user, "scope": scope, "tags": [f"in {scope}", "all"]}
        assert client.post("/memories", json=body, headers=headers).status_code == 201


def test_overviews_have_the_shape_of_the_contract(open_server: httpx.Client, user: str) -> None:
    fill(open_server, user)
    scopes = open_server.get(f"/scopes?user_id={user}&depth=1").json()["scopes"]
    assert [scope.pop("last_change")[:2] for scope in scopes] == ["20", "20", "20"]
    none, coding, health = scopes
    assert none == {"current": 1, "superseded": 0, "expired": 0}
    assert coding == {"scope": "coding", "current": 2, "superseded": 0, "expired": 0}
    assert health == {"scope": "health", "current": 1, "superseded": 0, "expired": 0}
    tags = open_server.get(f"/tags?user_id={user}&scope=coding/*").json()
    assert tags == {
        "tags": [{"tag": tag, "count": count} for tag, count in (("all", 2), ("in coding/a", 1), ("in coding/b", 1))]
    }
    [found] = open_server.get("/users", params={"prefix": user}).json()["items"]
    assert (found["user_id"], found["current"]) == (user, 4)


def test_users_come_page_by_page(open_server: httpx.Client, user: str) -> None:
    for number in range(3):
        open_server.post("/memories", json={"content": "tea", "user_id": f"{user}-{number}"})
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = open_server.get("/users", params={"prefix": f"{user}-", "limit": "2", **cursor}).json()
        seen += [item["user_id"] for item in page["items"]]
        if "next_cursor" not in page:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(seen) == [f"{user}-{number}" for number in range(3)]


@pytest.mark.parametrize(
    "path",
    [
        "/scopes",
        "/scopes?user_id=ann&depth=0",
        "/scopes?user_id=ann&depth=1.5",
        "/scopes?user_id=ann&prefix=a//b",
        "/scopes?user_id=ann&prefix=a/b&depth=1",
        "/scopes?user_id=ann&prefx=a",
        "/tags",
        "/tags?user_id=ann&scope=a*",
        "/users?limit=0",
        "/users?limit=1001",
        "/users?cursor=junk",
        "/users?prefix=",
    ],
)
def test_wrong_parameters_are_refused(open_server: httpx.Client, path: str) -> None:
    reply = open_server.get(path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


def test_key_of_a_user_counts_only_what_it_may_read(keyed_server: Place, user: str) -> None:
    client, every = keyed_server.client, keyed_server.key()
    fill(client, user, every)
    fill(client, f"{user}-2", every)
    key = keyed_server.key("read:coding/*", user_id=user)
    assert [scope["scope"] for scope in client.get("/scopes", headers=key).json()["scopes"]] == ["coding/a", "coding/b"]
    assert client.get("/tags", headers=key).json()["tags"][0] == {"tag": "all", "count": 2}
    [own] = client.get("/users", headers=key).json()["items"]
    assert (own["user_id"], own["current"]) == (user, 2)
    assert client.get("/users?prefix=other", headers=key).json() == {"items": []}
    for path in ("/scopes?prefix=health", "/tags?scope=health"):
        reply = client.get(path, headers=key)
        assert (reply.status_code, reply.json()["error"]["details"]["missing"][:11]) == (403, "read:health")


def test_users_of_a_store_are_for_admins(keyed_server: Place, user: str) -> None:
    client = keyed_server.client
    fill(client, user, keyed_server.key())
    reply = client.get("/users", headers=keyed_server.key("read:*", "write:*", "delete:*"))
    assert (reply.status_code, reply.json()["error"]["details"]) == (403, {"missing": "admin:*"})
    page = client.get("/users", params={"prefix": user}, headers=keyed_server.key("admin:*")).json()
    assert [item["user_id"] for item in page["items"]] == [user]


def test_overviews_are_entered_as_lists(open_server: httpx.Client, user: str) -> None:
    open_server.get(f"/scopes?user_id={user}")
    open_server.post("/memories", json={"content": "tea", "user_id": user})
    for path in ("scopes", "tags"):
        open_server.get(f"/{path}?user_id={user}")
    entries = open_server.get(f"/audit?user_id={user}").json()["entries"]
    assert [entry["action"] for entry in entries][:3] == ["list", "list", "add"]
