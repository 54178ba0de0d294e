"""Answers of every route to bad requests: an envelope that names what is wrong, and nothing is done."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest


def code_of(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def ask(client: httpx.Client, request: str, **more: Any) -> httpx.Response:
    method, path = request.split(" ", 1)
    return client.request(method, path, **more)


@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        ("POST /memories", {"content": "a"}),
        ("GET /memories", None),
        ("GET /memories/search?q=a", None),
        ("DELETE /memories", None),
        ("POST /memories/wait", {"ids": []}),
        ("POST /context", {"query": "a"}),
        ("GET /audit", None),
        ("POST /memories/batch", {"items": [{"content": "a"}]}),
    ],
)
def test_missing_user_is_refused(open_server: httpx.Client, request_line: str, body: object) -> None:
    reply = ask(open_server, request_line, json=body) if body else ask(open_server, request_line)
    assert code_of(reply) == (400, "invalid_request")
    assert "user_id is required" in reply.json()["error"]["message"]


@pytest.mark.parametrize("blank", ["", "%20", "*", "a*", "%00", "a%0A", "%FF", "%20a"])
@pytest.mark.parametrize(
    "path", ["/memories?user_id=", "/memories/search?q=a&user_id=", "/audit?user_id=", "/export?user_id="]
)
def test_user_who_cannot_be_is_refused(open_server: httpx.Client, path: str, blank: str) -> None:
    assert code_of(open_server.get(path + blank)) == (400, "invalid_request")
    assert code_of(open_server.delete(f"/memories?user_id={blank}")) == (400, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
@pytest.mark.parametrize("name", [b"", b"*", b"\xff", b"a*"])
def test_user_header_that_cannot_be_is_refused(open_server: httpx.Client, method: str, name: bytes) -> None:
    body = {"content": "a"} if method == "PATCH" else None
    reply = open_server.request(method, "/memories/mem_x", headers=[(b"X-User-Id", name)], json=body)
    assert code_of(reply) == (400, "invalid_request")
    reply = open_server.request(method, f"/memories/mem_x?user_id={quote(name)}", json=body)
    assert code_of(reply) == (400, "invalid_request")


GOOD = {"content": "a", "user_id": "ann"}
WRONG_FIELDS = [
    {"content": None},
    {"content": ""},
    {"content": 5},
    {"content": ["a"]},
    {"content": "\u0000"},
    {"content": "a" * 100_001},
    {"user_id": None},
    {"user_id": 5},
    {"user_id": ["ann"]},
    {"user_id": {"a": 1}},
    {"user_id": "a\u0000"},
    {"scope": "a//b"},
    {"scope": 1},
    {"scope": "*"},
    {"tags": "a"},
    {"tags": [1]},
    {"tags": {"a": 1}},
    {"tags": ["t"] * 101},
    {"source": "cursor"},
    {"source": {"type": "magic"}},
    {"source": {"tpye": "explicit"}},
    {"source": {"App": "notes"}},
    {"confidence": "0.5"},
    {"confidence": 2},
    {"confidence": -0.1},
    {"confidence": True},
    {"valid_from": "yesterday"},
    {"valid_from": 5},
    {"valid_from": "2026-01-01T00:00:00"},
    {"valid_to": "2020-01-01T00:00:00Z", "valid_from": "2021-01-01T00:00:00Z"},
    {"supersedes": "mem_x"},
    {"supersedes": [None]},
    {"key": 1},
    {"key": ""},
    {"id": "mem_x"},
    {"version": 2},
    {"created_at": "2020-01-01T00:00:00Z"},
    {"timeout": 5},
    {"if_version": 5},
    {"scoope": "a"},
    {"contnet": "a"},
    {"user": "ann"},
    {"userid": "ann"},
    {"userId": "ann"},
    {"tag": ["a"]},
    {"confidance": 1},
    {"x-": 1},
    {"": 1},
]


@pytest.mark.parametrize("fields", WRONG_FIELDS, ids=lambda fields: "-".join(fields))
def test_memory_with_a_wrong_field_is_refused(open_server: httpx.Client, fields: dict[str, Any]) -> None:
    given = {**GOOD, **fields}
    assert code_of(open_server.post("/memories", json=given)) == (400, "invalid_request")
    reply = open_server.post("/memories/batch", json={"items": [GOOD, given]})
    assert code_of(reply) == (400, "invalid_request")
    assert reply.json()["error"]["details"] == {"index": 1}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"items": []},
        {"items": None},
        {"items": {"content": "a"}},
        {"items": [5]},
        {"items": [None]},
        {"items": ["a"]},
        {"items": [[GOOD]]},
        {"items": [GOOD] * 10_001},
        {"items": [GOOD], "user_id": 5},
        {"items": [GOOD], "more": 1},
        {"items": [{"content": "a", "user_id": ["u"]}]},
        {"items": [{"content": "a", "user_id": {}}]},
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_batch_that_is_none_is_refused(open_server: httpx.Client, body: object) -> None:
    assert code_of(open_server.post("/memories/batch", json=body)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "fields",
    [
        {"content": None},
        {"content": 5},
        {"scope": "/"},
        {"tags": 5},
        {"confidence": "x"},
        {"valid_to": "soon"},
        {"supersedes": 5},
        {"user_id": 5},
        {"user_id": "*"},
        {"source": {"app": "a"}},
        {"valid_from": "2020-01-01T00:00:00Z"},
        {"key": "k"},
        {"id": "mem_y"},
        {"if_version": 1},
        {"scoope": "a"},
        {"user": "ann"},
        {"x-": 1},
    ],
    ids=lambda fields: "-".join(fields),
)
def test_update_with_a_wrong_field_is_refused(open_server: httpx.Client, user: str, fields: dict[str, Any]) -> None:
    memory = open_server.post("/memories", json={"content": "a", "user_id": user}).json()
    path = f"/memories/{memory['id']}"
    assert code_of(open_server.patch(path, json=fields)) == (400, "invalid_request")
    assert open_server.get(path).json() == memory


@pytest.mark.parametrize(
    "fields",
    [
        {"query": None},
        {"query": 5},
        {"query": ""},
        {"query": "a" * 10_001},
        {"token_budget": 0},
        {"token_budget": -5},
        {"token_budget": "500"},
        {"token_budget": 1.5},
        {"token_budget": True},
        {"token_budget": 10**30},
        {"scope": 5},
        {"tags": "a"},
        {"as_of": "now"},
        {"as_of": 5},
        {"user_id": 5},
        {"mode": "hybrid"},
    ],
    ids=str,
)
def test_context_with_a_wrong_field_is_refused(open_server: httpx.Client, fields: dict[str, Any]) -> None:
    body = {"query": "a", "user_id": "ann", **fields}
    assert code_of(open_server.post("/context", json=body)) == (400, "invalid_request")


@pytest.mark.parametrize("ids", [None, "mem_x", 5, [5], [""], {"a": 1}, ["a\u0000"]])
def test_waiting_for_what_are_no_ids_is_refused(open_server: httpx.Client, ids: object) -> None:
    reply = open_server.post("/memories/wait", json={"ids": ids, "user_id": "ann"})
    assert code_of(reply) == (400, "invalid_request")


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=501", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=%C2%B2", "limit=9" * 30),
        *("since=yesterday", "since=2026-01-01", "since=5", "until=", "as_of=2026-13-01T00:00:00Z"),
        *("scope=", "scope=a//b", "scope=%00", "tag=", "tag=%00", "cursor=", "cursor=junk", "cursor=%00"),
        *("include_superseded=yes", "include_expired=2", "include_expired=", "limit=1&limit=2", "user_id=bob"),
        *("tag=%FF", "tag=%ED%A0%80", "x=%FF", "&".join(f"p{n}=1" for n in range(201))),
    ],
)
def test_list_with_a_wrong_parameter_is_refused(open_server: httpx.Client, query: str) -> None:
    assert code_of(open_server.get(f"/memories?user_id=ann&{query}")) == (400, "invalid_request")


@pytest.mark.parametrize(
    "query",
    [
        *("q=a&mode=", "q=a&purpose="),
        *("", "q=", "q=%20", "q=%00", "q=a&q=b", "q=a&limit=1001", "q=a&limit=0", "q=a&min_score=nan"),
        *("q=a&min_score=inf", "q=a&min_score=-0.1", "q=a&min_score=1.1", "q=a&min_score=1_0", "q=a&min_score=1e999"),
        *(
            "q=a&mode=magic",
            "q=a&mode=",
            "q=a&purpose=",
            "q=a&tags=",
            "q=a&explain=maybe",
            "q=a&purpose=fun",
            "q=a&as_of=x",
            "q=a&scope=*/a",
        ),
    ],
)
def test_search_with_a_wrong_parameter_is_refused(open_server: httpx.Client, query: str) -> None:
    assert code_of(open_server.get(f"/memories/search?user_id=ann&{query}")) == (400, "invalid_request")


@pytest.mark.parametrize(
    "path",
    [
        *("/audit?user_id=ann&limit=0", "/audit?user_id=ann&limit=1001", "/audit?user_id=ann&since=x"),
        *("/audit?user_id=ann&app=", "/export?limit=0", "/export?limit=501", "/export?limit=x", "/export?cursor=junk"),
        "/export?cursor=",
    ],
)
def test_audit_or_export_with_a_wrong_parameter_is_refused(open_server: httpx.Client, path: str) -> None:
    assert code_of(open_server.get(path)) == (400, "invalid_request")


DEEP = b'{"content":"a","user_id":"ann","x-a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BAD_JSON = {
    "empty": b"",
    "blank": b"  ",
    "text": b"content",
    "cut": b'{"content":"a"',
    "two": b"{}{}",
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "nan": b'{"content":"a","user_id":"ann","confidence":NaN}',
    "nan in an extension": b'{"content":"a","user_id":"ann","x-a":NaN}',
    "infinity": b'{"content":"a","user_id":"ann","x-a":[-Infinity]}',
    "overflow": b'{"content":"a","user_id":"ann","x-a":1e999}',
    "confidence overflow": b'{"content":"a","user_id":"ann","confidence":1e999}',
    "huge number": b'{"content":"a","user_id":"ann","x-a":' + b"9" * 5000 + b"}",
    "duplicate": b'{"content":"a","content":"b","user_id":"ann"}',
    "duplicate inside": b'{"content":"a","user_id":"ann","x-a":{"b":1,"b":2}}',
    "deep": DEEP,
    "deep enough": b'{"content":"a","user_id":"ann","x-a":' + b"[" * 500 + b"]" * 500 + b"}",
    "not utf-8": b'{"content":"\xff","user_id":"ann"}',
    "latin-1": '{"content":"é","user_id":"ann"}'.encode("latin-1"),
    "utf-16": '{"content":"a","user_id":"ann"}'.encode("utf-16"),
    "bom": '{"content":"a","user_id":"ann"}'.encode("utf-8-sig"),
    "lone surrogate": b'{"content":"\\ud800","user_id":"ann"}',
    "lone surrogate user": b'{"content":"a","user_id":"\\udfff"}',
    "lone surrogate in an extension": b'{"content":"a","user_id":"ann","x-a":"\\ud800"}',
    "lone surrogate name": b'{"content":"a","user_id":"ann","x-\\ud800":1}',
    "nul": b'{"content":"a\\u0000","user_id":"ann"}',
    "nul in an extension": b'{"content":"a","user_id":"ann","x-a":{"b":"\\u0000"}}',
    "comment": b'{"content":"a",/* */"user_id":"ann"}',
    "trailing comma": b'{"content":"a","user_id":"ann",}',
}


@pytest.mark.parametrize("body", BAD_JSON.values(), ids=BAD_JSON)
@pytest.mark.parametrize("idempotent", [False, True], ids=["plain", "idempotent"])
def test_bad_json_is_refused_everywhere(keyed_server: Any, body: bytes, idempotent: bool) -> None:
    headers = {**keyed_server.key(), "Content-Type": "application/json"}
    if idempotent:
        headers["Idempotency-Key"] = f"bad-{hash(body)}"
    for method, path in [
        ("POST", "/memories"),
        ("POST", "/memories/batch"),
        ("PATCH", "/memories/mem_x"),
        ("POST", "/memories/wait"),
        ("POST", "/context"),
    ]:
        reply = keyed_server.client.request(method, path, content=body, headers=headers)
        assert code_of(reply) == (400, "invalid_request"), path


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/memories", "/memories/batch", "/context", "/import"])
def test_body_of_another_kind_is_refused(open_server: httpx.Client, path: str, headers: dict[str, str]) -> None:
    reply = open_server.post(path, content=b"{}", headers=headers)
    assert code_of(reply) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "Application/JSON", "application/ld+json"])
def test_json_by_any_name_is_taken(open_server: httpx.Client, user: str, kind: str) -> None:
    content = json.dumps({"content": "a", "user_id": user})
    assert open_server.post("/memories", content=content, headers={"Content-Type": kind}).status_code == 201


@pytest.mark.parametrize("seconds", ["0", "-1", "x", "nan", "inf", "", "1 2", "0e5", "1e-999"])
def test_timeout_that_is_none_is_refused(open_server: httpx.Client, seconds: str) -> None:
    reply = open_server.get("/memories?user_id=ann", headers={"X-OMP-Timeout": seconds})
    assert code_of(reply) == (400, "invalid_request")


def test_verb_ends_when_the_client_waits_no_longer(open_server: httpx.Client, user: str) -> None:
    open_server.post("/memories", json={"content": "tea", "user_id": user})
    reply = open_server.get(f"/memories/search?q=tea&user_id={user}", headers={"X-OMP-Timeout": "0.000001"})
    assert code_of(reply) == (504, "deadline_exceeded")
    reply = open_server.get(f"/memories/search?q=tea&user_id={user}", headers={"X-OMP-Timeout": "99999999"})
    assert reply.status_code == 200


@pytest.mark.parametrize("app", [b"", b"a\xff", b"a" * 101])
def test_app_that_is_none_is_refused(open_server: httpx.Client, app: bytes) -> None:
    reply = open_server.get("/memories?user_id=ann", headers=[(b"X-OMP-App", app)])
    assert code_of(reply) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/memory", "/memories/", "/memories/a/b", "/v0/memories", "/docs", "/memories//a"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_route_is_an_envelope(open_server: httpx.Client, path: str, method: str) -> None:
    assert code_of(open_server.request(method, path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("request_line", "allowed"),
    [
        ("PUT /memories", {"GET", "HEAD", "POST", "DELETE"}),
        ("POST /capabilities", {"GET", "HEAD"}),
        ("POST /", {"GET", "HEAD"}),
        ("PUT /memories/search", {"GET", "HEAD", "POST"}),
        ("GET /memories/batch", {"POST"}),
        ("PUT /memories/mem_x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("POST /memories/mem_x", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("DELETE /memories/mem_x/history", {"GET", "HEAD"}),
        ("GET /context", {"POST"}),
        ("OPTIONS /memories", {"GET", "HEAD", "POST", "DELETE"}),
        ("PUT /audit", {"GET", "HEAD"}),
    ],
)
def test_wrong_method_is_told_the_right_ones(open_server: httpx.Client, request_line: str, allowed: set[str]) -> None:
    reply = ask(open_server, request_line)
    assert code_of(reply) == (405, "method_not_allowed")
    assert set(reply.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/memories/%FF", "/memories/%00", "/memories/%20", "/memories/a%0Ab"])
def test_id_that_cannot_be_is_refused(open_server: httpx.Client, path: str) -> None:
    for reply in (open_server.get(path), open_server.delete(path), open_server.patch(path, json={"content": "a"})):
        assert code_of(reply) == (400, "invalid_request")


def test_two_different_users_in_a_request_are_refused(open_server: httpx.Client, user: str) -> None:
    memory = open_server.post("/memories", json={"content": "a", "user_id": user}).json()
    path, owner = f"/memories/{memory['id']}", {"X-User-Id": user}
    assert code_of(open_server.patch(path, json={"user_id": "bob"}, headers=owner)) == (400, "invalid_request")
    assert code_of(open_server.get(path, params={"user_id": "bob"}, headers=owner)) == (400, "invalid_request")
    assert open_server.patch(path, json={"user_id": user, "content": "b"}, headers=owner).json()["content"] == "b"


def test_memory_of_another_user_is_exactly_a_missing_one(open_server: httpx.Client, user: str) -> None:
    id = open_server.post("/memories", json={"content": "a", "user_id": user}).json()["id"]
    stranger = {"X-User-Id": f"{user}-2"}
    for method, suffix, body in [
        ("GET", "", None),
        ("GET", "/history", None),
        ("PATCH", "", {"content": "b"}),
        ("DELETE", "", None),
    ]:
        replies = [
            open_server.request(method, f"/memories/{name}{suffix}", headers=stranger, json=body)
            for name in (id, "mem_01ARZ3NDEKTSV4RRFFQ69G5FAV", "never")
        ]
        assert {code_of(reply) for reply in replies} == {(404, "not_found")}
        messages = {reply.json()["error"]["message"].replace(id, "?") for reply in replies[:1]}
        assert all(user not in message for message in messages)
    wait = open_server.post("/memories/wait", json={"ids": [id], "user_id": f"{user}-2"})
    assert code_of(wait) == (404, "not_found")
    assert open_server.get(f"/memories/{id}").json()["content"] == "a"


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("user=ann", "user_id"),
        ("userid=ann", "user_id"),
        ("user_id=ann&scoope=a", "scope"),
        ("user_id=ann&lmit=1", "limit"),
    ],
)
@pytest.mark.parametrize("path", ["/memories", "/memories/search", "/audit", "/export"])
def test_parameter_that_is_nearly_another_is_refused(
    open_server: httpx.Client, path: str, query: str, meant: str
) -> None:
    """It would be ignored, and a filter that is ignored shows too much."""
    reply = open_server.get(f"{path}?q=tea&{query}")
    assert code_of(reply) == (400, "invalid_request")
    assert f"did you mean {meant!r}?" in reply.json()["error"]["message"]
    assert open_server.get(f"{path}?q=tea&user_id=ann&score=1&later=2").status_code == 200


def test_search_in_an_address_names_q_to_those_who_write_query(open_server: httpx.Client) -> None:
    reply = open_server.get("/memories/search?query=tea&user_id=ann")
    assert code_of(reply) == (400, "invalid_request")
    assert "did you mean 'q'?" in reply.json()["error"]["message"]


def test_search_takes_query_for_q(open_server: httpx.Client, user: str) -> None:
    """The first client of the protocol calls it so."""
    open_server.post("/memories", json={"content": "prefers tea", "user_id": user})
    asked = [{"q": "tea", "user_id": user}, {"query": "tea", "user_id": user}]
    one, two = (open_server.post("/memories/search", json=body).json()["results"] for body in asked)
    assert [result["memory"]["content"] for result in one] == ["prefers tea"]
    assert one == two
    both = open_server.post("/memories/search", json={"q": "tea", "query": "tea", "user_id": user})
    assert code_of(both) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("path", "body", "meant"),
    [
        ("/memories/search", {"q": "a", "user_id": "ann", "scoope": "a"}, "scope"),
        ("/memories/search", {"qurey": "a", "user_id": "ann"}, "query"),
        ("/memories/search", {"q": "a", "user_id": "ann", "top_k": 3}, "limit"),
        ("/context", {"qury": "a", "user_id": "ann"}, "query"),
        ("/context", {"q": "a", "user_id": "ann"}, "query"),
        ("/memories/wait", {"id": [], "user_id": "ann"}, "ids"),
        ("/memories/batch", {"item": [GOOD]}, "items"),
        ("/memories/batch", {"items": [GOOD, {"contnt": "a", "user_id": "ann"}]}, "content"),
    ],
)
def test_misspelt_member_is_named_with_what_was_meant(
    open_server: httpx.Client, path: str, body: dict[str, Any], meant: str
) -> None:
    reply = open_server.post(path, json=body)
    assert code_of(reply) == (400, "invalid_request")
    assert f"did you mean {meant!r}?" in reply.json()["error"]["message"]
