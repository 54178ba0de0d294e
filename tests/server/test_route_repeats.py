"""`Idempotency-Key`: a request that is sent twice is done once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from openmem import Memory
from openmem.testing.postgres import PostgresServer
from tests.server.running import Place, running_with_store


@pytest.fixture(scope="session")
def open_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server without keys that has a store."""
    folder = tmp_path_factory.mktemp("open-place")
    with running_with_store(f"sqlite:///{folder / 'memories.db'}", f"sqlite:///{folder / 'server.db'}") as place:
        yield place


@pytest.fixture(scope="module")
def postgres_place(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same, with memories and store in Postgres."""
    url = postgres.new_database()
    with running_with_store(url, url) as place:
        yield place
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """A server on either store."""
    name = "open_place" if request.param == "sqlite" else "postgres_place"
    found: Place = request.getfixturevalue(name)
    return found


def count(client: httpx.Client, user: str) -> int:
    return len(client.get("/memories", params={"user_id": user, "limit": 500}).json()["items"])


def named(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_second_time_gets_the_first_answer(place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user, "x-a": 1}
    first, second = (place.client.post("/memories", json=body, headers=named(user)) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    for name in ("etag", "location", "content-type"):
        assert first.headers[name] == second.headers[name]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert count(place.client, user) == 1


def test_batch_is_repeatable_too(place: Place, user: str) -> None:
    body = {"items": [{"content": f"fact {number}"} for number in range(20)], "user_id": user}
    first, second = (place.client.post("/memories/batch", json=body, headers=named(user)) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert count(place.client, user) == 20


def test_batch_of_several_users_is_repeatable_though_its_reply_is_not_kept(place: Place, user: str) -> None:
    body = {"items": [{"content": "a", "user_id": user}, {"content": "b", "user_id": f"{user}-2"}]}
    first, second = (place.client.post("/memories/batch", json=body, headers=named(user)) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert (count(place.client, user), count(place.client, f"{user}-2")) == (1, 1)


def test_same_key_for_something_else_is_a_conflict(place: Place, user: str) -> None:
    place.client.post("/memories", json={"content": "tea", "user_id": user}, headers=named(user))
    other = [
        place.client.post("/memories", json={"content": "coffee", "user_id": user}, headers=named(user)),
        place.client.post(
            "/memories/batch", json={"items": [{"content": "tea", "user_id": user}]}, headers=named(user)
        ),
    ]
    for reply in other:
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "idempotency_conflict")
        assert reply.json()["error"]["type"] == "invalid"
    assert count(place.client, user) == 1


def test_many_at_once_store_one_memory_and_agree(place: Place, user: str) -> None:
    body, replies, start = {"content": "tea", "user_id": user}, list[httpx.Response](), threading.Barrier(8)

    def send() -> None:
        start.wait(10)
        replies.append(place.client.post("/memories", json=body, headers=named(user)))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert count(place.client, user) == 1


@pytest.mark.parametrize("key", ["", "a b", "a\tb", "é".encode(), "a" * 256])
def test_key_that_is_none_is_refused(open_place: Place, user: str, key: str) -> None:
    reply = open_place.client.post(
        "/memories", json={"content": "a", "user_id": user}, headers={"Idempotency-Key": key}
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert count(open_place.client, user) == 0


def test_refused_request_is_judged_again(open_place: Place, user: str) -> None:
    body = {"content": " ", "user_id": user}
    for _ in range(2):
        reply = open_place.client.post("/memories", json=body, headers=named(user))
        assert reply.status_code == 400
        assert "idempotent-replayed" not in reply.headers


def test_keys_of_callers_have_nothing_to_do_with_each_other(keyed_server: Place, user: str) -> None:
    for _ in range(2):
        headers = {**keyed_server.key(), **named(user)}
        reply = keyed_server.client.post("/memories", json={"content": "a", "user_id": user}, headers=headers)
        assert "idempotent-replayed" not in reply.headers
    assert count_with(keyed_server, user) == 2


def count_with(place: Place, user: str) -> int:
    return len(place.client.get("/memories", params={"user_id": user}, headers=place.key()).json()["items"])


def test_erased_user_is_in_no_remembered_reply(open_place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user}
    open_place.client.post("/memories", json=body, headers=named(user))
    open_place.client.delete("/memories", params={"user_id": user})
    again = open_place.client.post("/memories", json=body, headers=named(user))
    assert "idempotent-replayed" not in again.headers
    assert count(open_place.client, user) == 1


def test_repetition_after_a_restart_gets_the_first_answer(tmp_path: Path, user: str) -> None:
    memories, store = f"sqlite:///{tmp_path / 'memories.db'}", f"sqlite:///{tmp_path / 'server.db'}"
    body = {"content": "tea", "user_id": user}
    with running_with_store(memories, store) as place:
        first = place.client.post("/memories", json=body, headers=named("k")).json()
    with running_with_store(memories, store) as place:
        second = place.client.post("/memories", json=body, headers=named("k"))
        assert (second.json(), second.headers["idempotent-replayed"]) == (first, "true")
    with Memory(url=memories, embedder="none") as memory:
        assert len(memory.list(user).items) == 1
