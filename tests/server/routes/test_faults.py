"""Faults that earlier servers of this protocol had, one test each, on the embedded store and on Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from openmem import Memory
from openmem.testing.postgres import PostgresServer
from tests.server.running import running


@pytest.fixture(scope="module")
def postgres_server(postgres: PostgresServer) -> Iterator[httpx.Client]:
    """A server without keys, over Postgres."""
    url = postgres.new_database()
    with running(url) as client:
        yield client
    postgres.drop_database(url)


@pytest.fixture(params=["open_server", "postgres_server"])
def server(request: pytest.FixtureRequest) -> httpx.Client:
    """A server on either store."""
    found: httpx.Client = request.getfixturevalue(request.param)
    return found


def code_of(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


@pytest.fixture
def memory(server: httpx.Client, user: str) -> dict[str, str]:
    """A memory of the user."""
    found: dict[str, str] = server.post("/memories", json={"content": "green tea", "user_id": user}).json()
    return found


def test_fault_01_own_client_works_against_own_server(server: httpx.Client, user: str) -> None:
    with Memory(url=str(server.base_url), app="client") as client:
        record = client.add(content="green tea", user_id=user, scope="a/b")
        assert client.get(record.id, user_id=user) == record
        assert client.update(record.id, content="oolong tea", user_id=user).version == 2
        assert client.search("tea", user)[0].memory.id == record.id
        assert client.context("tea", user).citations[0].memory_id == record.id
        assert [item.id for item in client.list(user).items] == [record.id]
        assert {entry.app for entry in client.audit(user)} == {"client"}
        exported = json.loads(client.export(user).lines[0])
        assert exported["provider"] == client.capabilities().provider == server.get("/capabilities").json()["provider"]
        client.delete(record.id, user_id=user)
        assert client.list(user).items == []


def test_fault_02_by_id_routes_check_whose_memory_it_is(
    server: httpx.Client, user: str, memory: dict[str, str]
) -> None:
    path, stranger = f"/memories/{memory['id']}", {"X-User-Id": f"{user}-2"}
    assert code_of(server.get(path, headers=stranger)) == (404, "not_found")
    assert code_of(server.patch(path, json={"content": "b"}, headers=stranger)) == (404, "not_found")
    assert code_of(server.delete(path, headers=stranger)) == (404, "not_found")
    assert server.get(path, headers={"X-User-Id": user}).json() == memory


def test_fault_03_update_takes_a_user_and_an_extension(server: httpx.Client, user: str, memory: dict[str, str]) -> None:
    path = f"/memories/{memory['id']}"
    assert server.patch(path, json={"user_id": user, "content": "b"}).json()["content"] == "b"
    assert server.patch(path, json={"user_id": user, "x-a": 1}).json()["x-a"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/memories", b"{"),
        ("/memories", b'{"user_id":"u"}'),
        ("/memories", b'{"content":[],"user_id":"u"}'),
        ("/context", b'{"query":"a","user_id":"u","token_budget":"many"}'),
        ("/context", b""),
    ],
)
def test_fault_04_wrong_body_is_no_failure_of_the_server(server: httpx.Client, path: str, body: bytes) -> None:
    assert code_of(server.post(path, content=body)) == (400, "invalid_request")


@pytest.mark.parametrize("cursor", ["junk", "%00", "====", "bnVsbA", "e30", "a" * 5000, "é", "8J+YgA=="])
def test_fault_13_junk_cursor_is_refused(server: httpx.Client, user: str, cursor: str) -> None:
    assert code_of(server.get("/memories", params={"user_id": user, "cursor": cursor})) == (400, "invalid_request")
    assert code_of(server.get("/export", params={"user_id": user, "cursor": cursor})) == (400, "invalid_request")


def test_fault_13_time_without_an_offset_is_refused(server: httpx.Client, user: str) -> None:
    reply = server.get("/memories", params={"user_id": user, "since": "2026-01-01T00:00:00"})
    assert code_of(reply) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/index.html", "/nowhere", "/memories/", "/memories/a/b/c"])
def test_fault_19_unknown_route_is_an_envelope_with_a_request_id(server: httpx.Client, path: str) -> None:
    reply = server.get(path, headers={"X-Request-Id": "r-1"})
    assert code_of(reply) == (404, "not_found")
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"] == "r-1"


def test_fault_20_message_tells_nothing_of_the_store(server: httpx.Client, user: str) -> None:
    replies = [
        server.get("/memories", params={"user_id": user, "cursor": "junk"}),
        server.get("/memories/mem_x"),
        server.post("/memories", json={"content": "a\u0000", "user_id": user}),
        server.get("/memories/search", params={"user_id": user, "q": "a", "mode": "vector"}),
    ]
    for reply in replies:
        message = reply.json()["error"]["message"].lower()
        assert not any(word in message for word in ("sql", "127.0.0.1", "select", "traceback", "/tmp", user))


def test_fault_21_head_is_an_answer_on_every_path(server: httpx.Client) -> None:
    assert server.head("/nowhere").status_code == 404
    assert server.head("/capabilities").status_code == 200


def test_fault_11_signs_of_sql_mean_nothing_in_a_scope(server: httpx.Client, user: str) -> None:
    for scope in ("a_b", "axb", "a%"):
        server.post("/memories", json={"content": "a", "user_id": user, "scope": scope})
    for scope in ("a_b", "a%"):
        items = server.get("/memories", params={"user_id": user, "scope": scope}).json()["items"]
        assert [item["scope"] for item in items] == [scope]


@pytest.mark.parametrize("value", ["a\u0000", "\u0000"])
def test_fault_32_nul_is_refused_wherever_text_is_taken(
    server: httpx.Client, user: str, memory: dict[str, str], value: str
) -> None:
    for fields in ({"content": value}, {"scope": value}, {"tags": [value]}, {"key": value}, {"x-a": value}):
        reply = server.post("/memories", json={"content": "a", "user_id": user, **fields})
        assert code_of(reply) == (400, "invalid_request")
    for name in ("user_id", "scope", "tag", "cursor"):
        query = {"user_id": user, name: value}
        assert code_of(server.get("/memories", params=query)) == (400, "invalid_request")
    assert code_of(server.get("/memories/search", params={"user_id": user, "q": value})) == (400, "invalid_request")
    assert code_of(server.patch(f"/memories/{memory['id']}", json={"content": value})) == (400, "invalid_request")


@pytest.mark.parametrize("budget", [0, -1, -(10**9)])
def test_fault_32_budget_and_limit_below_one_are_refused(server: httpx.Client, user: str, budget: int) -> None:
    body = {"query": "a", "user_id": user, "token_budget": budget}
    assert code_of(server.post("/context", json=body)) == (400, "invalid_request")
    assert code_of(server.get("/memories", params={"user_id": user, "limit": budget})) == (400, "invalid_request")


def test_fault_26_what_the_client_leaves_unchecked_is_checked(server: httpx.Client, user: str) -> None:
    for fields in ({"content": ""}, {"confidence": 7}, {"tags": [f"t{n}" for n in range(101)]}):
        reply = server.post("/memories", json={"content": "a", "user_id": user, **fields})
        assert code_of(reply) == (400, "invalid_request")


def test_fault_30_misspelt_field_is_refused_and_null_clears(server: httpx.Client, user: str) -> None:
    assert code_of(server.post("/memories", json={"content": "a", "user_id": user, "scoope": "s"})) == (
        400,
        "invalid_request",
    )
    memory = server.post("/memories", json={"content": "a", "user_id": user, "scope": "s"}).json()
    assert "scope" not in server.patch(f"/memories/{memory['id']}", json={"scope": None}).json()
