"""Vectors that callers bring in a store: no embedder is asked, and what an embedder makes stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from openmem import InvalidRequestError, Memory, MemoryItem
from openmem.testing import HashEmbedder


class Watched(HashEmbedder):
    """An embedder that remembers what it was asked for."""

    def __init__(self, model: str = "watched") -> None:
        super().__init__(model=model)
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return super().embed(texts)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_path: Path) -> str:
    return str(store_path if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url"))


def test_embedder_is_asked_for_the_others_only(url: str) -> None:
    embedder, other = Watched(), HashEmbedder(model="watched")
    [tea, milk] = other.embed(["tea", "milk"])
    with Memory(url=url, embedder=embedder) as memory:
        record = memory.add("one", user_id="ann", embedding={"model": "watched", "vector": tea})
        memory.update(record.id, content="uno", embedding={"model": "watched", "vector": milk})
        memory.search("?", "ann", embedding={"model": "watched", "vector": tea})
        assert embedder.asked == []
        items: list[MemoryItem] = [{"content": f"n{number}"} for number in range(6)]
        for item in items[1::2]:
            item["embedding"] = {"model": "watched", "vector": tea}
        told: list[tuple[int, int]] = []
        memory.add_many(items, user_id="bob", on_progress=lambda done, total: told.append((done, total)))
        assert embedder.asked == ["n0", "n2", "n4"]
        assert told[-1] == (6, 6)
        exact = memory.search("?", "bob", mode="vector", limit=3, embedding={"model": "watched", "vector": tea})
        assert sorted(one.memory.content for one in exact) == ["n1", "n3", "n5"]
        [found] = memory.search("?", "ann", mode="vector", embedding={"model": "watched", "vector": milk})
        assert (found.memory.content, round(found.score, 3)) == ("uno", 1.0)


@pytest.mark.parametrize("dim", [1, 1_801, 3_601, 16_000])
def test_vector_may_be_as_long_as_the_store_takes(url: str, dim: int) -> None:
    numbers = np.random.default_rng(1).standard_normal(dim)
    with Memory(url=url, embedder="none") as memory:
        memory.add("long", user_id="ann", embedding={"model": "m", "vector": numbers.tolist()})
        memory.add("other", user_id="ann", embedding={"model": "m", "vector": (-numbers).tolist()})
        [best, *_] = memory.search("?", "ann", mode="vector", embedding={"model": "m", "vector": numbers.tolist()})
        assert (best.memory.content, round(best.score, 3)) == ("long", 1.0)


def test_model_may_be_another_once_no_vector_of_the_first_is_left(url: str) -> None:
    with Memory(url=url, embedder="none") as memory:
        first = memory.add("one", user_id="ann", embedding={"model": "a", "vector": [1.0]})
        with pytest.raises(InvalidRequestError, match="the store has vectors of 'a'"):
            memory.add("two", user_id="bob", embedding={"model": "b", "vector": [1.0, 0.0]})
        memory.delete(first.id)
        second = memory.add("two", user_id="bob", embedding={"model": "b", "vector": [1.0, 0.0]})
        assert second.embedding_model == "b"


def test_text_that_changes_without_its_vector_has_none(url: str) -> None:
    with Memory(url=url, embedder="none") as memory:
        record = memory.add("one", user_id="ann", embedding={"model": "a", "vector": [1.0]})
        assert memory.update(record.id, tags=["x"]).embedding_model == "a"
        assert memory.update(record.id, content="uno").embedding_model is None
        with pytest.raises(InvalidRequestError, match="have no vector"):
            memory.search("?", "ann", mode="vector", embedding={"model": "a", "vector": [1.0]})


def test_memory_that_is_not_searchable_takes_no_vector_with_its_new_text(url: str) -> None:
    with Memory(url=url, embedder="none") as memory:
        record = memory.add("one", user_id="ann", searchable=False)
        changed = memory.update(record.id, content="two", embedding={"model": "a", "vector": [1.0]})
        assert (changed.content, changed.embedding_model, changed.searchable) == ("two", None, False)
        shown = memory.update(record.id, content="two", searchable=True, embedding={"model": "a", "vector": [1.0]})
        assert (shown.embedding_model, shown.searchable) == ("a", True)
        assert len(memory.search("?", "ann", mode="vector", embedding={"model": "a", "vector": [1.0]})) == 1
