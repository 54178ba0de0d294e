"""Versions as entity tags: a copy that is still good, and a change that must not overwrite another."""

from __future__ import annotations

from typing import Any

import httpx
import pytest


@pytest.fixture
def path(open_server: httpx.Client, user: str) -> str:
    """The path of a memory at version 2."""
    memory = open_server.post("/memories", json={"content": "a", "user_id": user}).json()
    path = f"/memories/{memory['id']}"
    assert open_server.patch(path, json={"content": "b"}).headers["etag"] == '"2"'
    return path


@pytest.mark.parametrize("tags", ['"2"', "*", 'W/"2"', '"1", "2"', ' "x","2" '])
def test_copy_that_is_still_good_is_not_sent_again(open_server: httpx.Client, path: str, tags: str) -> None:
    reply = open_server.get(path, headers={"If-None-Match": tags.strip()})
    assert (reply.status_code, reply.headers["etag"], reply.content) == (304, '"2"', b"")


@pytest.mark.parametrize("tags", ['"1"', "2", "junk", '"22"', "'2'"])
def test_copy_that_is_old_is_replaced(open_server: httpx.Client, path: str, tags: str) -> None:
    assert open_server.get(path, headers={"If-None-Match": tags}).json()["version"] == 2


@pytest.mark.parametrize("tag", ['"2"', "*"])
def test_change_of_the_version_that_is_there_is_made(open_server: httpx.Client, path: str, tag: str) -> None:
    assert open_server.patch(path, json={"content": "c"}, headers={"If-Match": tag}).headers["etag"] == '"3"'


@pytest.mark.parametrize("tag", ['"1"', '"3"', '"999999999999"', '"abc"', 'W/"2"', '"02"', '""', '"0"'])
def test_change_of_another_version_is_refused(open_server: httpx.Client, path: str, tag: str) -> None:
    reply = open_server.patch(path, json={"content": "c"}, headers={"If-Match": tag})
    assert (reply.status_code, reply.json()["error"]["code"]) == (412, "version_conflict")
    assert open_server.get(path).json()["content"] == "b"


@pytest.mark.parametrize("tag", ["2", "", '"1", "2"', "junk", '"2', "'2'"])
def test_condition_that_is_none_is_refused(open_server: httpx.Client, path: str, tag: str) -> None:
    reply = open_server.patch(path, json={"content": "c"}, headers={"If-Match": tag})
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
    assert open_server.get(path).json()["content"] == "b"


def test_deletion_takes_no_condition(open_server: httpx.Client, path: str) -> None:
    assert open_server.delete(path, headers={"If-Match": '"1"'}).status_code == 400
    assert open_server.get(path).status_code == 200


def test_of_two_changes_of_one_version_one_is_made(open_server: httpx.Client, path: str) -> None:
    replies = [open_server.patch(path, json={"content": c}, headers={"If-Match": '"2"'}) for c in "xy"]
    assert [reply.status_code for reply in replies] == [200, 412]
    assert open_server.get(path).json()["content"] == "x"


def keyed(user: str, content: str = "a", **more: Any) -> dict[str, Any]:
    """A memory under a key."""
    return {"content": content, "user_id": user, "key": f"{user}/k", **more}


def at(user: str, name: str = "k") -> str:
    """The address of a memory by its key."""
    return f"/memories/by-key/{user}%2F{name}"


def test_memory_is_read_changed_and_erased_by_its_key(open_server: httpx.Client, user: str) -> None:
    made = open_server.post("/memories", json=keyed(user)).json()
    who, place = {"X-User-Id": user}, f"/memories/{made['id']}"
    got = open_server.get(at(user), headers=who)
    assert (got.json(), got.headers["etag"], got.headers["content-location"]) == (made, '"1"', place)
    known = open_server.get(at(user), params={"user_id": user}, headers={"If-None-Match": '"1"'})
    assert (known.status_code, known.headers["content-location"]) == (304, place)
    assert open_server.head(at(user), headers=who).headers["etag"] == '"1"'
    changed = open_server.patch(at(user), json={"content": "b", "user_id": user}, headers={"If-Match": '"1"'})
    assert (changed.json()["content"], changed.headers["etag"]) == ("b", '"2"')
    late = open_server.patch(at(user), json={"content": "c"}, headers={**who, "If-Match": '"1"'})
    assert (late.status_code, late.json()["error"]["details"]) == (412, {"version": 2})
    past = open_server.get(f"{at(user)}/history", headers=who).json()["items"]
    assert [state["content"] for state in past] == ["a"]
    assert open_server.delete(at(user), headers={**who, "If-Match": '"2"'}).status_code == 400
    gone = open_server.delete(at(user), headers=who)
    assert (gone.status_code, gone.headers["content-location"]) == (204, place)
    for reply in (
        open_server.get(at(user), headers=who),
        open_server.get(place),
        open_server.delete(at(user), headers=who),
    ):
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "not_found")


