"""Vectors of any length, of several models side by side, kept where a scan reads them quickly."""

from __future__ import annotations

import pytest

from openmem import AsyncMemory, InvalidRequestError
from tests.postgres_observer import Observer
from tests.random_vectors import RandomEmbedder, nearest

DIMS = [1, 3, 384, 1_536, 1_800, 1_801, 2_000, 3_072, 3_600, 3_601, 4_000, 8_192]
COLUMNS = {**dict.fromkeys(DIMS[:5], "embedding"), **dict.fromkeys(DIMS[5:9], "embedding_half")}
TEXTS = [f"text {number}" for number in range(12)]
LONG = "word " * 2_000
FULL_PRECISION, HALF_PRECISION = 1e-6, 2e-3


def opened(url: str, dim: int, model: str = "random") -> AsyncMemory:
    return AsyncMemory(url=url, embedder=RandomEmbedder(dim, model))


async def found(memory: AsyncMemory, query: str, user: str = "ann") -> list[str]:
    return [result.memory.content for result in await memory.search(query, user, mode="vector", limit=5)]


@pytest.mark.parametrize("dim", DIMS)
async def test_vectors_of_any_length_are_kept_and_searched_exactly(postgres_url: str, dim: int) -> None:
    embedder = RandomEmbedder(dim)
    async with opened(postgres_url, dim) as memory:
        records = await memory.add_many([{"content": text, "user_id": "ann"} for text in TEXTS])
        assert {record.embedding_model for record in records} == {"random"}
        for number in range(3 if dim > 1 else 0):  # of one number, all are equally near
            assert await found(memory, f"query {number}") == nearest(embedder, f"query {number}", TEXTS, 5)
        best = (await memory.search("text 7", "ann", mode="vector", limit=1))[0]
    column = COLUMNS.get(dim, "embedding_far")
    half = column == "embedding_half"
    assert best.score == pytest.approx(1.0, abs=HALF_PRECISION if half else FULL_PRECISION)
    assert Observer(postgres_url).value(f"select count({column}) from openmem.memories") == len(TEXTS)


@pytest.mark.parametrize("dim", [1_800, 3_600, 4_000])
async def test_row_with_a_long_text_and_the_longest_vector_fits(postgres_url: str, dim: int) -> None:
    async with opened(postgres_url, dim) as memory:
        record = await memory.add(content=LONG, user_id="a" * 256, tags=["t" * 200] * 3, scope="s" * 500, key="k" * 256)
        assert (await memory.update(record.id, tags=[f"{number} " * 60 for number in range(100)])).version == 2
        assert await found(memory, LONG, "a" * 256) == [record.content]


async def test_vectors_for_a_scan_stay_uncompressed_in_their_row(postgres_url: str) -> None:
    async with opened(postgres_url, 384) as memory:
        await memory.add_many([{"content": text, "user_id": "ann"} for text in TEXTS])
    observer = Observer(postgres_url)
    kept = observer.rows(
        "select attname::text, attstorage::text from pg_attribute "
        "where attrelid = 'openmem.memories'::regclass and attname like 'embedding%' order by 1"
    )
    assert kept == [("embedding", "p"), ("embedding_far", "e"), ("embedding_half", "p")]
    assert observer.value("select max(pg_column_size(embedding)) from openmem.memories") == 384 * 4 + 8
    toast = "select pg_relation_size(reltoastrelid) from pg_class where oid = 'openmem.memories'::regclass"
    assert observer.value(toast) == 0


async def test_models_live_side_by_side_in_one_store(postgres_url: str) -> None:
    models = {f"model{dim}": dim for dim in (8, 16, 2_000, 4_000)}
    for name, dim in models.items():
        async with opened(postgres_url, dim, name) as memory:
            await memory.add_many([{"content": f"{text} of {name}", "user_id": name} for text in TEXTS])
    for name, dim in models.items():
        async with opened(postgres_url, dim, name) as memory:
            texts = [f"{text} of {name}" for text in TEXTS]
            assert await found(memory, "query", name) == nearest(RandomEmbedder(dim, name), "query", texts, 5)
            with pytest.raises(InvalidRequestError, match=f"no vector of the model '{name}'"):
                await found(memory, "query", next(other for other in models if other != name))


async def test_models_of_one_length_are_told_apart(postgres_url: str) -> None:
    async with opened(postgres_url, 8, "old") as memory:
        await memory.add(content="tea", user_id="ann")
    async with opened(postgres_url, 8, "new") as memory:
        await memory.add(content="coffee", user_id="ann")
        with pytest.raises(InvalidRequestError, match="reembed"):
            await found(memory, "tea")
        await memory.reembed()
        assert await found(memory, "tea") == ["tea", "coffee"]


@pytest.mark.parametrize(("old", "new"), [(8, 2_000), (2_000, 4_000), (4_000, 8)])
async def test_move_to_vectors_of_another_length_leaves_none_of_the_old(postgres_url: str, old: int, new: int) -> None:
    async with opened(postgres_url, old, "old") as memory:
        await memory.add_many([{"content": text, "user_id": "ann"} for text in TEXTS])
    async with opened(postgres_url, new, "new") as memory:
        await memory.reembed()
        assert await found(memory, "query") == nearest(RandomEmbedder(new, "new"), "query", TEXTS, 5)
    vectors = "count(embedding) + count(embedding_half) + count(embedding_far)"
    counts = Observer(postgres_url).rows(f"select {vectors}, count(distinct model) from openmem.memories")
    assert counts == [(len(TEXTS), 1)]
    assert Observer(postgres_url).value("select count(*) from openmem.vectors") == 0


async def test_vector_without_direction_is_found_last_with_a_score_of_zero(postgres_url: str) -> None:
    class Blank(RandomEmbedder):
        def embed(self, texts):  # type: ignore[no-untyped-def]
            return super().embed(texts) * [[0.0] if text == "blank" else [1.0] for text in texts]

    async with AsyncMemory(url=postgres_url, embedder=Blank(8)) as memory:
        await memory.add_many([{"content": text, "user_id": "ann"} for text in ("blank", "tea")])
        results = await memory.search("tea", "ann", mode="vector")
        assert [(result.memory.content, round(result.score, 6)) for result in results] == [("tea", 1.0), ("blank", 0.0)]
        assert {result.score for result in await memory.search("blank", "ann", mode="vector")} == {0.0}
        assert {result.score >= 0 for result in await memory.search("blank tea", "ann")} == {True}
        best, other = await memory.search("some tea", "ann")
        assert (best.memory.content, other.memory.content) == ("tea", "blank")
        assert best.score > other.score == 0
