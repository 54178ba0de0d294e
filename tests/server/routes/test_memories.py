"""Answers of every route to good requests."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from openmem import AsyncMemory, Memory, NotFoundError
from openmem._protocol.routes import ROUTES
from openmem.server import create_app
from openmem.testing import HashEmbedder
from tests.server.running import client_of, serving

FIXED = {path.split("/")[2] for path in ROUTES if path.startswith("/memories/") and "{" not in path}
NDJSON = {"Content-Type": "application/x-ndjson"}


def add(client: httpx.Client, user: str, content: str = "likes green tea", **fields: object) -> dict[str, object]:
    reply = client.post("/memories", json={"content": content, "user_id": user, **fields})
    assert reply.status_code == 201, reply.text
    record: dict[str, object] = reply.json()
    return record


def test_capabilities_are_those_of_the_provider(open_server: httpx.Client) -> None:
    reply = open_server.get("/capabilities")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert (reply.json()["provider"], reply.json()["omp_version"]) == ("sqlite", "0.1")


def test_added_memory_comes_back_with_version_location_and_extensions(open_server: httpx.Client, user: str) -> None:
    body = {
        "content": "prefers pnpm",
        "user_id": user,
        "scope": "coding/preferences",
        "tags": ["js"],
        "source": {"app": "cursor", "type": "explicit", "ref": "chat 7"},
        "confidence": 0.5,
        "valid_from": "2026-01-01T00:00:00Z",
        "key": "package manager",
        "x-note": {"deep": [1, None]},
    }
    reply = open_server.post("/memories", json=body)
    record = reply.json()
    assert (reply.status_code, reply.headers["etag"]) == (201, '"1"')
    assert {name: record[name] for name in body} == body
    assert open_server.get(reply.headers["location"]).json() == record


def test_body_without_a_content_type_is_taken_as_json(open_server: httpx.Client, user: str) -> None:
    content = json.dumps({"content": "a", "user_id": user}).encode()
    assert open_server.post("/memories", content=content).status_code == 201


def test_list_pages_newest_first(open_server: httpx.Client, user: str) -> None:
    ids = [add(open_server, user, f"fact {number}")["id"] for number in range(5)]
    seen, cursor = [], None
    while True:
        query = {"user_id": user, "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = open_server.get("/memories", params=query).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_list_filters_by_scope_tag_and_time(open_server: httpx.Client, user: str) -> None:
    wanted = add(open_server, user, scope="a/b", tags=["x", "y"])
    add(open_server, user, scope="b", tags=["x"])
    add(open_server, user, scope="a/b", tags=["z"])
    query = {"user_id": user, "scope": "a/*", "tag": "x", "since": "2020-01-01T00:00:00Z"}
    assert [item["id"] for item in open_server.get("/memories", params=query).json()["items"]] == [wanted["id"]]
    assert open_server.get("/memories", params={**query, "until": "2020-01-02T00:00:00Z"}).json()["items"] == []


def test_time_with_an_unescaped_plus_is_understood(open_server: httpx.Client, user: str) -> None:
    add(open_server, user)
    reply = open_server.get(f"/memories?user_id={user}&since=2020-01-01T00:00:00+02:00")
    assert len(reply.json()["items"]) == 1


def test_hidden_memories_are_shown_on_request(open_server: httpx.Client, user: str) -> None:
    old = add(open_server, user, "lives in Rome")
    add(open_server, user, "lives in Oslo", supersedes=[old["id"]])
    add(open_server, user, "was away", valid_to="2021-01-01T00:00:00Z")
    add(open_server, user, "will be away", valid_from="2090-01-01T00:00:00Z")
    counts = [
        len(open_server.get("/memories", params={"user_id": user, **more}).json()["items"])
        for more in ({}, {"include_superseded": "true"}, {"include_expired": "1"}, {"as_of": "2095-06-01T00:00:00Z"})
    ]
    assert counts == [1, 2, 3, 2]


def test_search_answers_with_scores_and_parts_of_them(open_server: httpx.Client, user: str) -> None:
    wanted = add(open_server, user, "likes green tea", tags=["a,b", "c"])
    add(open_server, user, "likes green tea", tags=["a"])
    query = {"q": "green tea", "user_id": user, "tags": ["a,b", "c"], "explain": "true", "mode": "keyword"}
    (result,) = open_server.get("/memories/search", params=query).json()["results"]
    assert result["memory"]["id"] == wanted["id"]
    assert 0 < result["score"] <= 1
    assert result["explain"]


def test_search_leaves_out_low_scores_and_shows_its_purpose_in_the_audit_log(
    open_server: httpx.Client, user: str
) -> None:
    add(open_server, user)
    query = {"q": "green", "user_id": user, "min_score": "1.0", "purpose": "context"}
    assert open_server.get("/memories/search", params=query).status_code == 200
    actions = {entry["action"] for entry in open_server.get("/audit", params={"user_id": user}).json()["entries"]}
    assert actions == {"add", "context"}


def test_context_stays_within_its_budget(open_server: httpx.Client, user: str) -> None:
    memory = add(open_server, user, "likes green tea")
    block = open_server.post("/context", json={"query": "tea", "user_id": user, "token_budget": 50}).json()
    assert "green tea" in block["text"]
    assert block["citations"][0]["memory_id"] == memory["id"]
    assert block["token_count"] <= 50


def test_batch_stores_all_in_order(open_server: httpx.Client, user: str) -> None:
    items = [{"content": f"fact {number}"} for number in range(3)]
    reply = open_server.post("/memories/batch", json={"items": items, "user_id": user})
    assert reply.status_code == 201
    assert [item["content"] for item in reply.json()["items"]] == ["fact 0", "fact 1", "fact 2"]


def test_batch_with_a_wrong_item_stores_none_and_names_it(open_server: httpx.Client, user: str) -> None:
    items = [{"content": "a"}, {"content": " "}]
    reply = open_server.post("/memories/batch", json={"items": items, "user_id": user})
    assert (reply.status_code, reply.json()["error"]["details"]) == (400, {"index": 1})
    assert open_server.get("/memories", params={"user_id": user}).json()["items"] == []


def test_update_changes_what_is_given_and_null_clears(open_server: httpx.Client, user: str) -> None:
    memory = add(open_server, user, scope="a", tags=["t"])
    path, owner = f"/memories/{memory['id']}", {"X-User-Id": user}
    reply = open_server.patch(path, json={"content": "likes coffee", "scope": None}, headers=owner)
    record = reply.json()
    assert (reply.status_code, reply.headers["etag"]) == (200, '"2"')
    assert (record["content"], record.get("scope"), record["tags"]) == ("likes coffee", None, ["t"])
    history = open_server.get(f"{path}/history", headers=owner).json()["items"]
    assert [item["version"] for item in history] == [1]


def test_deleted_memory_is_gone(open_server: httpx.Client, user: str) -> None:
    path = f"/memories/{add(open_server, user)['id']}"
    reply = open_server.delete(path, headers={"X-User-Id": user})
    assert (reply.status_code, reply.content) == (204, b"")
    assert open_server.get(path).status_code == 404


def test_erasure_of_a_user_answers_with_proof(open_server: httpx.Client, user: str) -> None:
    add(open_server, user, scope="a/b")
    add(open_server, user, scope="c")
    receipt = open_server.delete("/memories", params={"user_id": user, "scope": "a/*"}).json()
    assert (receipt["erased"]["memories"], set(receipt["remaining"].values())) == (1, {0})
    assert len(open_server.get("/memories", params={"user_id": user}).json()["items"]) == 1


def test_waiting_for_memories_that_are_there_ends_at_once(open_server: httpx.Client, user: str) -> None:
    memory = add(open_server, user)
    reply = open_server.post("/memories/wait", json={"ids": [memory["id"]], "user_id": user})
    assert (reply.status_code, reply.content) == (204, b"")


def test_audit_names_app_action_and_request_newest_first(open_server: httpx.Client, user: str) -> None:
    headers = {"X-Request-Id": "req-1.a_B", "X-OMP-App": "cursor"}
    memory = open_server.post("/memories", json={"content": "a", "user_id": user}, headers=headers).json()
    open_server.get(f"/memories/{memory['id']}", headers={"X-User-Id": user})
    first, second = open_server.get("/audit", params={"user_id": user}).json()["entries"][-2:]
    assert (first["action"], first["memory_id"]) == ("get", memory["id"])
    assert (second["action"], second["app"], second["request_id"]) == ("add", "cursor", "req-1.a_B")


@pytest.mark.parametrize(
    "id", ["a/b/history", "what?#", "ключ 1", "100%", "a%2Fb", "..", "search", "%73earch", "+ +", "&=;"]
)
def test_id_may_hold_any_sign(open_server: httpx.Client, user: str, id: str) -> None:
    name = f"{user}/{id}"
    line = {"memory": {"id": name, "content": "a", "user_id": user, "created_at": "2026-01-01T00:00:00Z"}}
    assert open_server.post("/import", content=json.dumps(line)).json()["imported"] == 1
    path = f"/memories/{quote(name, safe='')}"
    assert open_server.get(path, headers={"X-User-Id": user}).json()["id"] == name
    assert open_server.get(f"{path}/history").json() == {"items": []}
    assert open_server.delete(path).status_code == 204


@pytest.mark.parametrize("id", [*sorted(FIXED), ".", ".."])
def test_memory_whose_id_is_a_word_of_a_route_is_reached(open_server: httpx.Client, user: str, id: str) -> None:
    line = {"memory": {"id": id, "content": "a", "user_id": user, "created_at": "2026-01-01T00:00:00Z"}}
    with Memory(base_url=str(open_server.base_url)) as memory:
        assert memory.import_([json.dumps(line)]).imported == 1
        assert memory.get(id, user_id=user).content == "a"
        assert memory.update(id, content="b", user_id=user).version == 2
        assert [record.content for record in memory.history(id, user_id=user)] == ["a"]
        memory.delete(id, user_id=user)
        with pytest.raises(NotFoundError):
            memory.get(id, user_id=user)


def test_user_may_have_any_unicode_name(open_server: httpx.Client, user: str) -> None:
    name = f"{user} Ωμέγα 用户"
    memory = add(open_server, name)
    path = f"/memories/{memory['id']}"
    assert open_server.get(path, headers=[(b"X-User-Id", name.encode())]).json()["user_id"] == name
    assert open_server.get(path, params={"user_id": name}).status_code == 200
    assert len(open_server.get("/memories", params={"user_id": name}).json()["items"]) == 1


@pytest.mark.parametrize(
    "path", ["/capabilities", "/memories?user_id=u", "/memories/search?q=a&user_id=u", "/audit?user_id=u", "/export"]
)
def test_head_answers_like_get_without_the_body(open_server: httpx.Client, path: str) -> None:
    reply = open_server.head(path)
    assert (reply.status_code, reply.content) == (200, b"")
    assert reply.headers["content-type"] == open_server.get(path).headers["content-type"]


def test_request_id_of_the_client_is_kept_and_a_bad_one_is_not(open_server: httpx.Client) -> None:
    assert open_server.get("/capabilities", headers={"X-Request-Id": "A-b_c.9"}).headers["x-request-id"] == "A-b_c.9"
    for bad in (b"a b", b"x" * 65, "é".encode(), b"", b"a;b"):
        made = open_server.get("/capabilities", headers=[(b"X-Request-Id", bad)]).headers["x-request-id"]
        assert made.isalnum()
        assert len(made) == 32


def test_unknown_query_parameters_are_ignored(open_server: httpx.Client, user: str) -> None:
    assert open_server.get("/memories", params={"user_id": user, "from_the_future": "1"}).status_code == 200


def test_reembed_reports(open_server: httpx.Client) -> None:
    reply = open_server.post("/reembed")
    assert (reply.status_code, reply.json()["error"]["code"]) == (405, "unsupported_capability")


def test_reembed_takes_no_longer_than_the_client_waits_and_goes_on_the_next_time(tmp_path: Path) -> None:
    url, go_on = f"sqlite:///{tmp_path / 'm.db'}", threading.Event()

    class Held(HashEmbedder):
        def embed(self, texts: Any) -> Any:
            assert go_on.wait(10)
            return super().embed(texts)

    with Memory(url=url, embedder=HashEmbedder(model="old")) as memory:
        memory.add_many([{"content": f"note {number}", "user_id": "ann"} for number in range(10)])
    app = create_app(AsyncMemory(url=url, embedder=Held(model="new")))
    with serving(app) as address, client_of(address) as client:
        reply = client.post("/reembed", headers={"X-OMP-Timeout": "0.1"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
        go_on.set()
        reply = client.post("/reembed")
        assert (reply.status_code, reply.json()) == (200, {"model": "new", "done": 10, "total": 10})


@pytest.mark.parametrize(("number", "status"), [(2.0, 200), (2.5, 400), ("2", 400), (True, 400)])
def test_whole_number_may_be_written_with_a_fraction_of_nothing(
    open_server: httpx.Client, user: str, number: Any, status: int
) -> None:
    asked = {"user_id": user, "q": "tea", "limit": number}
    assert open_server.post("/memories/search", json=asked).status_code == status
    asked = {"user_id": user, "query": "tea", "token_budget": number}
    assert open_server.post("/context", json=asked).status_code == status
    lines = json.dumps({"format": "omp-export", "version": 1.0}) + "\n"
    memory = {"id": f"{user}-1", "content": "tea", "user_id": user, "created_at": "2026-01-01T00:00:00Z"}
    lines += json.dumps({"memory": {**memory, "version": number, "x-n": 1.0}})
    assert open_server.post("/import", content=lines.encode(), headers=NDJSON).status_code == status
    if status == 200:
        found = open_server.get(f"/memories/{user}-1").json()
        assert (found["version"], repr(found["x-n"])) == (2, "1.0")


def test_envelopes_have_no_blanks(open_server: httpx.Client, user: str) -> None:
    for reply in (
        open_server.get("/memories", params={"user_id": user, "limit": 0}),
        open_server.get("/nowhere"),
        open_server.put("/memories"),
    ):
        assert reply.content.startswith(b'{"error":{"code":"')
        assert reply.content == json.dumps(reply.json(), separators=(",", ":")).encode()
