"""Arguments that a server would ignore are found before it is asked."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from openmem._model.requests import Change, Draft, SearchQuery, View
from openmem._model.scopes import parse_pattern
from openmem._protocol.capability_checks import (
    Abilities,
    lacks_of_change,
    lacks_of_drafts,
    lacks_of_search,
    lacks_of_view,
)
from openmem.types import UTC, Capabilities

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def server(*, plain: bool = False, **features: Any) -> Capabilities:
    verbs = ["add", "search"] if plain else ["add", "search", "history"]
    said = {"omp_version": "0.1", "provider": "acme", "verbs": verbs, "features": features}
    return Capabilities.model_validate(said)


FULL = server(temporal=True, supports_supersession=True, scopes="native")
PLAIN = server(plain=True)
TIMELESS = server(temporal=False)
ENDLESS = server(supports_supersession=False)
FLAT = server(scopes="none")


def draft(**fields: Any) -> Draft:
    return Draft("tea", "ann", **fields)


def test_server_is_plain_that_has_the_verbs_of_the_protocol_only() -> None:
    assert Abilities.of(PLAIN).plain
    assert not Abilities.of(FULL).plain


@pytest.mark.parametrize(
    ("said", "fields", "lacking"),
    [
        (FULL, {"valid_from": NOW, "supersedes": ("a",), "scope": "s", "key": "k", "extensions": {"later": 1}}, None),
        (TIMELESS, {"valid_from": NOW}, "valid_from"),
        (TIMELESS, {"valid_to": NOW, "key": "k"}, "valid_to"),
        (TIMELESS, {"supersedes": ("a",), "scope": "s"}, None),
        (ENDLESS, {"supersedes": ("a",)}, "supersedes"),
        (ENDLESS, {"valid_from": NOW, "scope": "s"}, None),
        (FLAT, {"scope": "s"}, "scope"),
        (server(scopes="tags"), {"scope": "s"}, None),
        (PLAIN, {"key": "k"}, "key"),
        (PLAIN, {"valid_from": NOW, "scope": "s"}, None),
        (PLAIN, {"extensions": {"x-kit": 1}}, None),
        (PLAIN, {"extensions": {"x-kit": 1, "later": 1}}, "the field 'later'"),
        (FULL, {}, None),
    ],
)
def test_draft_lacks_the_first_field_that_would_be_ignored(
    said: Capabilities, fields: dict[str, Any], lacking: str | None
) -> None:
    assert lacks_of_drafts(Abilities.of(said), [draft(), draft(**fields)]) == lacking


@pytest.mark.parametrize(
    ("said", "change", "lacking"),
    [
        (FULL, Change({"valid_to": None, "extensions": {"x-a": 1}}, if_version=3), None),
        (PLAIN, Change({"content": "new", "tags": ("x",)}), None),
        (PLAIN, Change({"content": "new", "tags": None}), "clearing a field"),
        (PLAIN, Change({"extensions": {"x-a": 1}}), "changing an extension field"),
        (PLAIN, Change({"content": "new"}, if_version=3), "if_version"),
        (TIMELESS, Change({"valid_to": NOW}), "valid_to"),
        (TIMELESS, Change({"valid_to": None}, if_version=3), None),
        (ENDLESS, Change({"supersedes": ("a",)}), "supersedes"),
    ],
)
def test_change_lacks_the_first_part_that_would_be_ignored(
    said: Capabilities, change: Change, lacking: str | None
) -> None:
    assert lacks_of_change(Abilities.of(said), change) == lacking


@pytest.mark.parametrize(
    ("said", "fields", "lacking"),
    [
        (FULL, {"scope": parse_pattern("s"), "as_of": NOW, "include_superseded": True, "include_expired": True}, None),
        (FLAT, {"scope": parse_pattern("s")}, "scope"),
        (TIMELESS, {"as_of": NOW}, "as_of"),
        (TIMELESS, {"include_expired": True}, "include_expired"),
        (TIMELESS, {"include_superseded": True}, None),
        (ENDLESS, {"include_superseded": True}, "include_superseded"),
        (ENDLESS, {"as_of": NOW, "include_expired": True}, None),
        (PLAIN, {"as_of": NOW}, "as_of"),
        (PLAIN, {"include_expired": True}, "include_expired"),
        (PLAIN, {"include_superseded": True}, "include_superseded"),
        (PLAIN, {"scope": parse_pattern("s"), "tags": ("x",)}, None),
    ],
)
def test_view_lacks_the_first_filter_that_would_be_ignored(
    said: Capabilities, fields: dict[str, Any], lacking: str | None
) -> None:
    assert lacks_of_view(Abilities.of(said), View("ann", **fields)) == lacking


@pytest.mark.parametrize(
    ("said", "fields", "lacking"),
    [
        (FULL, {"mode": "vector", "explain": True}, None),
        (FULL, {"mode": "keyword"}, None),
        (server(vector_search=False), {"mode": "vector"}, 'mode="vector"'),
        (server(vector_search=False), {"mode": "keyword"}, None),
        (server(vector_search=False), {"mode": "hybrid"}, None),
        (server(keyword_search=False), {"mode": "keyword"}, 'mode="keyword"'),
        (server(keyword_search=False), {"mode": "vector"}, None),
        (PLAIN, {"mode": "vector"}, 'mode="vector"'),
        (PLAIN, {"mode": "keyword"}, 'mode="keyword"'),
        (PLAIN, {"explain": True}, "explain"),
        (PLAIN, {}, None),
    ],
)
def test_search_lacks_the_first_argument_that_would_be_ignored(
    said: Capabilities, fields: dict[str, Any], lacking: str | None
) -> None:
    assert lacks_of_search(Abilities.of(said), SearchQuery("tea", View("ann"), **fields)) == lacking


def test_search_lacks_the_filters_of_its_view_first() -> None:
    assert lacks_of_search(Abilities.of(PLAIN), SearchQuery("tea", View("ann", tags=("x",)))) == "tags"
    assert lacks_of_search(Abilities.of(FULL), SearchQuery("tea", View("ann", tags=("x",)))) is None
    assert lacks_of_search(Abilities.of(PLAIN), SearchQuery("tea", View("ann", tags=("x",), as_of=NOW))) == "as_of"


def test_server_keeps_names_that_says_so_with_true() -> None:
    assert Abilities.of(server(idempotency_keys=True)).keeps_names
    assert not Abilities.of(server(idempotency_keys="yes")).keeps_names
    assert not Abilities.of(server()).keeps_names
