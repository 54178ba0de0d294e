"""Reads over a service that only keeps texts and metadata: by id, in pages, by relevance."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from openmem._emulation.backend import position_of
from openmem._emulation.reading import check_all, export_page, find, oldest, page, search
from openmem._model.ids import new_memory_id
from openmem._model.requests import ListQuery, SearchQuery, View
from openmem._model.scopes import parse_pattern
from openmem._rules.paging import PAGE_BYTES
from openmem.errors import InvalidRequestError, NotFoundError, OMPError
from openmem.types import ListOrder, MemoryRecord
from tests.pure.kept_backend import DAY, NOW, KeptBackend, Watch, record


def aged(count: int, **fields: Any) -> list[MemoryRecord]:
    """Memories `m0`, `m1` … of which each is a day older than the one before."""
    return [record(f"m{number}", created_at=NOW - (number + 1) * DAY, **fields) for number in range(count)]


def ids_of(records: list[MemoryRecord]) -> list[str]:
    return [one.id for one in records]


def test_memory_is_found_by_its_id_and_that_of_another_user_is_not() -> None:
    backend = KeptBackend(record("a"), record("b", user_id="bob"))
    assert find(backend, "a", "ann").record.id == "a"
    assert find(backend, "b", None).record.user_id == "bob"
    with pytest.raises(NotFoundError, match=r"no memory has the id 'b'") as caught:
        find(backend, "b", "ann")
    assert caught.value.provider == "kept"


def test_id_of_several_users_asks_for_the_user() -> None:
    backend = KeptBackend(record("a"), record("a", user_id="bob"))
    with pytest.raises(InvalidRequestError, match=r"^id: several users have a memory of this id; give user_id$"):
        find(backend, "a", None)
    assert find(backend, "a", "bob").record.user_id == "bob"


def test_own_id_under_the_name_of_a_user_of_another_bucket_is_not_meant() -> None:
    own = new_memory_id("ann", millis=1, entropy=bytes(9))
    backend = KeptBackend(record(own, user_id="bob"))
    with pytest.raises(NotFoundError):
        find(backend, own, None)
    assert find(backend, own, "bob").record.id == own


def test_of_several_with_one_id_the_oldest_counts_and_of_equal_age_the_lower_handle() -> None:
    backend = KeptBackend(record("a", "late"), record("a", "early", created_at=NOW - 20 * DAY))
    assert find(backend, "a", "ann").record.content == "early"
    twins = [*KeptBackend(record("a", "one"), record("a", "two")).kept.values()]
    assert oldest(twins[::-1]).record.content == "one"


def test_each_of_some_ids_is_looked_for_until_the_time_is_over() -> None:
    backend, watch = KeptBackend(record("a"), record("b")), Watch()
    check_all(backend, ["a", "b"], "ann", watch.task)
    assert watch.checks == 2
    with pytest.raises(NotFoundError):
        check_all(backend, ["a", "c"], "ann", watch.task)
    with pytest.raises(OMPError, match="the time is over"):
        check_all(backend, ["a", "c"], "ann", Watch(late_from=1).task)


def test_pages_lead_through_everything_newest_first() -> None:
    backend = KeptBackend(*aged(5), record("b", user_id="bob"))
    seen, cursor = [], None
    for size in (2, 2, 1):
        got = page(backend, ListQuery(View("ann"), limit=2, cursor=cursor), Watch().task)
        assert len(got.items) == size
        seen += ids_of(got.items)
        cursor = got.next_cursor
    assert seen == ["m0", "m1", "m2", "m3", "m4"]
    assert cursor is None


@pytest.mark.parametrize(("order", "latest"), [("created", "abcd"), ("updated", "dabc"), ("valid_from", "cabd")])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_come_in_the_order_that_is_asked_for(order: ListOrder, latest: str, descending: bool) -> None:
    own: dict[str, dict[str, Any]] = {"c": {"valid_from": NOW}, "d": {"updated_at": NOW, "valid_from": NOW - 9 * DAY}}
    backend = KeptBackend(
        *(record(id_, created_at=NOW - (n + 1) * DAY, **own.get(id_, {})) for n, id_ in enumerate("abcd"))
    )
    seen, cursor = "", None
    while True:
        query = ListQuery(View("ann"), limit=3, cursor=cursor, order=order, descending=descending)
        got = page(backend, query, Watch().task)
        seen += "".join(ids_of(got.items))
        cursor = got.next_cursor
        if cursor is None:
            break
    assert seen == (latest if descending else latest[::-1])


def test_page_ends_before_its_contents_are_too_large() -> None:
    backend = KeptBackend(*aged(3, content="x" * (PAGE_BYTES // 2)))
    got = page(backend, ListQuery(View("ann")), Watch().task)
    assert ids_of(got.items) == ["m0"]
    got = page(backend, ListQuery(View("ann"), cursor=got.next_cursor), Watch().task)
    assert (ids_of(got.items), got.next_cursor is None) == (["m1"], False)


def test_page_of_a_search_begins_behind_the_best() -> None:
    backend = KeptBackend(*aged(5))
    whole = search(backend, SearchQuery("tea", View("ann"), limit=5), Watch().task)
    for offset in (0, 2, 4, 5):
        some = search(backend, SearchQuery("tea", View("ann"), limit=2, offset=offset), Watch().task)
        assert [one.memory.id for one in some] == [one.memory.id for one in whole][offset : offset + 2]


def test_page_that_holds_exactly_all_has_no_cursor() -> None:
    got = page(KeptBackend(*aged(2)), ListQuery(View("ann"), limit=2), Watch().task)
    assert (ids_of(got.items), got.next_cursor) == (["m0", "m1"], None)


def test_cursor_belongs_to_its_query_and_kind() -> None:
    backend = KeptBackend(*aged(3))
    cursor = page(backend, ListQuery(View("ann"), limit=1), Watch().task).next_cursor
    other = ListQuery(View("ann", tags=("x",)), limit=1, cursor=cursor)
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        page(backend, other, Watch().task)
    with pytest.raises(InvalidRequestError, match="malformed cursor"):
        export_page(backend, "ann", cursor, 1, Watch().task)


def test_range_of_a_page_holds_its_start_and_not_its_end() -> None:
    backend = KeptBackend(*aged(4))
    query = ListQuery(View("ann"), since=NOW - 3 * DAY, until=NOW - DAY)
    assert ids_of(page(backend, query, Watch().task).items) == ["m1", "m2"]


def test_page_shows_what_its_view_allows_and_asks_for_no_more_than_its_scope() -> None:
    backend = KeptBackend(
        record("a", scope="x"),
        record("b", scope="x", supersedes=["a"], valid_from=NOW - DAY),
        record("c", scope="y"),
        record("d", scope="x", valid_to=NOW - DAY),
    )
    watch = Watch()
    view = View("ann", scope=parse_pattern("x"))
    assert ids_of(page(backend, ListQuery(view), watch.task).items) == ["b"]
    assert watch.checks == 1
    assert backend.asked == [("entries", {"omp_scope": "x"}), ("entries", {"omp_links": True})]
    hidden = View("ann", scope=parse_pattern("x"), include_superseded=True, include_expired=True)
    assert set(ids_of(page(backend, ListQuery(hidden), watch.task).items)) == {"a", "b", "d"}


def test_links_are_looked_up_only_where_a_mark_says_that_there_may_be_some() -> None:
    backend = KeptBackend(*aged(2))
    page(backend, ListQuery(View("ann")), Watch().task)
    assert backend.asked == [("entries", {})]


class Unmarking(KeptBackend):
    """A service that cannot rewrite metadata."""

    marks_outdated: ClassVar[bool] = False


def test_links_are_looked_up_at_every_read_of_a_service_that_cannot_mark() -> None:
    backend = Unmarking(record("a"))
    backend.insert(record("b", supersedes=["a"]), outdated=False)
    assert ids_of(page(backend, ListQuery(View("ann")), Watch().task).items) == ["b"]


def test_late_page_is_refused() -> None:
    with pytest.raises(OMPError, match="the time is over"):
        page(KeptBackend(*aged(2)), ListQuery(View("ann")), Watch(late_from=1).task)


def test_search_returns_the_best_first_and_of_equals_the_lower_id() -> None:
    backend = KeptBackend(record("b"), record("a"), record("c", confidence=0.9), record("d", "drinks milk"))
    results = search(backend, SearchQuery("tea", View("ann"), limit=10), Watch().task)
    assert [(one.memory.id, one.score) for one in results] == [("c", 0.9), ("a", 0.5), ("b", 0.5)]
    assert {one.explain for one in results} == {None}
    assert backend.asked == [("nearest", 10)]


def test_search_explains_a_score_by_the_service_alone_when_it_says_nothing() -> None:
    query = SearchQuery("tea", View("ann"), explain=True, mode="keyword")
    (result,) = search(KeptBackend(record("a")), query, Watch().task)
    assert result.explain == {"mode": "keyword", "parts": {"service": {"value": 0.5, "weight": 1.0}}}


def test_search_asks_for_four_times_as_many_until_enough_are_shown() -> None:
    hidden = [record(f"h{number}", valid_to=NOW - DAY) for number in range(30)]
    backend = KeptBackend(*hidden, record("a"), record("b"), record("c"))
    watch = Watch()
    results = search(backend, SearchQuery("tea", View("ann"), limit=2), watch.task)
    assert [one.memory.id for one in results] == ["a", "b"]
    assert backend.asked == [("nearest", 2), ("nearest", 8), ("nearest", 32)]
    assert watch.checks == 3


def test_search_for_tags_or_a_subtree_asks_for_more_at_once() -> None:
    for view in (View("ann", tags=("x",)), View("ann", scope=parse_pattern("x/*"))):
        backend = KeptBackend(record("a", tags=["x"], scope="x/y"), record("b"))
        assert [one.memory.id for one in search(backend, SearchQuery("tea", view, limit=3), Watch().task)] == ["a"]
        assert backend.asked == [("nearest", 12)]
    backend = KeptBackend(record("a", scope="x"))
    search(backend, SearchQuery("tea", View("ann", scope=parse_pattern("x")), limit=3), Watch().task)
    assert backend.asked == [("nearest", 3)]


def test_search_stops_where_the_last_hit_scores_too_little() -> None:
    backend = KeptBackend(
        record("a", valid_to=NOW - DAY, confidence=0.9), record("b", confidence=0.2), *aged(8, confidence=0.1)
    )
    query = SearchQuery("tea", View("ann"), limit=2, min_score=0.3)
    assert search(backend, query, Watch().task) == []
    assert backend.asked == [("nearest", 2)]


def test_minimum_score_belongs_to_the_results() -> None:
    backend = KeptBackend(record("a", confidence=0.3), record("b", confidence=0.2))
    found = search(backend, SearchQuery("tea", View("ann"), min_score=0.3), Watch().task)
    assert [one.memory.id for one in found] == ["a"]


class Capped(KeptBackend):
    """A service that returns no more than two results."""

    most_hits: ClassVar[int | None] = 2


def test_memories_beyond_one_search_follow_newest_first_with_score_zero() -> None:
    hidden = [record(f"h{number}", valid_to=NOW - DAY) for number in range(2)]
    backend = Capped(*hidden, *aged(3)[::-1], record("z", "drinks milk"))
    results = search(backend, SearchQuery("tea", View("ann"), limit=4), Watch().task)
    assert [(one.memory.id, one.score) for one in results] == [("m0", 0.0), ("m1", 0.0), ("m2", 0.0), ("z", 0.0)]
    assert search(backend, SearchQuery("tea", View("ann"), limit=4, min_score=0.1), Watch().task) == []
    assert backend.asked[0] == ("nearest", 2)


def test_capped_search_that_reached_everything_adds_nothing() -> None:
    backend = Capped(record("a"), record("z", "drinks milk"))
    results = search(backend, SearchQuery("tea", View("ann"), limit=4), Watch().task)
    assert [one.memory.id for one in results] == ["a"]


def test_capped_search_that_is_full_adds_nothing() -> None:
    backend = Capped(*aged(3))
    results = search(backend, SearchQuery("tea", View("ann"), limit=2), Watch().task)
    assert [one.memory.id for one in results] == ["m0", "m1"]
    assert [name for name, _ in backend.asked] == ["nearest"]


class ListsAll(KeptBackend):
    """A service whose vector search returns every memory when asked for enough."""

    lists_all_scored: ClassVar[bool] = True


def test_vector_search_shows_what_has_no_vector_yet_unless_the_service_lists_all() -> None:
    memories = (record("a"), record("z", "drinks milk"))
    query = SearchQuery("tea", View("ann"), mode="vector")
    assert [one.memory.id for one in search(KeptBackend(*memories), query, Watch().task)] == ["a", "z"]
    assert [one.memory.id for one in search(ListsAll(*memories), query, Watch().task)] == ["a"]


def test_superseded_hits_and_rest_are_hidden() -> None:
    backend = Capped(record("a"), record("b", supersedes=["a"], valid_from=NOW - DAY), *aged(1))
    results = search(backend, SearchQuery("tea", View("ann"), limit=5), Watch().task)
    assert [one.memory.id for one in results] == ["b", "m0"]


def test_late_search_is_refused_also_before_the_rest_is_read() -> None:
    for late_from in (1, 2):
        with pytest.raises(OMPError, match="the time is over"):
            search(Capped(*aged(3)), SearchQuery("tea", View("ann"), limit=5), Watch(late_from=late_from).task)


def exported(backend: KeptBackend, user_id: str | None, limit: int) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        records, cursor = export_page(backend, user_id, cursor, limit, Watch().task)
        pages.append(ids_of(records))
        if cursor is None:
            return pages


def test_export_goes_user_by_user_oldest_first_hidden_memories_too() -> None:
    memories = [*aged(3), record("x", user_id="bob", valid_to=NOW - DAY), record("y", user_id="bob", created_at=NOW)]
    backend = KeptBackend(record("z", user_id="cid"), *memories)
    assert exported(backend, None, 2) == [["m2", "m1"], ["m0", "x"], ["y", "z"]]
    assert exported(backend, None, 100) == [["m2", "m1", "m0", "x", "y", "z"]]
    assert exported(backend, "bob", 1) == [["x"], ["y"]]
    assert exported(backend, "nobody", 1) == [[]]


def test_cursor_of_an_export_of_one_user_is_not_one_of_another() -> None:
    backend = KeptBackend(*aged(3), record("b", user_id="bob"))
    _, cursor = export_page(backend, "ann", None, 1, Watch().task)
    for user_id in ("bob", None):
        with pytest.raises(InvalidRequestError, match="malformed cursor"):
            export_page(backend, user_id, cursor, 1, Watch().task)


def test_late_export_is_refused() -> None:
    with pytest.raises(OMPError, match="the time is over"):
        export_page(KeptBackend(*aged(1)), "ann", None, 1, Watch(late_from=1).task)


def test_place_of_a_memory_is_its_time_in_microseconds_and_its_id() -> None:
    first = position_of(record("a", created_at=NOW))
    assert first == (int(NOW.timestamp()) * 1_000_000, "a")
    assert position_of(record("b", created_at=NOW)) > first
