"""Overviews over a service that only keeps texts and metadata."""

from __future__ import annotations

import pytest

from openmem._emulation.overview import scopes, tags, users
from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._model.scopes import parse_pattern
from openmem.errors import InvalidRequestError, OMPError
from tests.pure.kept_backend import DAY, NOW, KeptBackend, Watch, record

MADE = NOW - 10 * DAY


def kept() -> KeptBackend:
    return KeptBackend(
        record("a", scope="work", tags=["x", "y"]),
        record("b", scope="work", tags=["x"], supersedes=["a"], updated_at=NOW - DAY),
        record("c", scope="work/desk", tags=["y"], valid_to=NOW),
        record("d", valid_from=NOW + DAY),
        record("e", user_id="bob", scope="work", tags=["z"]),
        record("f", user_id="bobby"),
    )


def test_scopes_are_counted_by_how_memories_stand() -> None:
    watch = Watch()
    found = scopes(kept(), ScopesQuery(View("ann")), watch.task)
    counts = {info.scope: (info.current, info.superseded, info.expired, info.last_change) for info in found}
    assert counts == {None: (0, 0, 1, MADE), "work": (1, 1, 0, NOW - DAY), "work/desk": (0, 0, 1, MADE)}
    assert watch.checks >= 1


def test_scopes_are_those_of_the_view_and_cut_at_the_depth() -> None:
    view = View("ann", parse_pattern("work/*"), tags=("x",), include_expired=True)
    found = scopes(kept(), ScopesQuery(view, 1), Watch().task)
    assert [(info.scope, info.current, info.superseded, info.expired) for info in found] == [("work", 1, 1, 1)]
    backend = kept()
    [one] = scopes(backend, ScopesQuery(View("ann", parse_pattern("work/desk"))), Watch().task)
    assert (one.scope, one.expired) == ("work/desk", 1)
    assert backend.asked == [("entries", {"omp_scope": "work/desk"})]


def test_tags_of_what_is_shown_are_counted() -> None:
    def counted(view: View) -> list[tuple[str, int]]:
        return [(info.tag, info.count) for info in tags(kept(), TagsQuery(view), Watch().task)]

    assert counted(View("ann")) == [("x", 1)]
    assert counted(View("ann", include_superseded=True, include_expired=True)) == [("x", 2), ("y", 2)]
    assert counted(View("ann", parse_pattern("work/desk"), include_expired=True)) == [("y", 1)]
    assert counted(View("eve")) == []


def test_users_come_page_by_page_with_their_counts() -> None:
    def asked(query: UsersQuery) -> tuple[list[str], str | None]:
        page = users(kept(), query, Watch().task)
        return [f"{info.user_id} {info.current} {info.superseded} {info.expired}" for info in page], page.next_cursor

    everyone = ["ann 1 1 2", "bob 1 0 0", "bobby 1 0 0"]
    assert asked(UsersQuery()) == (everyone, None)
    assert asked(UsersQuery(limit=3)) == (everyone, None)
    first, cursor = asked(UsersQuery(limit=2))
    assert first == everyone[:2]
    assert asked(UsersQuery(limit=2, cursor=cursor)) == (everyone[2:], None)
    first, cursor = asked(UsersQuery("bob", limit=1))
    assert first == everyone[1:2]
    assert asked(UsersQuery("bob", limit=1, cursor=cursor)) == (everyone[2:], None)
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        asked(UsersQuery(cursor=cursor))
    page = users(kept(), UsersQuery("ann"), Watch().task)
    assert page.items[0].last_change == NOW - DAY


def test_user_whose_memories_are_all_gone_is_left_out() -> None:
    class Naming(KeptBackend):
        def users(self) -> list[str]:
            return ["bob", "gone", "ann"]

    page = users(Naming(record("a"), record("b", user_id="bob")), UsersQuery(limit=2), Watch().task)
    assert ([info.user_id for info in page], page.next_cursor) == (["ann", "bob"], None)


def test_overview_ends_with_the_time_of_its_call() -> None:
    for late in (1, 2):
        with pytest.raises(OMPError, match="the time is over"):
            users(kept(), UsersQuery(), Watch(late_from=late).task)
    with pytest.raises(OMPError, match="the time is over"):
        tags(kept(), TagsQuery(View("ann")), Watch(late_from=1).task)
