"""Overviews on the wire: what is asked of a server, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._model.scopes import parse_pattern
from openmem._protocol import requests
from openmem._protocol.http_errors import Endpoint
from openmem._protocol.http_messages import HttpReply, HttpRequest
from openmem._protocol.responses import read_scopes, read_tags, read_users
from openmem.errors import ProviderError
from openmem.types import UTC

ENDPOINT = Endpoint("https://omp.test", "omp.test", "remote")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
COUNTS = {"current": 1, "superseded": 2, "expired": 3, "last_change": NOW.isoformat()}


def reply(value: Any) -> HttpReply:
    return HttpReply(200, {}, json.dumps(value).encode())


def asked(request: HttpRequest) -> tuple[str, str, object]:
    assert request.retry_safe
    assert request.body is None
    return request.method, request.path, dict(request.params or {})


def test_scopes_are_asked_for_by_prefix_and_depth() -> None:
    view = View("ann", parse_pattern("work/*"))
    assert asked(requests.scopes(ScopesQuery(View("ann")))) == ("GET", "/scopes", {"user_id": "ann"})
    whole = {"user_id": "ann", "prefix": "work", "depth": "3"}
    assert asked(requests.scopes(ScopesQuery(view, 3))) == ("GET", "/scopes", whole)
    assert asked(requests.scopes(ScopesQuery(View("ann"), 0))) == ("GET", "/scopes", {"user_id": "ann", "depth": "1"})


def test_tags_are_asked_for_by_scope() -> None:
    assert asked(requests.tags(TagsQuery(View("ann")))) == ("GET", "/tags", {"user_id": "ann"})
    query = TagsQuery(View("ann", parse_pattern("work/*")))
    assert asked(requests.tags(query)) == ("GET", "/tags", {"user_id": "ann", "scope": "work/*"})


def test_users_are_asked_for_page_by_page() -> None:
    assert asked(requests.users(UsersQuery())) == ("GET", "/users", {"limit": "100"})
    query = UsersQuery("a", 5, "next")
    assert asked(requests.users(query)) == ("GET", "/users", {"prefix": "a", "limit": "5", "cursor": "next"})


@pytest.mark.parametrize("truncated", [True, False])
def test_scopes_and_tags_are_read(truncated: bool) -> None:
    scopes = read_scopes(ENDPOINT, reply({"scopes": [{"scope": "work", **COUNTS}, COUNTS], "truncated": truncated}))
    assert [(one.scope, one.current, one.superseded, one.expired, one.last_change) for one in scopes] == [
        ("work", 1, 2, 3, NOW),
        (None, 1, 2, 3, NOW),
    ]
    assert scopes.truncated is truncated
    tags = read_tags(ENDPOINT, reply({"tags": [{"tag": "x", "count": 2}], "truncated": truncated}))
    assert [(one.tag, one.count) for one in tags] == [("x", 2)]
    assert tags.truncated is truncated


def test_page_of_users_is_read() -> None:
    page = read_users(ENDPOINT, reply({"items": [{"user_id": "ann", **COUNTS}], "next_cursor": "next"}))
    assert ([one.user_id for one in page], page.next_cursor) == (["ann"], "next")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        *((read_scopes, {"scopes": [COUNTS, COUNTS | {name: -1}]}) for name in ("current", "superseded", "expired")),
        (read_tags, {"tags": [{"tag": "x", "count": -1}]}),
        (read_users, {"items": [{"user_id": "ann", **COUNTS, "expired": -1}]}),
    ],
)
def test_count_below_nothing_is_refused(read: Callable[[Endpoint, HttpReply], object], value: object) -> None:
    with pytest.raises(ProviderError) as caught:
        read(ENDPOINT, reply(value))
    assert (caught.value.message, caught.value.provider) == ("omp.test answered a count below 0", "remote")
