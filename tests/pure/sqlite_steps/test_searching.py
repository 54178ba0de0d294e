"""Steps of a search: words, vectors, both, and hints, over what a view allows."""

from __future__ import annotations

import pytest

from openmem._model.candidates import Candidate
from openmem._model.scopes import parse_pattern
from openmem._rules.paging import PAGE_BYTES, Truncated
from openmem._sql.sqlite import search, snapshot
from openmem._sql.sqlite.indexing import LONG
from openmem._sql.sqlite.search import CANDIDATES, RESULTS, Prepared
from openmem._sql.writing import Model
from openmem.errors import InvalidRequestError
from openmem.types import SearchResult
from tests.pure.sqlite_steps.database import FIRST, MODEL, later, patterns
from tests.pure.sqlite_steps.searching import Searching, unit

OTHER = Model("other", 3)


def parts(result: SearchResult) -> dict[str, tuple[float, float]]:
    assert result.explain is not None
    return {name: (part["value"], part["weight"]) for name, part in result.explain["parts"].items()}


class TestWords:
    """Keyword searches."""

    def test_memories_that_share_words_are_found_best_first(self, store: Searching) -> None:
        store.db.add("a", "green tea with milk")
        store.db.add("b", "coffee")
        store.db.add("c", "green tea")
        store.db.add("d", "green", user_id="bob")
        assert store.ids("green tea") == "ca"
        assert store.ids("milk") == "a"
        assert store.ids("juice") == ""
        assert store.ids("green", user_id="bob") == "d"
        assert store.ids("green", user_id="eve") == ""

    def test_newer_of_equals_comes_first_and_the_limit_counts(self, store: Searching) -> None:
        for id_ in "abc":
            store.db.add(id_, "tea")
        assert store.ids("tea") == "cba"
        assert store.ids("tea", limit=2) == "cb"

    def test_indexed_and_waiting_words_count_alike(self, store: Searching) -> None:
        store.db.add("a", "tea tea " + "x" * LONG)
        store.db.add("b", "tea tea " + "y" * (LONG - 9))
        assert [*store.db.indexed_words()] == [FIRST + 1]
        one, other = store.words("tea")
        assert {one.memory.id, other.memory.id} == {"a", "b"}
        assert one.score == other.score

    def test_words_that_repeat_weigh_more(self, store: Searching) -> None:
        store.db.add("a", "tea tea tea cup")
        store.db.add("b", "tea cup pot can")
        assert store.ids("tea") == "ab"
        store.db.add("c", "x" * LONG)
        assert store.ids("tea") == "ab"

    def test_score_explains_itself(self, store: Searching) -> None:
        store.db.add("a", "green tea")
        [result] = store.words("green tea", explain=True)
        assert result.explain is not None
        assert result.explain["mode"] == "keyword"
        assert parts(result) == {"keyword": (round(result.score, 6), 0.3)}
        assert 0.9 < result.score <= 1.0
        [result] = store.words("green tea")
        assert result.explain is None

    def test_results_below_a_score_are_left_out(self, store: Searching) -> None:
        store.db.add("a", "green tea")
        store.db.add("b", "green and red and blue and yellow and so on")
        first, second = store.words("green tea")
        assert store.ids("green tea", min_score=(first.score + second.score) / 2) == first.memory.id

    def test_score_is_never_above_one(self, store: Searching) -> None:
        store.db.add("a", "tea " * 50)
        store.db.add("b", "a longer text about other things that one may drink")
        assert [result.score for result in store.words("tea")] == [1.0]

    def test_tag_that_is_named_is_a_hint(self, store: Searching) -> None:
        store.db.add("a", "tea at home", tags=("Lisbon",))
        store.db.add("b", "tea at home")
        first, second = store.words("tea lisbon", explain=True)
        assert [first.memory.id, second.memory.id] == ["a", "b"]
        assert (parts(first)["tag"], parts(second)["tag"]) == ((1.0, 0.1), (0.0, 0.1))

    def test_tag_of_all_or_of_hidden_ones_is_none(self, store: Searching) -> None:
        store.db.add("a", "tea", tags=("x",))
        assert set(parts(*store.words("tea x", explain=True))) == {"keyword"}
        store.db.add("b", "tea")
        store.db.add("c", "tea", tags=("y",), valid_to=later(1))
        assert set(parts(store.words("tea y", explain=True)[0])) == {"keyword"}
        assert set(parts(store.words("tea x", explain=True)[0])) == {"keyword", "tag"}

    def test_date_that_is_named_is_a_hint(self, store: Searching) -> None:
        store.db.add("a", "tea", valid_from=later(-400 * 86_400))
        store.db.add("b", "tea")
        first, second = store.words("tea on 1 May 2026", explain=True)
        assert [first.memory.id, second.memory.id] == ["b", "a"]
        assert parts(first)["date"] == (1.0, 0.2)
        assert parts(second)["date"][0] < 1.0

    def test_view_is_a_part_of_the_query(self, store: Searching) -> None:
        store.db.add("a", "tea", scope="work/desk", tags=("x",))
        store.db.add("b", "tea", scope="home", valid_to=later(8))
        store.db.add("c", "tea", seconds=2, supersedes=("a",))
        assert store.ids("tea") == "c"
        assert store.ids("tea", seconds=7) == "cb"
        assert store.ids("tea", include_expired=True, include_superseded=True) == "cba"
        assert store.ids("tea", include_superseded=True, scope=parse_pattern("work/*")) == "a"
        assert store.ids("tea", include_superseded=True, tags=("x",)) == "a"
        assert store.ids("tea", include_superseded=True, include_expired=True, visible=patterns("home")) == "b"
        assert store.ids("tea", as_of=later(1)) == "ba"

    def test_time_is_not_before_the_newest_change(self, store: Searching) -> None:
        store.db.add("a", "tea", valid_to=later(8))
        store.db.add("b", "tea")
        store.db.update("b", seconds=8, confidence=0.5)
        assert store.ids("tea", seconds=0) == "b"

    def test_so_many_words_of_a_query_count(self, store: Searching) -> None:
        store.db.add("a", "tea")
        words = [f"word{number}" for number in range(search.MAX_QUERY_TERMS)]
        assert store.ids(" ".join([*words[1:], "tea"])) == "a"
        assert store.ids(" ".join([*words, "tea"])) == ""
        assert store.ids(" ".join([*words[1:], *words[1:], "tea"])) == "a"

    def test_results_end_before_the_one_that_is_too_large(self, store: Searching) -> None:
        for id_ in "abc":
            store.db.add(id_, "tea", extensions={"x-a": "z" * (PAGE_BYTES // 2)} if id_ != "b" else {})
        assert [result.memory.id for result in store.words("tea")] == ["c", "b"]
        assert isinstance(store.words("tea"), Truncated)
        assert not isinstance(store.words("tea", limit=2), Truncated)

    def test_candidates_hold_what_a_context_shows(self, store: Searching) -> None:
        store.db.add("a", "green tea", valid_from=later(-5))
        query, now = store.query("green tea", explain=True)
        [found] = store.db.run(search.by_keyword(query, now, store.cache, CANDIDATES))
        [result] = store.words("green tea")
        assert found == Candidate("a", result.score, "green tea", later(-5), later(0))


class TestVectors:
    """Vector searches."""

    def test_nearest_come_first(self, store: Searching) -> None:
        store.db.add("a", vector=(1, 0))
        store.db.add("b", vector=(0, 1))
        store.db.add("c", vector=(0.6, 0.8))
        store.db.add("d", vector=(1, 0), user_id="bob")
        found = store.vector(1, 0, explain=True)
        assert [(result.memory.id, round(result.score, 4)) for result in found] == [("a", 1.0), ("c", 0.6), ("b", 0.0)]
        assert found[1].explain == {"mode": "vector", "parts": {"vector": {"value": 0.6, "weight": 1.0}}}
        assert store.vector(1, 0, user_id="eve") == []

    def test_hidden_memory_needs_no_vector(self, store: Searching) -> None:
        store.db.add("a", vector=(1, 0))
        store.db.add("b", valid_to=later(1))
        assert [result.memory.id for result in store.vector(1, 0)] == ["a"]

    def test_memories_without_a_vector_are_refused(self, store: Searching) -> None:
        store.db.add("a", vector=(1, 0))
        store.db.add("b")
        store.db.add("c")
        message = r"2 of the 3 memories asked have no vector of the model 'small' \(2 dimensions\): move the store"
        with pytest.raises(InvalidRequestError, match=message):
            store.vector(1, 0)
        with pytest.raises(InvalidRequestError, match="3 of the 3"):
            store.vector(1, 0, 0, model=OTHER)

    def test_vectors_of_two_models_are_kept_apart(self, store: Searching) -> None:
        store.db.add("a", vector=(1, 0))
        store.db.add("b", vector=(0, 0, 1), model=OTHER)
        for model, vector, id_ in ((MODEL, (1, 0), "a"), (OTHER, (0, 0, 1), "b")):
            with pytest.raises(InvalidRequestError, match="1 of the 2"):
                store.vector(*vector, model=model)
            rid = FIRST + 1 + "ab".index(id_)
            state = store.db.run(snapshot.user_state("ann"))
            assert state is not None
            vectors = store.db.run(snapshot.load_vectors(state, rid - FIRST, model.dim, store.cache))
            assert vectors.rids.tolist() == [rid]


class TestBoth:
    """Hybrid searches."""

    def test_words_and_vectors_are_weighed_together(self, store: Searching) -> None:
        store.db.add("a", "green tea", vector=(0, 1))
        store.db.add("b", "coffee", vector=(1, 0))
        store.db.add("c", "milk", vector=(0, 1))
        found = store.both("tea", 1, 0, explain=True)
        assert [result.memory.id for result in found] == ["b", "a", "c"]
        assert found[0].explain is not None
        assert found[0].explain["mode"] == "hybrid"
        assert parts(found[0]) == {"vector": (1.0, 0.5), "keyword": (0.0, 0.3)}
        assert parts(found[1])["vector"] == (0.0, 0.5)
        assert parts(found[1])["keyword"][0] > 0.8

    def test_words_alone_are_enough_for_a_memory_without_a_vector(self, store: Searching) -> None:
        store.db.add("a", "tea")
        store.db.add("b", "coffee")
        store.db.add("c", "milk", vector=(1, 0))
        assert [result.memory.id for result in store.both("tea", 1, 0)] == ["c", "a"]

    def test_store_without_vectors_needs_none_for_the_query(self, store: Searching) -> None:
        store.db.add("a", "tea")
        store.db.add("b", "coffee", valid_to=later(1), vector=(1, 0))
        found = store.begin("tea", explain=True)
        assert isinstance(found, list)
        assert [result.memory.id for result in found] == ["a"]
        assert parts(found[0])["vector"] == (0.0, 0.5)
        assert store.begin("tea", user_id="eve") == []

    def test_vectors_of_another_model_only_are_refused(self, store: Searching) -> None:
        store.db.add("a", "tea", vector=(1, 0))
        store.db.add("b", "tea")
        with pytest.raises(InvalidRequestError, match=r"2 of the 2 memories asked have no vector of the model 'other'"):
            store.both("tea", 0, 0, 1, model=OTHER)

    def test_text_to_embed_is_without_names_and_frequent_words(self, store: Searching) -> None:
        for number in range(25):
            store.db.add(f"m{number}", f"tea number {number}", vector=(1, 0), tags=("Ann",) if number == 3 else None)
        prepared = store.begin("What does Ann say of tea with milk?")
        assert isinstance(prepared, Prepared)
        assert prepared.tags == ["Ann"]
        assert "milk" in prepared.text
        assert not {"ann", "tea"} & set(prepared.text.lower().split())

    def test_tag_of_hidden_memories_cleans_nothing(self, store: Searching) -> None:
        store.db.add("a", "tea", vector=(1, 0))
        store.db.add("b", "tea", tags=("Ann",), valid_to=later(1))
        prepared = store.begin("tea for Ann")
        assert isinstance(prepared, Prepared)
        assert (prepared.tags, "Ann" in prepared.text) == ([], True)

    def test_memory_that_came_meanwhile_is_found(self, store: Searching) -> None:
        store.db.add("a", "tea", vector=(1, 0))
        prepared = store.begin("tea")
        assert isinstance(prepared, Prepared)
        store.db.add("b", "tea", vector=(1, 0))
        query, now = store.query("tea")
        run = search.hybrid(query, now, store.cache, unit(1, 0), MODEL, prepared, RESULTS)
        assert [result.memory.id for result in store.db.run(run)] == ["b", "a"]

    def test_vectors_that_went_meanwhile_leave_the_words(self, store: Searching) -> None:
        store.db.add("a", "tea", vector=(1, 0))
        prepared = store.begin("tea")
        assert isinstance(prepared, Prepared)
        store.db.update("a", content="green tea")
        query, now = store.query("tea")
        run = search.hybrid(query, now, store.cache, unit(1, 0), MODEL, prepared, RESULTS)
        assert [result.memory.id for result in store.db.run(run)] == ["a"]

    def test_user_who_is_not_there_finds_nothing(self, store: Searching) -> None:
        store.db.add("a", "tea", vector=(1, 0))
        prepared = store.begin("tea")
        assert isinstance(prepared, Prepared)
        query, now = store.query("tea", user_id="eve")
        assert store.db.run(search.hybrid(query, now, store.cache, unit(1, 0), MODEL, prepared, RESULTS)) == []

    def test_candidates_are_read_as_for_words(self, store: Searching) -> None:
        store.db.add("a", "tea", vector=(1, 0))
        query, now = store.query("tea")
        prepared = store.db.run(search.begin(query, now, store.cache, CANDIDATES))
        assert isinstance(prepared, Prepared)
        run = search.hybrid(query, now, store.cache, unit(1, 0), MODEL, prepared, CANDIDATES)
        assert [found.id for found in store.db.run(run)] == ["a"]
