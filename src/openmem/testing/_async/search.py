"""Rules about search: what is found, in which order, with which scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest

from openmem import AsyncMemory
from openmem.errors import InvalidRequestError, UnsupportedCapabilityError
from openmem.testing._async.rules import OpenMemory, Rules, ids_of, needs, scores_of
from openmem.testing.embedder import HashEmbedder
from openmem.types import SearchMode

FACTS = [
    "prefers green tea in the morning",
    "prefers black coffee after lunch",
    "plays the violin on Sundays",
    "runs along the river before work",
    "grows tomatoes and tea roses in the garden",
]
ODD_QUERIES = [
    'tea "',
    "tea AND OR NOT NEAR(",
    "tea* OR ^coffee",
    "content:tea -coffee",
    "(tea",
    "tea'; DROP TABLE memories; --",
    "???",
    "🍵",
    "茶",
    "the of and",
    "%",
    "_",
    "\\",
    "{tea}",
    "tea " * 2_000,
]


class SearchRules(Rules):
    """search."""

    async def _store_facts(self, memory: AsyncMemory, user_id: str = "ann") -> None:
        for fact in FACTS:
            await self.remember(memory, user_id, fact)

    async def test_best_match_comes_first(self, memory: AsyncMemory) -> None:
        """A memory that shares the query's words comes before those that do not.

        If this fails, check the direction of the order: distances rise where scores fall.
        """
        await self._store_facts(memory)
        results = await memory.search("playing the violin", "ann")
        assert results[0].memory.content == "plays the violin on Sundays"

    @pytest.mark.parametrize("mode", get_args(SearchMode))
    async def test_scores_lie_between_zero_and_one_and_fall(self, memory: AsyncMemory, mode: SearchMode) -> None:
        """In every mode scores lie in [0, 1] and never rise down the list.

        If this fails, check that raw scores (BM25, distances) are normalised, and sorted after that.
        """
        if not self.declares(*_needed_by(mode)):
            with pytest.raises(UnsupportedCapabilityError):
                await memory.search("green tea", "ann", mode=mode)
            return
        await self._store_facts(memory)
        scores = scores_of(await memory.search("green tea this morning", "ann", mode=mode))
        assert scores
        assert all(0.0 <= score <= 1.0 for score in scores)
        assert scores == sorted(scores, reverse=True)

    async def test_limit_bounds_the_results_to_the_best(self, memory: AsyncMemory) -> None:
        """`limit` keeps the head of the list, and there never is more.

        If this fails, check that the limit is applied after the final order is known.
        """
        await self._store_facts(memory)
        everything = await memory.search("tea", "ann", limit=100)
        for limit in (1, 2):
            some = await memory.search("tea", "ann", limit=limit)
            assert [r.memory.id for r in some] == [r.memory.id for r in everything[:limit]]

    async def test_min_score_cuts_off_the_tail(self, memory: AsyncMemory) -> None:
        """`min_score` keeps exactly the results whose score reaches it, and is applied before the limit.

        If this fails, check that the final score is compared, not one of its parts.
        """
        await self._store_facts(memory)
        everything = await memory.search("green tea garden", "ann")
        bar = (max(scores_of(everything)) + min(scores_of(everything))) / 2
        kept = await memory.search("green tea garden", "ann", min_score=bar)
        expected = [r.memory.id for r in everything if r.score >= bar]
        assert [r.memory.id for r in kept] == expected
        assert expected

    async def test_same_search_twice_gives_the_same_answer(self, memory: AsyncMemory) -> None:
        """Equal scores have a fixed order: the same search gives the same list.

        If this fails, check that ties are broken by something that does not change, such as the id.
        """
        for _ in range(12):
            await self.remember(memory, "ann", "prefers green tea")
        first = [r.memory.id for r in await memory.search("green tea", "ann", limit=5)]
        second = [r.memory.id for r in await memory.search("green tea", "ann", limit=5)]
        assert first == second
        assert len(set(first)) == 5

    async def test_result_holds_the_whole_record(self, memory: AsyncMemory) -> None:
        """A result's memory is the record that `get` returns.

        If this fails, check that search reads every column.
        """
        record = await self.remember(
            memory, "ann", "prefers green tea", tags=["drink"], confidence=0.5, **{"x-kit": {"a": 1}}
        )
        [result] = await memory.search("green tea", "ann")
        assert result.memory.model_dump(exclude={"status"}) == record.model_dump(exclude={"status"})

    async def test_parts_of_the_score_are_shown_on_request_only(self, memory: AsyncMemory) -> None:
        """`explain=True` fills `explain`; without it the field is empty.

        If this fails, check that the flag reaches the provider.
        """
        await self._store_facts(memory)
        assert all(r.explain for r in await memory.search("green tea", "ann", explain=True))
        assert all(r.explain is None for r in await memory.search("green tea", "ann"))

    async def test_tags_keep_only_memories_that_carry_them(self, memory: AsyncMemory) -> None:
        """`tags=` limits a search to memories that carry all of the tags, even if better matches do not.

        If this fails, check that tags are part of the search and compared whole, not as parts of words.
        """
        for _ in range(20):
            await self.remember(memory, "ann", "green tea", tags=["teapot"])
        await self.remember(memory, "ann", "green tea", tags=["tea%"])
        await self.remember(memory, "ann", "tea among words about gardens", tags=["Tea", "tea"])
        results = await memory.search("green tea", "ann", tags=["tea"], limit=1)
        assert [r.memory.content for r in results] == ["tea among words about gardens"]
        assert await memory.search("green tea", "ann", tags=["te"]) == []
        assert len(await memory.search("green tea", "ann", tags=["Tea", "tea"])) == 1
        assert await memory.search("green tea", "ann", tags=["teapot", "tea"]) == []

    async def test_odd_query_is_answered(self, memory: AsyncMemory) -> None:
        """No sign in a query means anything to the backend: every text is answered without an error.

        If this fails, check how the query is turned into the index's own language.
        """
        await self.remember(memory, "ann", "prefers green tea")
        for query in ODD_QUERIES:
            for result in await memory.search(query, "ann"):
                assert 0.0 <= result.score <= 1.0, query
            block = await memory.context(query, "ann")
            assert len(block.citations) <= 1, query

    async def test_search_in_an_empty_store_finds_nothing(self, memory: AsyncMemory) -> None:
        """A user without memories gets an empty list.

        If this fails, check the case of no vectors and no index entries.
        """
        assert await memory.search("green tea", "ann") == []

    @needs("keyword_search")
    async def test_keyword_search_finds_any_shared_word(self, memory: AsyncMemory) -> None:
        """One common content word is enough; memories without one are not found.

        If this fails, check that the words of the query are joined by OR.
        """
        await self._store_facts(memory)
        found = await self.found(memory, "coffee or violin tonight", "ann", mode="keyword")
        assert found == ["plays the violin on Sundays", "prefers black coffee after lunch"]

    @needs("keyword_search")
    async def test_keyword_search_knows_forms_of_a_word(self, memory: AsyncMemory) -> None:
        """Case and endings do not matter: `Running` finds `runs`, `tomato` finds `tomatoes`.

        If this fails, check that text and query are stemmed in the same way.
        """
        await self._store_facts(memory)
        assert await self.found(memory, "Running", "ann", mode="keyword") == [FACTS[3]]
        assert await self.found(memory, "tomato?", "ann", mode="keyword") == [FACTS[4]]

    @needs("keyword_search")
    async def test_keyword_search_ignores_stop_words(self, memory: AsyncMemory) -> None:
        """Sharing nothing but words like `the` and `is` is no match.

        If this fails, check that stop words are dropped from the query.
        """
        await self.remember(memory, "ann", "the cat is on the mat")
        assert await self.found(memory, "is the dog on the sofa", "ann", mode="keyword") == []

    @needs("keyword_search")
    async def test_keyword_search_reads_tags(self, memory: AsyncMemory) -> None:
        """The words of a tag count as words of the memory.

        If this fails, check that tags are put into the index, and updated there.
        """
        await self.remember(memory, "ann", "drinks oolong", tags=["favourite beverage"])
        assert await self.found(memory, "beverages", "ann", mode="keyword") == ["drinks oolong"]

    @needs("vector_search")
    async def test_vector_score_is_the_cosine(self, memory: AsyncMemory) -> None:
        """In vector mode a score is the cosine of query and memory, with negative values shown as 0.

        If this fails, check normalisation, and that the query went through the same model as the memories.
        """
        await self._store_facts(memory)
        results = await memory.search("green tea in the garden", "ann", mode="vector", limit=100)
        assert {r.memory.content for r in results} == set(FACTS)
        if self.client_embeddings:
            cosine = HashEmbedder().similarity
            for result in results:
                expected = max(0.0, cosine("green tea in the garden", result.memory.content))
                assert result.score == pytest.approx(expected, abs=1e-4)

    @needs("vector_search", "updates")
    async def test_vector_follows_the_text_of_an_update(self, memory: AsyncMemory) -> None:
        """After an update of the text its vector is that of the new text.

        If this fails, check that an update embeds again and that cached vectors are dropped.
        """
        record = await self.remember(memory, "ann", "plays the violin")
        before = await memory.search("green tea", "ann", mode="vector")
        await memory.update(record.id, content="green tea")
        await self.settle(memory, [record.id], "ann")
        after = await memory.search("green tea", "ann", mode="vector")
        assert after[0].score > max(before[0].score, 0.9)

    async def test_vectors_of_another_model_are_not_compared(self, connect: OpenMemory) -> None:
        """A record names the model of its vector; a vector search with another model is refused, not guessed.

        If this fails, check that the model's name is stored beside the vector and compared before a search.
        """
        record = await self.remember(connect(), "ann", "prefers green tea")
        if not self.declares("vector_search", "client_embeddings"):
            return
        assert record.embedding_model == HashEmbedder().model
        other = connect(embedder=HashEmbedder(model="another"))
        with pytest.raises(InvalidRequestError, match="another"):
            await other.search("green tea", "ann", mode="vector")

    async def test_vectors_of_another_length_are_refused_and_led_out_of(self, connect: OpenMemory) -> None:
        """An embedder of the same name with longer or shorter vectors stores nothing, and hinders no search.
        `reembed`, where there is one, leads out: from then on the new length is right and the old one is refused.

        If this fails, check that a vector is known by the name of its model and its length, in every statement.
        """
        first = connect()
        tea = await self.remember(first, "ann", "prefers green tea")
        if not self.declares("vector_search", "client_embeddings"):
            return
        other = connect(embedder=HashEmbedder(16, model=HashEmbedder().model))
        for user in ("ann", "bob"):
            with pytest.raises(InvalidRequestError, match="reembed"):
                await other.add(content="plays chess", user_id=user)
        with pytest.raises(InvalidRequestError, match="reembed"):
            await other.search("green tea", "ann", mode="vector")
        assert ids_of(await self.listed(first, "ann")) == [tea.id]
        assert await self.found(first, "green tea", "ann", mode="vector") == [tea.content]
        if "reembed" not in (await other.capabilities()).all_verbs:
            return
        report = await other.reembed()
        assert (report.done, report.total) == (1, 1)
        with pytest.raises(InvalidRequestError, match="reembed"):
            await first.add(content="plays chess", user_id="ann")
        chess = await self.remember(other, "ann", "plays chess")
        assert await self.found(other, "green tea", "ann", mode="vector") == sorted([tea.content, chess.content])

    async def test_memories_without_vectors_are_searched_without_the_embedder(self, connect: OpenMemory) -> None:
        """A query needs no vector if no memory has one: no model is loaded, no endpoint asked, for an answer that
        it could not change. As soon as a memory has a vector, the query gets one.

        If this fails, check that the store is asked for vectors before the query is embedded.
        """
        if not self.declares("vector_search", "client_embeddings"):
            return
        tea = await self.remember(connect(embedder="none"), "ann", "prefers green tea")
        embedder = _Listening()
        memory = connect(embedder=embedder)
        assert await self.found(memory, "green tea", "ann") == [tea.content]
        assert tea.content in (await memory.context("green tea", "ann")).text
        assert await memory.search("anything", "bob") == []
        assert embedder.heard == []
        chess = await self.remember(memory, "ann", "plays chess")
        assert await self.found(memory, "chess", "ann", limit=1) == [chess.content]
        assert "chess" in embedder.heard

    @needs("keyword_search")
    async def test_hybrid_without_an_embedder_is_keyword_search(self, connect: OpenMemory) -> None:
        """Without an embedder hybrid is keyword search; vector search and `reembed` are refused, as capabilities say.

        If this fails, check what the provider does when it is opened with `embedder="none"`.
        """
        memory = connect(embedder="none")
        await self._store_facts(memory)
        hybrid = await memory.search("tea or violin", "ann")
        keyword = await memory.search("tea or violin", "ann", mode="keyword")
        assert [r.memory.id for r in hybrid] == [r.memory.id for r in keyword]
        if self.client_embeddings:
            with pytest.raises(UnsupportedCapabilityError):
                await memory.search("tea", "ann", mode="vector")
            said = await memory.capabilities()
            assert said.features.vector_search is False
            assert "reembed" not in said.all_verbs
            with pytest.raises(UnsupportedCapabilityError):
                await memory.reembed()

    @needs("offsets")
    async def test_pages_of_a_search_neither_skip_nor_repeat(self, memory: AsyncMemory) -> None:
        """Pages of one size, each where the one before ended, hold what a search for all of them finds, best first.

        If this fails, check that ties are broken by something that stays, and that no page is ranked by itself.
        """
        for number in range(45):
            tags = ["harbour"] if number % 9 == 0 else None
            await self.remember(memory, "ann", f"tea {'garden ' * (number % 4)}{number}", tags=tags)
        asked: list[tuple[str, SearchMode]] = [("tea garden", "hybrid"), ("harbour tea", "hybrid")]
        for query, mode in [*asked, ("tea", self._other_mode())]:
            whole = await memory.search(query, "ann", mode=mode, limit=200)
            assert len(whole) == 45
            assert scores_of(whole) == sorted(scores_of(whole), reverse=True)
            for size in (7, 15):
                found = [
                    result
                    for offset in range(0, 60, size)
                    for result in await memory.search(query, "ann", mode=mode, limit=size, offset=offset)
                ]
                assert len({result.memory.id for result in found}) == len(found) == 45
                assert scores_of(found) == sorted(scores_of(found), reverse=True)
            assert list(await memory.search(query, "ann", mode=mode, limit=5, offset=45)) == []

    def _other_mode(self) -> SearchMode:
        return (
            "keyword" if self.declares("keyword_search") else "vector" if self.declares("vector_search") else "hybrid"
        )

    @needs("offsets")
    async def test_page_of_a_search_obeys_its_filters(self, memory: AsyncMemory) -> None:
        """`offset` counts what the filters leave: tags, and the lowest score.

        If this fails, check that the best are left off after the filters, not before.
        """
        for number in range(12):
            await self.remember(memory, "ann", f"tea {number}", tags=["even"] if number % 2 == 0 else ["odd"])
        whole = await memory.search("tea", "ann", tags=["even"], limit=6)
        rest = await memory.search("tea", "ann", tags=["even"], limit=4, offset=4)
        assert len({result.memory.id for result in [*whole[:4], *rest]}) == 6
        least = whole[-1].score
        for offset in (0, 3, 6):
            found = await memory.search("tea", "ann", tags=["even"], limit=3, offset=offset, min_score=least)
            assert all(result.score >= least for result in found)
            assert len(found) == (3 if offset < 6 else 0)


class _Listening(HashEmbedder):
    """Remembers the texts that it has embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.heard += texts
        return super().embed(texts)


def _needed_by(mode: SearchMode) -> tuple[str, ...]:
    return {"hybrid": (), "vector": ("vector_search",), "keyword": ("keyword_search",)}[mode]
