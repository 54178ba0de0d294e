"""Rules about vectors that callers bring: `embedding=` of add, add_many, update and search."""

from __future__ import annotations

from typing import Any

import pytest

from openmem import MemoryItem
from openmem.errors import InvalidRequestError
from openmem.testing._async.rules import OpenMemory, Rules, needs, scores_of
from openmem.testing.embedder import HashEmbedder
from openmem.types import ReadyVector

EAST: ReadyVector = {"model": "compass", "vector": [2.0, 0.0, 0.0]}
NORTH: ReadyVector = {"model": "compass", "vector": [0.0, 0.5, 0.0]}
NORTH_EAST: ReadyVector = {"model": "compass", "vector": [1, 1, 0]}


class ReadyVectorRules(Rules):
    """Vectors that were made elsewhere are stored, compared and checked."""

    @needs("ready_vectors")
    async def test_search_compares_vectors_that_callers_bring(self, connect: OpenMemory) -> None:
        """Without an embedder, what is near to the given vector is found, with its cosine, in both modes that compare.

        If this fails, check that a vector is scaled to length 1 and goes where those of an embedder go.
        """
        memory = connect(embedder="none")
        record = await self.remember(memory, "ann", "looks at the sunrise", embedding=EAST)
        items: list[MemoryItem] = [
            {"content": "looks at the pole star", "embedding": NORTH},
            {"content": "walks the dog", "embedding": NORTH_EAST},
        ]
        await memory.add_many(items, user_id="ann")
        assert record.embedding_model == "compass"
        results = await memory.search("where to", "ann", mode="vector", embedding=EAST)
        assert [one.memory.content for one in results] == [
            "looks at the sunrise",
            "walks the dog",
            "looks at the pole star",
        ]
        assert scores_of(results) == pytest.approx([1.0, 0.5**0.5, 0.0], abs=1e-3)
        best = await memory.search("where to", "ann", embedding=NORTH, limit=1)
        assert [one.memory.content for one in best] == ["looks at the pole star"]
        assert await memory.search("where to", "bob", mode="vector", embedding=EAST) == []

    @needs("ready_vectors", "updates")
    async def test_update_brings_the_vector_of_the_new_text(self, connect: OpenMemory) -> None:
        """A vector is given with the text that it is of, and takes the place of the one before.

        If this fails, check that the old vector goes, and that no vector comes without a text.
        """
        memory = connect(embedder="none")
        record = await self.remember(memory, "ann", "looks at the sunrise", embedding=EAST)
        changed = await memory.update(record.id, content="looks at the pole star", embedding=NORTH)
        assert (changed.embedding_model, changed.version) == ("compass", 2)
        [found] = await memory.search("where to", "ann", mode="vector", embedding=NORTH)
        assert found.score == pytest.approx(1.0, abs=1e-3)
        with pytest.raises(InvalidRequestError, match="embedding is given with the content"):
            await memory.update(record.id, embedding=EAST)
        with pytest.raises(InvalidRequestError, match="not searchable has no vector"):
            await memory.update(record.id, content="hidden", searchable=False, embedding=EAST)
        assert (await memory.get(record.id)).version == 2

    @needs("ready_vectors", "client_embeddings", "vector_search")
    async def test_vector_must_be_of_the_embedders_model(self, connect: OpenMemory) -> None:
        """Beside an embedder, a vector is taken if it has its model and length; the texts of the others are embedded.

        If this fails, check that each vector goes to the memory whose it is.
        """
        embedder = HashEmbedder()
        memory = connect(embedder=embedder)
        [tea, milk] = embedder.embed(["tea", "milk"])
        items: list[MemoryItem] = [
            {"content": "first", "embedding": {"model": embedder.model, "vector": milk}},
            {"content": "likes coffee"},
            {"content": "third", "embedding": {"model": embedder.model, "vector": tea}},
        ]
        records = await memory.add_many(items, user_id="ann")
        assert {record.embedding_model for record in records} == {embedder.model}
        [best, *_] = await memory.search("tea", "ann", mode="vector", limit=1)
        assert (best.memory.content, round(best.score, 3)) == ("third", 1.0)
        [best, *_] = await memory.search("?", "ann", mode="vector", embedding={"model": embedder.model, "vector": milk})
        assert (best.memory.content, round(best.score, 3)) == ("first", 1.0)
        short: ReadyVector = {"model": embedder.model, "vector": tea[:-1]}
        for wrong, said in ((EAST, "the embedder's model is"), (short, "numbers")):
            with pytest.raises(InvalidRequestError, match=said):
                await memory.add("likes juice", user_id="ann", embedding=wrong)
            with pytest.raises(InvalidRequestError, match=said):
                await memory.search("juice", "ann", embedding=wrong)
        assert len(await self.listed(memory, "ann")) == 3

    @needs("ready_vectors")
    async def test_store_without_an_embedder_keeps_to_one_model(self, connect: OpenMemory) -> None:
        """A vector of a second model, or of another length, is refused, and nothing is stored.

        If this fails, check that the models of all that is stored are looked at before a vector comes in.
        """
        memory = connect(embedder="none")
        await self.remember(memory, "ann", "looks at the sunrise", embedding=EAST)
        wrongs: list[ReadyVector] = [
            {"model": "sextant", "vector": [1.0, 0.0, 0.0]},
            {"model": "compass", "vector": [1.0, 0.0]},
        ]
        for wrong in wrongs:
            with pytest.raises(InvalidRequestError):
                await memory.add("walks the dog", user_id="ann", embedding=wrong)
            with pytest.raises(InvalidRequestError):
                await memory.add("walks the dog", user_id="bob", embedding=wrong)
            with pytest.raises(InvalidRequestError):
                await memory.search("where to", "ann", mode="vector", embedding=wrong)
        mixed: list[MemoryItem] = [{"content": "a", "embedding": EAST}, {"content": "b", "embedding": wrongs[0]}]
        with pytest.raises(InvalidRequestError, match=r"embedding\.model is 'sextant'"):
            await memory.add_many(mixed, user_id="ann")
        assert await self.contents(memory, "ann") == ["looks at the sunrise"]
        assert await self.contents(memory, "bob") == []

    @needs("ready_vectors")
    async def test_wrong_vectors_are_refused_with_the_member(self, connect: OpenMemory) -> None:
        """An object that is no vector with a model is refused by add and by search, which name its wrong member.

        If this fails, check that every number is looked at before anything is stored.
        """
        memory = connect(embedder="none")
        await self.remember(memory, "ann", "looks at the sunrise", embedding=EAST)
        wrongs: list[tuple[Any, str]] = [
            ([1.0], "embedding must be an object"),
            ({"vector": [1.0]}, "embedding.model must be a string"),
            ({"model": "compass"}, "embedding.vector must be a list of numbers"),
            (
                {
                    "model": "compass",
                    "vector": [],
                },
                "1 to 16000 numbers",
            ),
            ({"model": "compass", "vector": [0.0] * 16_001}, "1 to 16000 numbers"),
            ({"model": "compass", "vector": [0.0, 0.0, 0.0]}, "must not be all zeros"),
            ({"model": "compass", "vector": [1.0, float("nan"), 0.0]}, "finite"),
            ({"model": "compass", "vector": [1.0, "2", 0.0]}, r"embedding.vector\[1\] must be a number"),
            ({"model": "compass", "vector": [1.0, True, 0.0]}, r"embedding.vector\[1\] must be a number"),
            ({"model": "compass", "vector": [1.0], "dim": 1}, "'dim' is unknown in embedding"),
        ]
        for wrong, said in wrongs:
            with pytest.raises(InvalidRequestError, match=said):
                await memory.add("walks the dog", user_id="ann", embedding=wrong)
            with pytest.raises(InvalidRequestError, match=said):
                await memory.search("where to", "ann", embedding=wrong)
        with pytest.raises(InvalidRequestError, match="not searchable has no vector"):
            await memory.add("walks the dog", user_id="ann", searchable=False, embedding=EAST)
        with pytest.raises(InvalidRequestError, match="compares no vectors"):
            await memory.search("where to", "ann", mode="keyword", embedding=EAST)
        assert await self.contents(memory, "ann") == ["looks at the sunrise"]