def test_key_is_that_of_a_user(open_server: httpx.Client, user: str) -> None:
    open_server.post("/memories", json=keyed(user))
    for reply in (open_server.get(at(user)), open_server.patch(at(user), json={}), open_server.delete(at(user))):
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")
        assert reply.json()["error"]["message"].startswith("user_id is required")
    assert open_server.get(at(user), headers={"X-User-Id": f"{user}-2"}).status_code == 404
    assert open_server.get("/memories/by-key/%FF", headers={"X-User-Id": user}).status_code == 400
    # An id that is called as the route of keys is written so that it does not lead there.
    assert open_server.get("/memories/%62y-key/history").status_code == 404


@pytest.mark.parametrize("headers", [{"If-None-Match": "*"}, {}], ids=["header", "member"])
def test_memory_is_stored_only_where_none_is(open_server: httpx.Client, user: str, headers: dict[str, str]) -> None:
    body = keyed(user) if headers else keyed(user, if_absent=True)
    first, second = (open_server.post("/memories", json=body, headers=headers) for _ in range(2))
    assert first.status_code == 201
    assert "if_absent" not in first.json()
    error = second.json()["error"]
    assert (second.status_code, error["code"], error["type"]) == (409, "already_exists", "invalid")
    assert error["details"] == {"id": first.json()["id"], "version": 1}


@pytest.mark.parametrize("headers", [{"If-Match": '"1"'}, {}], ids=["header", "member"])
def test_memory_is_stored_only_in_the_place_of_a_version(
    open_server: httpx.Client, user: str, headers: dict[str, str]
) -> None:
    body = keyed(user, "b") if headers else keyed(user, "b", if_version=1)
    none = open_server.post("/memories", json=body, headers=headers)
    assert (none.status_code, none.json()["error"]["code"]) == (412, "version_conflict")
    open_server.post("/memories", json=keyed(user))
    if not headers:  # to JSON, 1.0 is the same number
        body["if_version"] = 1.0
    replies = [open_server.post("/memories", json=body, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 412]
    assert replies[1].json()["error"]["details"] == {"version": 2}


@pytest.mark.parametrize(
    ("headers", "more", "status"),
    [
        ({"If-None-Match": '"1"'}, {}, 400),
        ({"If-Match": "*"}, {}, 400),
        ({"If-Match": "1"}, {}, 400),
        ({"If-Match": 'W/"1"'}, {}, 412),
        ({"If-Match": '"1"', "If-None-Match": "*"}, {}, 400),
        ({"If-None-Match": "*"}, {"if_absent": True}, 400),
        ({"If-Match": '"1"'}, {"if_version": 1}, 400),
        ({"If-None-Match": "*"}, {"key": None}, 400),
        ({}, {"if_absent": 1}, 400),
        ({}, {"if_absent": True, "if_version": 1}, 400),
        ({}, {"if_version": "1"}, 400),
        ({}, {"if_absent": False, "if_version": None}, 201),
    ],
)
def test_terms_that_say_nothing_are_refused(
    open_server: httpx.Client, user: str, headers: dict[str, str], more: dict[str, Any], status: int
) -> None:
    reply = open_server.post("/memories", json=keyed(user, **more), headers=headers)
    assert reply.status_code == status
    stored = open_server.get("/memories", params={"user_id": user}).json()["items"]
    assert len(stored) == (status == 201)


def test_item_of_a_batch_that_may_not_be_stored_is_named(open_server: httpx.Client, user: str) -> None:
    made = open_server.post("/memories", json=keyed(user)).json()
    items = [{"content": "b"}, {"content": "c", "key": made["key"], "if_absent": True}]
    reply = open_server.post("/memories/batch", json={"items": items, "user_id": user})
    assert reply.status_code == 409
    assert reply.json()["error"]["details"] == {"id": made["id"], "version": 1, "index": 1}
    items[1] = {"content": "c", "key": made["key"], "if_version": 2.0}
    assert open_server.post("/memories/batch", json={"items": items, "user_id": user}).status_code == 412
    assert len(open_server.get("/memories", params={"user_id": user}).json()["items"]) == 1
