"""`Idempotency-Key`: a request that is sent twice is done once."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from openmem import Memory
from openmem._config.settings import sqlite_path
from openmem.testing.postgres import PostgresServer
from tests.postgres_catalog import execute
from tests.server.running import Place, running_with_store
from tests.server_stores import written


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


PlaceText = Callable[[], str]


@pytest.fixture
def place_text(place: Place) -> PlaceText:
    """All that the server's store holds."""
    return lambda: written(place.store_url).decode(errors="replace")


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


def test_reply_that_only_mentions_a_deleted_memory_is_sent_again(place: Place, user: str) -> None:
    gone = place.client.post("/memories", json={"content": "tea", "user_id": user}).json()["id"]
    mention = {"id": gone, "items": [{"id": gone}]}
    body = {"content": f"{gone} was gone", "user_id": user, "x-a": mention, "supersedes": [gone]}
    first = place.client.post("/memories", json=body, headers=named(user))
    assert place.client.delete(f"/memories/{gone}").status_code == 204
    assert place.client.post("/memories", json=body, headers=named(user)).content == first.content
    assert place.client.delete(f"/memories/{first.json()['id']}").status_code == 204
    assert place.client.post("/memories", json=body, headers=named(user)).status_code == 404


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


@pytest.mark.parametrize(
    "wrong",
    [{"content": " "}, {"content": "a", "confidence": 7}, {"content": "a", "scoope": "b"}],
    ids=["blank", "out of bounds", "misspelt member"],
)
def test_refused_request_does_not_use_up_its_key(place: Place, user: str, wrong: dict[str, object]) -> None:
    refused = place.client.post("/memories", json={"user_id": user, **wrong}, headers=named(user))
    assert refused.status_code == 400
    batch = {"items": [{"content": "a"}, {"content": ""}], "user_id": user}
    assert place.client.post("/memories/batch", json=batch, headers=named(user)).status_code == 400
    right = {"content": "tea", "user_id": user}
    first, second = (place.client.post("/memories", json=right, headers=named(user)) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert count(place.client, user) == 1


def test_request_without_the_grant_does_not_use_up_its_key(keyed_server: Place, user: str) -> None:
    headers = {**keyed_server.key("write:a", "read:*"), **named(user)}
    body = {"content": "tea", "user_id": user, "scope": "b"}
    assert keyed_server.client.post("/memories", json=body, headers=headers).status_code == 403
    body["scope"] = "a"
    assert keyed_server.client.post("/memories", json=body, headers=headers).status_code == 201


def test_key_of_a_stored_memory_stays_used_up_by_a_request_that_is_refused(place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user}
    place.client.post("/memories", json=body, headers=named(user))
    assert place.client.post("/memories", json={**body, "content": ""}, headers=named(user)).status_code == 409
    assert place.client.post("/memories", json=body, headers=named(user)).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("told", [True, False], ids=["of a named user", "by its id alone"])
@pytest.mark.parametrize("many", [False, True], ids=["one", "batch"])
def test_deleted_memory_is_in_no_kept_reply_and_does_not_come_back(
    place: Place, place_text: PlaceText, user: str, told: bool, many: bool
) -> None:
    content = f"{user} takes iron"
    path: str = "/memories"
    body: dict[str, Any] = {"content": content, "user_id": user}
    if many:
        path, body = "/memories/batch", {"items": [{"content": content}, {"content": "tea"}], "user_id": user}
    made = place.client.post(path, json=body, headers=named(user)).json()
    memory = made["items"][0] if many else made
    other = {"content": "drinks coffee", "user_id": user, "supersedes": [memory["id"]]}
    kept = place.client.post("/memories", json=other, headers=named(f"{user}-2"))
    assert content in place_text()
    owner = {"X-User-Id": user} if told else {}
    assert place.client.delete(f"/memories/{memory['id']}", headers=owner).status_code == 204
    assert content not in place_text()
    before = count(place.client, user)
    for _ in range(2):
        again = place.client.post(path, json=body, headers=named(user))
        assert (again.status_code, again.json()["error"]["code"]) == (404, "not_found")
        assert "deleted" in again.json()["error"]["message"]
    assert count(place.client, user) == before == 1 + many
    assert place.client.post(path, json={**body, "user_id": f"{user}-3"}, headers=named(user)).status_code == 409
    # A reply that only names it says what it said.
    assert place.client.post("/memories", json=other, headers=named(f"{user}-2")).content == kept.content


def big_batch(user: str) -> dict[str, Any]:
    """A batch whose reply is too large to be kept."""
    return {"items": [{"content": f"{number} {'x' * 99_000}", "user_id": user} for number in range(11)]}


def small_batch(user: str) -> dict[str, Any]:
    """A batch whose reply is not kept, as several users are in it."""
    return {"items": [{"content": "a", "user_id": user}, {"content": "b", "user_id": f"{user}-2"}]}


@pytest.mark.parametrize("told", [True, False], ids=["of a named user", "by its id alone"])
@pytest.mark.parametrize("batch", [big_batch, small_batch])
def test_deleted_memory_does_not_come_back_by_a_batch_whose_reply_is_not_kept(
    place: Place, user: str, batch: Callable[[str], dict[str, Any]], told: bool
) -> None:
    body = batch(user)
    made = place.client.post("/memories/batch", json=body, headers=named(user)).json()["items"]
    again = place.client.post("/memories/batch", json=body, headers=named(user))
    assert again.json()["items"] == made  # as long as they are all there
    owner = {"X-User-Id": made[-1]["user_id"]} if told else {}
    assert place.client.delete(f"/memories/{made[-1]['id']}", headers=owner).status_code == 204
    for _ in range(2):
        late = place.client.post("/memories/batch", json=body, headers=named(user))
        assert (late.status_code, late.json()["error"]["code"]) == (404, "not_found")
    mine = [memory for memory in made if memory["user_id"] == made[-1]["user_id"]]
    assert count(place.client, made[-1]["user_id"]) == len(mine) - 1


def test_memory_that_was_deleted_before_its_request_was_answered_does_not_come_back(place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user}
    made = place.client.post("/memories", json=body, headers=named(user)).json()
    forget_answer(place, user)
    assert place.client.post("/memories", json=body, headers=named(user)).json() == made  # its seed is enough
    forget_answer(place, user)
    assert place.client.delete(f"/memories/{made['id']}").status_code == 204
    assert place.client.post("/memories", json=body, headers=named(user)).status_code == 404
    assert count(place.client, user) == 0


def test_answer_that_is_sent_again_is_the_first_one_whatever_became_of_the_memory(place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user}
    first = place.client.post("/memories", json=body, headers=named(user))
    path = f"/memories/{first.json()['id']}"
    assert place.client.patch(path, json={"content": "coffee"}).headers["etag"] == '"2"'
    again = place.client.post("/memories", json=body, headers=named(user))
    assert (again.content, again.headers["etag"]) == (first.content, '"1"')
    stale = {"If-Match": again.headers["etag"]}
    assert place.client.patch(path, json={"content": "milk"}, headers=stale).status_code == 412
    assert place.client.get(path).json()["content"] == "coffee"


def test_batch_whose_answer_is_not_kept_is_answered_with_the_memories_as_they_are_now(place: Place, user: str) -> None:
    made = place.client.post("/memories/batch", json=small_batch(user), headers=named(user)).json()["items"]
    place.client.patch(f"/memories/{made[0]['id']}", json={"content": "changed"})
    again = place.client.post("/memories/batch", json=small_batch(user), headers=named(user)).json()["items"]
    assert [memory["content"] for memory in again] == ["changed", "b"]


def test_change_does_not_know_the_header_and_is_guarded_by_its_version(place: Place, user: str) -> None:
    made = place.client.post("/memories", json={"content": "tea", "user_id": user}).json()
    path = f"/memories/{made['id']}"
    plain = [place.client.patch(path, json={"content": "milk"}, headers=named(user)).headers for _ in range(2)]
    assert [headers["etag"] for headers in plain] == ['"2"', '"3"']
    guarded = {**named(user), "If-Match": '"3"'}
    replies = [place.client.patch(path, json={"content": "coffee"}, headers=guarded) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 412]
    assert replies[1].json()["error"]["details"] == {"version": 4}


def forget_answer(place: Place, key: str) -> None:
    """Leave the request as a server does that dies after it stored the memory and before it answered."""
    change = "update {}replies set status = null, headers = null, body = null, ids = null where idempotency_key = '{}'"
    if place.store_url.startswith("postgresql:"):
        execute(place.store_url, change.format("openmem_server.", key))
        return
    with closing(sqlite3.connect(sqlite_path(place.store_url))) as file, file:
        file.execute(change.format("", key))


def test_repeated_request_for_a_new_key_gets_its_memory_again_and_no_conflict(place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user, "key": "k"}
    once = {**named(user), "If-None-Match": "*"}
    made = place.client.post("/memories", json=body, headers=once)
    again = place.client.post("/memories", json=body, headers=once)
    assert (again.status_code, again.content) == (201, made.content)
    forget_answer(place, user)
    assert place.client.post("/memories", json=body, headers=once).json() == made.json()  # its seed is enough
    # The same bytes on other terms are another request, under the same name and under another one.
    assert (
        place.client.post("/memories", json=body, headers=named(user)).json()["error"]["code"] == "idempotency_conflict"
    )
    other = {**named(f"{user}-2"), "If-None-Match": "*"}
    for _ in range(2):
        reply = place.client.post("/memories", json=body, headers=other)
        assert (reply.status_code, reply.json()["error"]["code"]) == (409, "already_exists")
    assert place.client.delete("/memories/by-key/k", headers={"X-User-Id": user}).status_code == 204
    assert place.client.post("/memories", json=body, headers=other).status_code == 201  # it was refused, and so is free


def test_repeated_request_for_a_version_gets_its_memory_again_and_no_conflict(place: Place, user: str) -> None:
    place.client.post("/memories", json={"content": "tea", "user_id": user, "key": "k"})
    body = {"content": "milk", "user_id": user, "key": "k", "if_version": 1}
    made = place.client.post("/memories", json=body, headers=named(user)).json()
    forget_answer(place, user)
    assert place.client.post("/memories", json=body, headers=named(user)).json() == made
    batch = {"items": [{**body, "if_version": 2}, {"content": "new"}], "user_id": user}
    first = place.client.post("/memories/batch", json=batch, headers=named(f"{user}-2")).json()
    forget_answer(place, f"{user}-2")
    assert place.client.post("/memories/batch", json=batch, headers=named(f"{user}-2")).json() == first
    assert [memory["version"] for memory in first["items"]] == [3, 1]


def test_memory_deleted_by_its_key_is_in_no_kept_reply(place: Place, place_text: PlaceText, user: str) -> None:
    content = f"{user} takes iron"
    body = {"content": content, "user_id": user, "key": "k"}
    place.client.post("/memories", json=body, headers=named(user))
    assert content in place_text()
    assert place.client.delete("/memories/by-key/k", headers={"X-User-Id": user}).status_code == 204
    assert content not in place_text()
    assert place.client.post("/memories", json=body, headers=named(user)).status_code == 404


def test_memory_deleted_by_its_key_behind_another_server_is_in_no_kept_reply(tmp_path: Path, user: str) -> None:
    behind, own = f"sqlite:///{tmp_path / 'memories.db'}", [f"sqlite:///{tmp_path / f'{n}.db'}" for n in range(2)]
    body = {"content": f"{user} takes iron", "user_id": user, "key": "k"}
    with running_with_store(behind, own[0]) as inner, running_with_store(str(inner.client.base_url), own[1]) as outer:
        assert outer.client.post("/memories", json=body, headers=named(user)).status_code == 201
        other = outer.client.post("/memories", json={**body, "key": "o"}, headers=named(f"{user}-2"))
        gone = outer.client.delete("/memories/by-key/k", headers={"X-User-Id": user})
        assert gone.status_code == 204
        assert outer.client.post("/memories", json=body, headers=named(user)).status_code == 404
        kept = outer.client.post("/memories", json={**body, "key": "o"}, headers=named(f"{user}-2"))
        assert (kept.content, kept.headers["idempotent-replayed"]) == (other.content, "true")
        assert gone.headers["content-location"] != other.headers["location"]


def test_memory_of_another_user_stays_in_its_reply(place: Place, user: str) -> None:
    body = {"content": "tea", "user_id": user}
    memory = place.client.post("/memories", json=body, headers=named(user)).json()
    path = f"/memories/{memory['id']}"
    assert place.client.delete(path, headers={"X-User-Id": f"{user}-2"}).status_code == 404
    assert place.client.post("/memories", json=body, headers=named(user)).json() == memory


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
