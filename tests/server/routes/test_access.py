"""Keys on every route: who is let in, as whom, and what is denied."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from tests.server.contract_check import the_contract
from tests.server.running import Place

UNAUTHORIZED = (401, "unauthorized")
DENIED = (403, "scope_denied")
MISSING = (404, "not_found")
UNKNOWN_ID = "mem_01ARZ3NDEKTSV4RRFFQ69G5FAV"

REQUESTS: dict[str, tuple[str, str, Any]] = {
    "addMemory": ("POST", "/memories", {"content": "a", "user_id": "{user}", "scope": "coding/style"}),
    "addMemories": ("POST", "/memories/batch", {"items": [{"content": "a", "scope": "coding"}], "user_id": "{user}"}),
    "listMemories": ("GET", "/memories?user_id={user}&scope=coding/*", None),
    "searchMemories": ("GET", "/memories/search?q=a&user_id={user}&scope=coding/*", None),
    "searchMemoriesAtLength": ("POST", "/memories/search", {"q": "a", "user_id": "{user}", "scope": "coding/*"}),
    "getContext": ("POST", "/context", {"query": "a", "user_id": "{user}", "scope": "coding/*"}),
    "getMemory": ("GET", "/memories/{id}?user_id={user}", None),
    "getHistory": ("GET", "/memories/{id}/history?user_id={user}", None),
    "updateMemory": ("PATCH", "/memories/{id}?user_id={user}", {"content": "b"}),
    "deleteMemory": ("DELETE", "/memories/{id}?user_id={user}", None),
    "getMemoryByKey": ("GET", "/memories/by-key/k?user_id={user}", None),
    "getHistoryByKey": ("GET", "/memories/by-key/k/history?user_id={user}", None),
    "updateMemoryByKey": ("PATCH", "/memories/by-key/k?user_id={user}", {"content": "b"}),
    "deleteMemoryByKey": ("DELETE", "/memories/by-key/k?user_id={user}", None),
    "waitForMemories": ("POST", "/memories/wait", {"ids": ["{id}"], "user_id": "{user}"}),
    "deleteMemories": ("DELETE", "/memories?user_id={user}&scope=coding/*", None),
    "getScopes": ("GET", "/scopes?user_id={user}&prefix=coding", None),
    "getTags": ("GET", "/tags?user_id={user}&scope=coding/*", None),
    "getUsers": ("GET", "/users", None),
    "getChanges": ("GET", "/changes?user_id={user}", None),
    "getAudit": ("GET", "/audit?user_id={user}", None),
    "exportMemories": ("GET", "/export?user_id={user}&limit=5", None),
    "importMemories": ("POST", "/import", None),
    "reembed": ("POST", "/reembed", None),
}
BY_KEY = ("getMemoryByKey", "getHistoryByKey", "updateMemoryByKey", "deleteMemoryByKey")
BY_ID = ("getMemory", "getHistory", "updateMemory", "deleteMemory", "waitForMemories", *BY_KEY)
EVERY = pytest.mark.parametrize("name", REQUESTS)


def fill(value: Any, **values: str) -> Any:
    if isinstance(value, str):
        for name, text in values.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, list):
        return [fill(item, **values) for item in value]
    return {key: fill(item, **values) for key, item in value.items()} if isinstance(value, dict) else value


def ask(place: Place, name: str, headers: dict[str, str], user: str, id: str = UNKNOWN_ID) -> httpx.Response:
    method, path, body = fill([*REQUESTS[name]], user=user, id=id)
    return place.client.request(method, path, json=body, headers=headers)


def code_of(reply: httpx.Response) -> tuple[int, str | None]:
    return reply.status_code, reply.json()["error"]["code"] if reply.status_code >= 400 else None


def memory_of(place: Place, user: str, scope: str = "coding/style") -> str:
    body = {"content": "a", "user_id": user, "scope": scope, "key": "k" if scope == "coding/style" else scope}
    return str(place.client.post("/memories", json=body, headers=place.key()).json()["id"])


def test_every_route_that_needs_a_key_is_tried_here() -> None:
    paths = the_contract().paths.values()
    operations = [operation for path in paths for operation in path.values()]
    assert set(REQUESTS) == {found["operationId"] for found in operations if found.get("security") != []}


@EVERY
def test_without_a_key_nothing_is_answered(keyed_server: Place, user: str, name: str) -> None:
    reply = ask(keyed_server, name, {}, user)
    assert code_of(reply) == UNAUTHORIZED
    assert reply.headers["www-authenticate"] == "Bearer"


@EVERY
def test_key_that_may_do_everything_is_let_in(keyed_server: Place, user: str, name: str) -> None:
    reply = ask(keyed_server, name, keyed_server.key(), user, memory_of(keyed_server, user))
    expected = (405, "unsupported_capability") if name == "reembed" else (reply.status_code, None)
    assert code_of(reply) == expected


@EVERY
def test_key_without_the_grant_is_denied(keyed_server: Place, user: str, name: str) -> None:
    reply = ask(keyed_server, name, keyed_server.key("read:health/*"), user, memory_of(keyed_server, user))
    if name == "getChanges":  # those of the scopes that may be read
        assert (reply.status_code, reply.json()["items"]) == (200, [])
    else:
        assert code_of(reply) == (MISSING if name in BY_ID else DENIED)


@EVERY
def test_key_of_another_user_is_denied_whether_that_user_exists_or_not(
    keyed_server: Place, user: str, name: str
) -> None:
    if name in ("importMemories", "reembed", "getUsers"):
        return
    key = keyed_server.key("admin:*", user_id=f"{user}-own")
    there, id = user, memory_of(keyed_server, user)
    replies = [ask(keyed_server, name, key, there, id), ask(keyed_server, name, key, f"{user}-not-there")]
    assert [code_of(reply) for reply in replies] == [DENIED, DENIED]
    assert len({reply.json()["error"]["message"] for reply in replies}) == 1


@pytest.mark.parametrize("name", BY_ID)
def test_unknown_id_is_not_found(keyed_server: Place, user: str, name: str) -> None:
    assert code_of(ask(keyed_server, name, keyed_server.key(), user)) == MISSING


def test_key_of_a_user_needs_no_user_in_the_request(keyed_server: Place, user: str) -> None:
    key, client = keyed_server.key("admin:*", user_id=user), keyed_server.client
    record = client.post("/memories", json={"content": "tea"}, headers=key).json()
    assert record["user_id"] == user
    assert len(client.get("/memories", headers=key).json()["items"]) == 1
    assert len(client.get("/memories/search?q=tea", headers=key).json()["results"]) == 1
    assert client.post("/context", json={"query": "tea"}, headers=key).json()["text"]
    assert client.get("/audit", headers=key).json()["entries"]
    assert client.get("/export?limit=10", headers=key).text.count("\n") == 2
    assert client.post("/memories/batch", json={"items": [{"content": "b"}]}, headers=key).status_code == 201
    assert client.post("/memories/wait", json={"ids": [record["id"]]}, headers=key).status_code == 204
    assert client.delete(f"/memories/{record['id']}", headers=key).status_code == 204


def test_erasure_names_its_user_even_with_the_key_of_that_user(keyed_server: Place, user: str) -> None:
    reply = keyed_server.client.delete("/memories", headers=keyed_server.key("admin:*", user_id=user))
    assert code_of(reply) == (400, "invalid_request")


def test_memory_of_another_user_is_missing_for_the_key_of_a_user(keyed_server: Place, user: str) -> None:
    key, id = keyed_server.key("admin:*", user_id=f"{user}-own"), memory_of(keyed_server, user)
    for method, suffix in (("GET", ""), ("GET", "/history"), ("DELETE", "")):
        assert code_of(keyed_server.client.request(method, f"/memories/{id}{suffix}", headers=key)) == MISSING
    assert code_of(keyed_server.client.patch(f"/memories/{id}", json={"content": "b"}, headers=key)) == MISSING
    assert code_of(keyed_server.client.get(f"/memories/{id}", headers=keyed_server.key())) == (200, None)


def test_key_of_a_user_exports_and_imports_that_user_only(keyed_server: Place, user: str) -> None:
    memory_of(keyed_server, f"{user}-2")
    key = keyed_server.key("admin:*", user_id=user)
    keyed_server.client.post("/memories", json={"content": "mine"}, headers=key)
    exported = keyed_server.client.get("/export?limit=500", headers=key).text
    assert "mine" in exported
    assert f"{user}-2" not in exported
    foreign = exported.replace(f'"user_id":"{user}"', f'"user_id":"{user}-2"')
    assert code_of(keyed_server.client.post("/import", content=foreign, headers=key)) == DENIED


def test_reads_show_only_what_the_grants_cover(keyed_server: Place, user: str) -> None:
    seen, hidden = memory_of(keyed_server, user, "coding/style"), memory_of(keyed_server, user, "health")
    key = keyed_server.key("read:coding/*", user_id=user)
    page = keyed_server.client.get("/memories", headers=key).json()
    assert [item["id"] for item in page["items"]] == [seen]
    found = keyed_server.client.get("/memories/search?q=a", headers=key).json()["results"]
    assert [result["memory"]["id"] for result in found] == [seen]
    assert code_of(keyed_server.client.get(f"/memories/{hidden}", headers=key)) == MISSING
    reply = keyed_server.client.get("/memories?scope=health", headers=key)
    assert (code_of(reply), reply.json()["error"]["details"]) == (DENIED, {"missing": "read:health"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Basic {key}"},
        {"Authorization": "{key}"},
        {"Authorization": "Bearer {key}x"},
        {"Authorization": "Bearer {other}"},
        {"Authorization": "Bearer omp_aaaaaaaaaaaa_" + "a" * 43},
        {"Authorization": "Bearer " + "a" * 5000},
        {"X-API-Key": ""},
        {"X-API-Key": "nonsense"},
        {"Authorization": "Bearer {key}", "X-API-Key": "{key2}"},
        {"Authorization": "Bearer {key}", "X-API-Key": ""},
        {"Authorization": "Basic YTpi", "X-API-Key": "{key}"},
    ],
    ids=str,
)
def test_key_that_does_not_work_is_refused_with_one_answer(keyed_server: Place, headers: dict[str, str]) -> None:
    key, key2 = (keyed_server.key()["Authorization"].removeprefix("Bearer ") for _ in range(2))
    other = key[:17] + secrets.token_urlsafe(32)  # the id of a key with another secret
    reply = keyed_server.client.get("/memories?user_id=u", headers=fill(headers, key=key, key2=key2, other=other))
    assert code_of(reply) == UNAUTHORIZED
    error = reply.json()["error"]
    assert error == {
        "code": "unauthorized",
        "message": "the API key is missing or not valid",
        "type": "auth",
        "request_id": error["request_id"],
    }


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "bearer {key}"},
        {"Authorization": "Bearer   {key}"},
        {"X-API-Key": "{key}"},
        {"Authorization": "Bearer {key}", "X-API-Key": "{key}"},
    ],
    ids=str,
)
def test_key_is_taken_from_either_header(keyed_server: Place, headers: dict[str, str]) -> None:
    key = keyed_server.key()["Authorization"].removeprefix("Bearer ")
    assert keyed_server.client.get("/memories?user_id=u", headers=fill(headers, key=key)).status_code == 200


@pytest.mark.parametrize("path", ["/capabilities", "/openapi.json"])
def test_some_routes_need_no_key(keyed_server: Place, path: str) -> None:
    assert keyed_server.client.get(path, headers={"Authorization": "Bearer nonsense"}).status_code == 200


def test_app_in_the_audit_log_is_that_of_the_key(keyed_server: Place, user: str) -> None:
    headers = {**keyed_server.key(app="calendar"), "X-OMP-App": "pretender"}
    keyed_server.client.post("/memories", json={"content": "a", "user_id": user}, headers=headers)
    (entry,) = keyed_server.client.get(f"/audit?user_id={user}", headers=headers).json()["entries"]
    assert entry["app"] == "calendar"


def test_unauthorized_request_is_refused_before_its_body_is_judged(keyed_server: Place) -> None:
    assert code_of(keyed_server.client.post("/memories", content=b"{")) == UNAUTHORIZED
