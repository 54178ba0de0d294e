"""The verbs as requests over HTTP, word for word: what another server would get to see."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from openmem._model.access import IdempotencySeed
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key
from openmem._model.requests import AuditQuery, Change, Draft, HistoryQuery, ListQuery, SearchQuery, View
from openmem._model.scopes import parse_pattern
from openmem._model.where import parse_where
from openmem._protocol import requests
from openmem._protocol.http_messages import HttpRequest
from openmem.types import UTC

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
AT = "2026-05-01T12:00:00+00:00"
JSON = {"Content-Type": "application/json"}
FULL: dict[str, Any] = {
    "scope": "s/t",
    "tags": ("x", "y"),
    "source": {"app": "chat"},
    "confidence": 0.5,
    "valid_from": NOW,
    "valid_to": NOW,
    "supersedes": ("o",),
    "key": "k",
    "id": "i",
    "created_at": NOW,
    "updated_at": NOW,
}
FULL_JSON: dict[str, Any] = {
    **{"content": "té", "user_id": "ann", "scope": "s/t", "tags": ["x", "y"], "source": {"app": "chat"}},
    **{"confidence": 0.5, "valid_from": AT, "valid_to": AT, "supersedes": ["o"], "key": "k", "id": "i"},
    **{"created_at": AT, "updated_at": AT, "x-kit": None},
}


def body_of(request: HttpRequest) -> Any:
    assert request.body is not None
    return json.loads(request.body)


def sent(request: HttpRequest) -> tuple[Any, ...]:
    return request.method, request.path, request.params, dict(request.headers), request.retry_safe, request.anonymous


def test_capabilities_are_asked_for_without_a_key() -> None:
    assert requests.capabilities() == HttpRequest("GET", "/capabilities", retry_safe=True, anonymous=True)


def test_one_memory_is_posted_with_all_that_it_has() -> None:
    request = requests.add([Draft("té", "ann", **FULL, extensions={"x-kit": None}, version=3)], None)
    assert sent(request) == ("POST", "/memories", None, JSON, False, False)
    assert body_of(request) == FULL_JSON
    assert "té".encode() in (request.body or b"")
    assert body_of(requests.add([Draft("a", "ann")], None)) == {"content": "a", "user_id": "ann"}


def test_several_memories_are_posted_as_a_batch_that_may_be_repeated_under_its_name() -> None:
    request = requests.add([Draft("a", "ann"), Draft("b", "bob")], "req-1")
    assert sent(request) == ("POST", "/memories/batch", None, {**JSON, "Idempotency-Key": "req-1"}, True, False)
    assert body_of(request) == {"items": [{"content": "a", "user_id": "ann"}, {"content": "b", "user_id": "bob"}]}
    single = requests.add([Draft("a", "ann")], "req-1")
    assert (single.headers["Idempotency-Key"], single.retry_safe) == ("req-1", True)
    assert not requests.add([Draft("a", "ann"), Draft("b", "bob")], None).retry_safe


def test_name_of_an_add_is_that_of_its_seed_and_hides_it() -> None:
    assert requests.once_name("req-1", None) == "req-1"
    name = requests.once_name("req-1", IdempotencySeed(NOW, 7))
    assert name == requests.once_name("req-2", IdempotencySeed(NOW, 7))
    assert name == "5d329f9cadbd974a3f8e5b23bbdc260ced08f60c8f2de9bebaae8f60e250622d"  # as releases before made it
    assert (
        len(
            {
                name,
                requests.once_name("", IdempotencySeed(NOW, 8)),
                requests.once_name("", IdempotencySeed(NOW.replace(hour=1), 7)),
            }
        )
        == 3
    )


def test_memory_is_read_changed_and_erased_by_its_id_and_user() -> None:
    owner = {"X-User-Id": "änn".encode()}
    assert sent(requests.get("mem 1/2", "änn")) == ("GET", "/memories/mem%201%2F2", None, owner, True, False)
    assert sent(requests.get("a", None)) == ("GET", "/memories/a", None, {}, True, False)
    assert sent(requests.delete("a", "änn")) == ("DELETE", "/memories/a", None, owner, False, False)


@pytest.mark.parametrize(
    ("id_", "path"),
    [
        ("search", "/memories/%73earch"),
        ("batch", "/memories/%62atch"),
        ("wait", "/memories/%77ait"),
        (".", "/memories/%2E"),
        ("..", "/memories/%2E."),
        ("é", "/memories/%C3%A9"),
        ("a.b", "/memories/a.b"),
    ],
)
def test_id_that_is_the_name_of_a_route_does_not_lead_there(id_: str, path: str) -> None:
    assert requests.get(id_, None).path == path


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("home", "home"),
        ("a/b c", "a%2Fb%20c"),
        ("..", "%2E."),
        ("history", "history"),
        ("search", "search"),
        ("ключ\n", "%D0%BA%D0%BB%D1%8E%D1%87%0A"),
    ],
)
def test_memory_is_named_by_its_key(key: str, path: str) -> None:
    owner = {"X-User-Id": b"ann"}
    place = f"/memories/by-key/{path}"
    assert sent(requests.get(Key(key), "ann")) == ("GET", place, None, owner, True, False)
    assert sent(requests.delete(Key(key), "ann")) == ("DELETE", place, None, owner, False, False)
    changed = requests.update(Key(key), "ann", Change({"content": "new"}, if_version=2))
    assert sent(changed) == ("PATCH", place, None, {**JSON, **owner, "If-Match": '"2"'}, False, False)
    past = requests.history(HistoryQuery("", "ann", 7, "c", key))
    assert sent(past) == ("GET", f"{place}/history", {"limit": "7", "cursor": "c"}, owner, True, False)


def test_id_that_is_called_as_the_route_of_keys_does_not_lead_there() -> None:
    assert requests.get("by-key", None).path == "/memories/%62y-key"
    assert requests.history(HistoryQuery("by-key")).path == "/memories/%62y-key/history"


def test_terms_of_a_memory_are_members_of_its_body() -> None:
    absent, version = Draft("a", "ann", key="k", if_absent=True), Draft("a", "ann", key="k", if_version=3, index=1)
    assert body_of(requests.add([absent], None)) == {"content": "a", "user_id": "ann", "key": "k", "if_absent": True}
    items = body_of(requests.add([absent, version], None))["items"]
    assert items[1] == {"content": "a", "user_id": "ann", "key": "k", "if_version": 3}


def test_change_sends_what_changes_and_nulls_for_what_is_cleared() -> None:
    fields = {"content": "new", "valid_to": NOW, "tags": None, "extensions": {"x-a": 1, "x-b": None}}
    request = requests.update("a", "ann", Change(fields, if_version=3))
    headers = {**JSON, "X-User-Id": b"ann", "If-Match": '"3"'}
    assert sent(request) == ("PATCH", "/memories/a", None, headers, False, False)
    assert body_of(request) == {"content": "new", "valid_to": AT, "tags": None, "x-a": 1, "x-b": None}
    plain = requests.update("a", None, Change({"content": "new"}))
    assert (dict(plain.headers), body_of(plain)) == (JSON, {"content": "new"})


def test_erasure_names_the_user_and_the_part_of_the_scopes() -> None:
    scope = parse_pattern("s/*")
    assert sent(requests.delete_all("ann", scope)) == (
        "DELETE",
        "/memories",
        {"user_id": "ann", "scope": "s/*"},
        {},
        False,
        False,
    )
    assert requests.delete_all("ann", None).params == {"user_id": "ann"}


def test_page_is_asked_for_by_its_view() -> None:
    view = View("ann", parse_pattern("s"), ("x",), NOW, include_superseded=True, include_expired=True)
    request = requests.list_(ListQuery(view, since=NOW, until=NOW, limit=5, cursor="c"))
    assert sent(request)[:2] == ("GET", "/memories")
    assert request.retry_safe
    assert request.params == {
        "user_id": "ann",
        "scope": "s",
        "as_of": AT,
        "include_superseded": "true",
        "include_expired": "true",
        "tag": "x",
        "since": AT,
        "until": AT,
        "limit": "5",
        "cursor": "c",
    }
    assert requests.list_(ListQuery(View("ann"))).params == {"user_id": "ann", "limit": "50"}


def test_search_is_asked_for_by_its_view_and_what_is_usual_is_not_said() -> None:
    assert requests.search(SearchQuery("tea", View("ann"))) == HttpRequest(
        "GET", "/memories/search", {"user_id": "ann", "q": "tea", "limit": "10"}, retry_safe=True
    )
    query = SearchQuery("tea", View("ann", tags=("x", "y")), 3, 0.0, "vector", explain=True, action="context")
    assert requests.search(query).params == {
        "user_id": "ann",
        "q": "tea",
        "limit": "3",
        "min_score": "0.0",
        "tags": ["x", "y"],
        "mode": "vector",
        "explain": "true",
        "purpose": "context",
    }


def test_long_search_is_posted() -> None:
    rest = len("user_id=ann&q=&limit=10&tags=x")
    longest = "t" * (requests.MAX_QUERY_BYTES - rest)
    view = View("ann", tags=("x",), as_of=None)
    assert requests.search(SearchQuery(longest, view)).method == "GET"
    request = requests.search(SearchQuery(longest + "t", view))
    assert sent(request) == ("POST", "/memories/search", None, JSON, True, False)
    assert body_of(request) == {"user_id": "ann", "q": longest + "t", "limit": 10, "tags": ["x"]}
    scoped = requests.search(SearchQuery(longest + "t", View("ann", parse_pattern("s/*"), as_of=NOW)))
    assert body_of(scoped) == {"user_id": "ann", "scope": "s/*", "as_of": AT, "q": longest + "t", "limit": 10}


def test_context_is_posted() -> None:
    query = SearchQuery("tea", View("ann", parse_pattern("s/*"), ("x",), NOW), action="context")
    request = requests.context(query, 900)
    assert sent(request) == ("POST", "/context", None, JSON, True, False)
    assert body_of(request) == {
        "query": "tea",
        "user_id": "ann",
        "scope": "s/*",
        "token_budget": 900,
        "tags": ["x"],
        "as_of": AT,
    }
    bare = requests.context(SearchQuery("tea", View("ann")), 900)
    assert body_of(bare) == {"query": "tea", "user_id": "ann", "token_budget": 900}


def test_history_is_asked_for_without_the_usual_limit() -> None:
    request = requests.history(HistoryQuery("a/b", "ann", 5, "c"))
    params = {"limit": "5", "cursor": "c"}
    assert sent(request) == ("GET", "/memories/a%2Fb/history", params, {"X-User-Id": b"ann"}, True, False)
    assert requests.history(HistoryQuery("a")) == HttpRequest("GET", "/memories/a/history", retry_safe=True)


def test_audit_wait_and_export_say_whose_and_how_much() -> None:
    audit = requests.audit(AuditQuery("ann", "chat", NOW, 5))
    assert sent(audit)[:2] == ("GET", "/audit")
    assert audit.params == {"user_id": "ann", "app": "chat", "since": AT, "limit": "5"}
    assert audit.retry_safe
    changes = requests.changes(FeedQuery("ann", "c", 5))
    assert sent(changes) == ("GET", "/changes", {"user_id": "ann", "cursor": "c", "limit": "5"}, {}, True, False)
    assert requests.changes(FeedQuery(None)).params == {"limit": "100"}
    wait = requests.wait(("a", "b"), "ann")
    assert sent(wait) == ("POST", "/memories/wait", None, JSON, True, False)
    assert body_of(wait) == {"ids": ["a", "b"], "user_id": "ann"}
    export = requests.export("ann", "c", 5)
    accept = {"Accept": "application/x-ndjson"}
    params = {"user_id": "ann", "cursor": "c", "limit": "5"}
    assert sent(export) == ("GET", "/export", params, accept, True, False)
    assert requests.export(None, None, 5).params == {"limit": "5"}


def test_import_is_a_line_for_each_memory_with_its_version() -> None:
    drafts = [Draft("té", "ann", **FULL, extensions={"x-kit": None}, version=3), Draft("a", "ann")]
    request = requests.import_(drafts, "overwrite")
    lines = {"Content-Type": "application/x-ndjson"}
    assert sent(request) == ("POST", "/import", {"conflict": "overwrite"}, lines, False, False)
    body = request.body or b""
    assert body.endswith(b"}\n")
    assert [json.loads(line) for line in body.splitlines()] == [
        {"memory": {**FULL_JSON, "version": 3}},
        {"memory": {"content": "a", "user_id": "ann", "version": 1}},
    ]


def test_reembedding_is_posted_and_health_asked_once() -> None:
    assert requests.reembed() == HttpRequest("POST", "/reembed", headers=JSON, body=b"{}")
    assert requests.health() == HttpRequest("GET", "/healthz")


def test_filter_is_text_in_an_address_and_an_object_in_a_body() -> None:
    where = parse_where({"lang": "py", "n": {"$in": [1.0, None]}})
    text = '{"lang":"py","n":{"$in":[1.0,null]}}'
    view = View("ann", where=where)
    assert (requests.list_(ListQuery(view)).params or {})["where"] == text
    assert (requests.search(SearchQuery("tea", view)).params or {})["where"] == text
    assert requests.delete_all("ann", None, where).params == {"user_id": "ann", "where": text}
    assert body_of(requests.context(SearchQuery("tea", view), 5))["where"] == json.loads(text)
    assert body_of(requests.search(SearchQuery("tea" * 3_000, view)))["where"] == json.loads(text)
    assert "where" not in (requests.list_(ListQuery(View("ann"))).params or {})
    assert requests.delete_all("ann", None).params == {"user_id": "ann"}
