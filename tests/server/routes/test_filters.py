"""Filters on metadata over HTTP: as JSON text in an address, as an object in a body."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"lang": "py"}, ["tea one"]),
    ({"n": {"$gt": 1, "$lt": 10.5}}, ["tea two"]),
    ({"$or": [{"a.b": 'x"y'}, {"lang": {"$exists": False}}]}, ["tea one", "tea three"]),
    ({}, ["tea one", "tea three", "tea two"]),
]
WRONG = [
    "{",
    "[]",
    "NaN",
    '{"a": 1, "a": 2}',
    '{"a": {"$like": 1}}',
    '{"a": [1]}',
    '{"a": 1e999}',
    "",
    '{"a": "\\u0000"}',
]


@pytest.fixture
def filled(open_server: httpx.Client, user: str) -> str:
    items = [
        {"content": "tea one", "metadata": {"lang": "py", "n": 1, "a": {"b": 'x"y'}}},
        {"content": "tea two", "metadata": {"lang": "js", "n": 10}},
        {"content": "tea three"},
    ]
    assert open_server.post("/memories/batch", json={"user_id": user, "items": items}).status_code == 201
    return user


def contents(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    body = reply.json()
    records = [result["memory"] for result in body["results"]] if "results" in body else body["items"]
    return sorted(record["content"] for record in records)


@pytest.mark.parametrize(("where", "expected"), FILTERS, ids=[json.dumps(where) for where, _ in FILTERS])
def test_filter_narrows_every_route_that_takes_it(
    open_server: httpx.Client, filled: str, where: dict[str, Any], expected: list[str]
) -> None:
    text = {"user_id": filled, "where": json.dumps(where)}
    assert contents(open_server.get("/memories", params=text)) == expected
    assert contents(open_server.get("/memories/search", params={**text, "q": "tea"})) == expected
    body = {"user_id": filled, "where": where}
    assert contents(open_server.post("/memories/search", json={**body, "q": "tea"})) == expected
    block = open_server.post("/context", json={**body, "query": "tea"}).json()
    assert len(block["citations"]) == len(expected)


def test_erasure_with_a_filter_spares_the_rest_and_says_what_was_meant(open_server: httpx.Client, filled: str) -> None:
    params = {"user_id": filled, "where": '{"lang": {"$in": ["py", null]}}'}
    receipt = open_server.delete("/memories", params=params).json()
    assert receipt["erased"]["memories"] == 1
    assert receipt["where"] == {"lang": {"$in": ["py", None]}}
    assert contents(open_server.get("/memories", params={"user_id": filled})) == ["tea three", "tea two"]


@pytest.mark.parametrize("text", WRONG)
def test_wrong_filter_is_a_400_that_names_it_and_erases_nothing(
    open_server: httpx.Client, filled: str, text: str
) -> None:
    params = {"user_id": filled, "where": text}
    for reply in (
        open_server.get("/memories", params=params),
        open_server.get("/memories/search", params={**params, "q": "tea"}),
        open_server.delete("/memories", params=params),
    ):
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "invalid_request"
        assert "where" in reply.json()["error"]["message"]
    assert len(contents(open_server.get("/memories", params={"user_id": filled}))) == 3


@pytest.mark.parametrize("where", ["{}", 7, [], {"$nor": []}])
def test_wrong_filter_in_a_body_is_a_400(open_server: httpx.Client, filled: str, where: Any) -> None:
    for path, words in (("/memories/search", "q"), ("/context", "query")):
        reply = open_server.post(path, json={"user_id": filled, words: "tea", "where": where})
        assert reply.status_code == 400
        assert "where" in reply.json()["error"]["message"]
