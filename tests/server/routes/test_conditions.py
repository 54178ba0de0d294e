"""Versions as entity tags: a copy that is still good, and a change that must not overwrite another."""

from __future__ import annotations

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
