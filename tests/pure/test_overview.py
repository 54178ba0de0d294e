"""Counts are added up, folded, ordered and cut short by pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from openmem._model.requests import UsersQuery
from openmem._model.scopes import ScopePattern
from openmem._rules import overview
from openmem._rules.overview import (
    Counts,
    cut_off,
    make_scopes_query,
    make_tags_query,
    make_users_query,
    merged_scopes,
    merged_tags,
    page_of_user,
    scopes_of,
    tags_of,
)
from openmem.errors import InvalidRequestError
from openmem.types import Overview, ScopeInfo, TagInfo

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = Counts(1, 2, 3, NOW), Counts(10, 20, 30, NOW + timedelta(days=1))
BOTH = (11, 22, 33, NEW.last_change)


def shown(infos: Overview[ScopeInfo]) -> list[tuple[str | None, int, int, int, datetime | None]]:
    return [(info.scope, info.current, info.superseded, info.expired, info.last_change) for info in infos]


def test_scopes_are_in_the_order_of_code_points_with_none_first() -> None:
    paths = ["b", "a/b", "B", "a", None, "ä", "a-b"]
    assert [info.scope for info in scopes_of(((path, OLD) for path in paths), None)] == [
        *(None, "B", "a", "a-b", "a/b", "b", "ä")
    ]


def test_counts_of_one_scope_are_added_up() -> None:
    assert shown(scopes_of([("a", OLD), ("a", NEW)], None)) == [("a", *BOTH)]
    assert shown(scopes_of([("a", NEW), ("a", OLD)], None)) == [("a", *BOTH)]


@pytest.mark.parametrize(
    ("path", "depth", "expected"),
    [("a/b/c", 1, "a"), ("a/b/c", 2, "a/b"), ("a/b/c", 3, "a/b/c"), ("a/b/c", 9, "a/b/c"), ("a/b", 0, None)],
)
def test_path_is_cut_off_behind_so_many_segments(path: str, depth: int, expected: str | None) -> None:
    assert cut_off(path, depth) == expected


def test_deeper_scopes_count_above() -> None:
    given = [("a/b", OLD), ("a/c", NEW), ("b", OLD), (None, OLD)]
    assert shown(scopes_of(given, 1)) == [(None, *OLD), ("a", *BOTH), ("b", *OLD)]
    assert [info.scope for info in scopes_of(given, 0)] == [None]


def test_tags_of_most_memories_come_first() -> None:
    found = tags_of([("b", 1), ("a", 1), ("c", 2), ("b", 0), ("ä", 1)])
    assert [(info.tag, info.count) for info in found] == [("c", 2), ("a", 1), ("b", 1), ("ä", 1)]


def test_overview_that_is_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MAX_OVERVIEW", 2)
    for count, truncated in ((2, False), (3, True)):
        names = [f"s{number}" for number in range(count)]
        scopes, tags = scopes_of(((name, OLD) for name in names), None), tags_of((name, 1) for name in names)
        assert ([info.scope for info in scopes], scopes.truncated) == (names[:2], truncated)
        assert ([info.tag for info in tags], tags.truncated) == (names[:2], truncated)
        assert merged_scopes([scopes], None).truncated is truncated
        assert merged_tags([tags]).truncated is truncated


def test_lists_of_different_memories_are_merged() -> None:
    lists = [scopes_of([("a/b", OLD)], None), scopes_of([("a/c", NEW), ("b", OLD)], None)]
    assert shown(merged_scopes(lists, 1)) == [("a", *BOTH), ("b", *OLD)]
    tags = [Overview([TagInfo(tag="a", count=1)]), Overview([TagInfo(tag="b", count=1), TagInfo(tag="a", count=2)])]
    assert [(info.tag, info.count) for info in merged_tags(tags)] == [("a", 3), ("b", 1)]


def test_caller_of_one_user_sees_that_one_by_what_it_may_read() -> None:
    seen = scopes_of([("a", OLD), ("b", NEW)], 0)
    [info] = page_of_user("ann", seen, UsersQuery("an"))
    assert (info.user_id, info.current, info.superseded, info.expired, info.last_change) == ("ann", *BOTH)
    assert page_of_user("ann", seen, UsersQuery("b")).items == []
    assert page_of_user("ann", Overview(), UsersQuery()).items == []
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        page_of_user("ann", seen, UsersQuery(cursor="x"))


def test_prefix_is_a_scope_and_all_below_it() -> None:
    for prefix in ("a/b", "a/b/*"):
        assert make_scopes_query("ann", prefix=prefix, depth=2).view.scope == ScopePattern("a/b", subtree=True)
    for nothing in (None, "*"):
        assert make_scopes_query("ann", prefix=nothing).view.scope is None
    assert make_tags_query("ann", scope="a").view.scope == ScopePattern("a", subtree=False)


@pytest.mark.parametrize(("prefix", "depth"), [("a", 1), ("a/b", 2), ("a/b", 256), (None, 1)])
def test_depth_counts_from_the_root(prefix: str | None, depth: int) -> None:
    assert make_scopes_query("ann", prefix=prefix, depth=depth).depth == depth


@pytest.mark.parametrize(("prefix", "depth"), [("a/b", 1), ("a/b/c", 2), (None, 0), (None, 257)])
def test_depth_that_cuts_off_the_prefix_is_refused(prefix: str | None, depth: int) -> None:
    with pytest.raises(InvalidRequestError, match="depth"):
        make_scopes_query("ann", prefix=prefix, depth=depth)


def test_request_for_users_holds_what_was_asked_for() -> None:
    assert make_users_query() == UsersQuery(None, 100, None)
    assert make_users_query(prefix="a", limit=1_000) == UsersQuery("a", 1_000, None)
    for given, name in (({"prefix": 1}, "prefix"), ({"prefix": "a" * 1_000}, "prefix"), ({"limit": 1_001}, "limit")):
        with pytest.raises(InvalidRequestError, match=f"^{name} "):
            make_users_query(**given)
