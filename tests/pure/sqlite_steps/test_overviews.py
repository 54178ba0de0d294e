"""Steps that count scopes, tags and users of the embedded store."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from openmem._model.requests import ScopesQuery, TagsQuery, UsersQuery, View
from openmem._model.scopes import parse_pattern
from openmem._rules.overview import NONE
from openmem._sql.sqlite import counts, overview, write
from openmem._sql.sqlite.counts import CountsCache
from openmem.errors import InvalidRequestError
from tests.pure.sqlite_steps.database import AT, NOW, SECOND, Database, later, patterns, stamp


def scopes(db: Database, *, depth: int | None = None, seconds: float = 10, **view: Any) -> dict[str | None, Any]:
    query = ScopesQuery(View(view.pop("user_id", "ann"), **view), depth)
    found = db.run(overview.scopes(query, AT + int(seconds * SECOND)))
    assert not found.truncated
    return {info.scope: (info.current, info.superseded, info.expired, info.last_change) for info in found}


def tags(db: Database, *, seconds: float = 10, **view: Any) -> list[tuple[str, int]]:
    query = TagsQuery(View(view.pop("user_id", "ann"), **view))
    return [(info.tag, info.count) for info in db.run(overview.tags(query, AT + int(seconds * SECOND)))]


def users(db: Database, *, seconds: float = 10, **asked: Any) -> tuple[list[tuple[Any, ...]], str | None]:
    page = db.run(overview.users(UsersQuery(**asked), AT + int(seconds * SECOND)))
    rows = [(info.user_id, info.current, info.superseded, info.expired, info.last_change) for info in page]
    return rows, page.next_cursor


@pytest.fixture
def full(db: Database) -> Database:
    db.add("a", scope="work", tags=("x", "y"))
    db.add("b", scope="work", seconds=1, supersedes=("a",), tags=("x",))
    db.add("c", scope="work/desk", seconds=2, valid_to=later(5), tags=("y",))
    db.add("d", seconds=3, valid_from=later(20))
    db.add("e", scope="work", user_id="bob", tags=("x",))
    db.update("b", seconds=4, confidence=0.5)
    return db


def test_scopes_are_counted_by_how_memories_stand(full: Database) -> None:
    assert scopes(full) == {
        None: (0, 0, 1, later(3)),
        "work": (1, 1, 0, later(4)),
        "work/desk": (0, 0, 1, later(2)),
    }
    assert scopes(full, seconds=4.9)["work/desk"] == (1, 0, 0, later(2))
    assert scopes(full, seconds=5)["work/desk"] == (0, 0, 1, later(2))
    assert scopes(full, seconds=20)[None] == (1, 0, 0, later(3))
    assert scopes(full, user_id="bob") == {"work": (1, 0, 0, NOW)}
    assert scopes(full, user_id="eve") == {}


def test_superseded_memory_that_is_out_of_date_counts_once(db: Database) -> None:
    db.add("a", valid_to=later(3))
    db.add("b", seconds=1, supersedes=("a",), valid_from=later(2))
    assert scopes(db, seconds=1.5) == {None: (1, 0, 1, later(1))}
    assert scopes(db, seconds=9) == {None: (1, 1, 0, later(1))}


def test_scopes_that_are_asked_for_and_seen(full: Database) -> None:
    assert [*scopes(full, scope=parse_pattern("work/*"))] == ["work", "work/desk"]
    assert [*scopes(full, visible=patterns("work"))] == ["work"]
    assert [*scopes(full, scope=parse_pattern("work/*"), visible=patterns("work/desk/*"))] == ["work/desk"]
    assert scopes(full, visible=()) == {}
    assert scopes(full, depth=1) == {None: (0, 0, 1, later(3)), "work": (1, 1, 1, later(4))}


def test_time_of_an_overview_is_not_before_the_newest_change(db: Database) -> None:
    db.add("a", valid_to=later(8), tags=("x",))
    db.add("b", tags=("y",))
    db.update("b", seconds=8, confidence=0.5)
    assert scopes(db, seconds=0) == {None: (1, 0, 1, later(8))}
    assert tags(db, seconds=0) == [("y", 1)]
    assert users(db, seconds=0)[0] == [("ann", 1, 0, 1, later(8))]


def test_tags_of_what_is_shown_are_counted(full: Database) -> None:
    assert tags(full) == [("x", 1)]
    assert tags(full, seconds=3) == [("x", 1), ("y", 1)]
    assert tags(full, include_superseded=True, include_expired=True) == [("x", 2), ("y", 2)]
    assert tags(full, seconds=3, scope=parse_pattern("work/desk")) == [("y", 1)]
    assert tags(full, visible=patterns("home")) == []
    assert tags(full, user_id="bob") == [("x", 1)]
    assert tags(full, user_id="eve") == []


def test_users_come_page_by_page_with_their_counts(full: Database) -> None:
    full.add("f", user_id="bobby")
    full.connection.execute("insert into users(user_id) values('c')")
    everyone = [("ann", 1, 1, 2, later(4)), ("bob", 1, 0, 0, NOW), ("bobby", 1, 0, 0, NOW)]
    assert users(full) == (everyone, None)
    first, cursor = users(full, limit=2)
    assert first == everyone[:2]
    assert users(full, limit=2, cursor=cursor) == (everyone[2:], None)
    assert users(full, prefix="bob") == (everyone[1:], None)
    first, cursor = users(full, prefix="b", limit=1)
    assert first == everyone[1:2]
    assert users(full, prefix="b", limit=1, cursor=cursor) == (everyone[2:], None)
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        users(full, cursor=cursor)
    assert users(full, limit=3) == (everyone, None)


class TestKeptCounts:
    """Counts that are kept for those who ask again."""

    def ask(self, db: Database, cache: CountsCache, *, seconds: float = 10) -> tuple[dict[str | None, Any], int]:
        """Return the counts, and how many statements looked at memories."""
        sent: list[str] = []
        db.connection.set_trace_callback(sent.append)
        found = db.run(overview.scopes(ScopesQuery(View("ann")), AT + int(seconds * SECOND), cache))
        db.connection.set_trace_callback(None)
        return {info.scope: info.current for info in found}, sum("from memories m" in sql for sql in sent)

    def test_rows_are_looked_at_again_only_after_a_write(self, db: Database) -> None:
        cache = CountsCache(nullcontext)
        db.add("a", scope="s")
        assert self.ask(db, cache) == ({"s": 1}, 2)
        assert self.ask(db, cache) == ({"s": 1}, 0)
        db.add("x", scope="s", user_id="bob")
        assert self.ask(db, cache) == ({"s": 1}, 0)
        db.add("b", scope="s", seconds=1)
        assert self.ask(db, cache) == ({"s": 2}, 2)
        db.update("b", seconds=2, scope="t")
        assert self.ask(db, cache) == ({"s": 1, "t": 1}, 2)
        db.add("c", seconds=3, supersedes=("a",))
        assert self.ask(db, cache) == ({None: 1, "s": 0, "t": 1}, 2)
        db.run(write.delete("c", "ann", stamp(4)))
        assert self.ask(db, cache) == ({"s": 1, "t": 1}, 2)
        assert self.ask(db, cache)[1] == 0

    @pytest.mark.parametrize("field", ["valid_from", "valid_to"])
    def test_counts_that_time_alone_will_change_are_not_kept(self, db: Database, field: str) -> None:
        cache = CountsCache(nullcontext)
        window: dict[str, Any] = {field: later(20)}
        db.add("a", scope="s", **window)
        before = 1 if field == "valid_to" else 0
        assert self.ask(db, cache) == ({"s": before}, 2)
        assert self.ask(db, cache, seconds=30) == ({"s": 1 - before}, 2)
        assert self.ask(db, cache, seconds=30) == ({"s": 1 - before}, 0)
        assert self.ask(db, cache) == ({"s": before}, 2)  # a clock that was set back

    def test_user_that_is_forgotten_leaves_nothing(self, db: Database) -> None:
        cache = CountsCache(nullcontext)
        db.add("a", scope="s")
        self.ask(db, cache)
        cache.forget("ann")
        cache.forget("eve")
        assert self.ask(db, cache)[1] == 2

    def test_oldest_are_forgotten_for_want_of_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(counts, "MOST_SCOPES", 3)
        cache = CountsCache(nullcontext)
        for user_id, paths in (("ann", "ab"), ("bob", "c"), ("ann", "abc"), ("cat", "d")):
            cache.keep(user_id, (0, 1), AT, dict.fromkeys(paths, NONE))
        assert [cache.find(user_id, (0, 1), AT) is not None for user_id in ("ann", "bob", "cat")] == [
            False,
            False,
            True,
        ]
