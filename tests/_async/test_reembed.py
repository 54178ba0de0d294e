"""Several embedding models over the life of a store: said clearly, moved step by step, readable all the while."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, MemoryItem, MemoryRecord, ProviderError
from openmem.testing import HashEmbedder
from tests.other_client import change_from_outside

COUNT = 600
"""More than twice what a move embeds at once."""


class Counting(HashEmbedder):
    """Counts the texts it has embedded, and may fail or do something on the way."""

    def __init__(self, model: str, dim: int = 64, *, before: Callable[[int], None] | None = None) -> None:
        super().__init__(dim, model=model)
        self.count = 0
        self.before = before

    def embed(self, texts: Any) -> Any:
        if self.before is not None:
            self.before(self.count)
        self.count += len(texts)
        return super().embed(texts)


@pytest.fixture(params=["sqlite", "postgres"])
def any_store_url(request: pytest.FixtureRequest) -> str:
    """The address of a store of each kind that searches vectors itself."""
    url: str = request.getfixturevalue("store_url" if request.param == "sqlite" else "postgres_url")
    return url


def fail_after(count: int) -> Callable[[int], None]:
    def before(done: int) -> None:
        if done >= count:
            raise RuntimeError("no more")

    return before


async def fill(url: str, count: int = COUNT) -> list[MemoryRecord]:
    """Fill a store with the model "old"."""
    async with AsyncMemory(url=url, embedder=HashEmbedder(model="old")) as memory:
        items: list[MemoryItem] = [
            {"content": f"note word{number}", "user_id": f"user{number % 3}"} for number in range(count)
        ]
        return await memory.add_many(items)


async def finds(memory: AsyncMemory, number: int, mode: Any = "vector") -> bool:
    """Return whether a search for a memory's own word finds it first."""
    results = await memory.search(f"word{number}", f"user{number % 3}", limit=1, mode=mode)
    return [result.memory.content for result in results] == [f"note word{number}"]


async def models(memory: AsyncMemory) -> set[str | None]:
    """Return the models that the records name."""
    found: set[str | None] = set()
    for user in range(3):
        page = await memory.list(f"user{user}", limit=500)
        found |= {record.embedding_model for record in page.items}
    return found


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
async def test_search_with_another_model_says_what_to_do(store_url: str, mode: Any) -> None:
    await fill(store_url, 9)
    async with AsyncMemory(url=store_url, embedder=HashEmbedder(model="new")) as memory:
        with pytest.raises(InvalidRequestError, match=r"3 of the 3 memories .* 'new'.*reembed\(\).*keyword"):
            await memory.search("word1", "user1", mode=mode)
        assert await finds(memory, 1, "keyword")


async def test_context_with_another_model_says_so_too(store_url: str) -> None:
    await fill(store_url, 9)
    async with AsyncMemory(url=store_url, embedder=HashEmbedder(model="new")) as memory:
        with pytest.raises(InvalidRequestError, match=r"reembed\(\)"):
            await memory.context("word1", "user1")


async def test_memories_of_two_models_are_not_compared_by_vector(store_url: str) -> None:
    await fill(store_url, 9)
    async with AsyncMemory(url=store_url, embedder=HashEmbedder(model="new")) as memory:
        await memory.add(content="note word99", user_id="user0")
        with pytest.raises(InvalidRequestError, match="3 of the 4 memories"):
            await memory.search("word99", "user0", mode="vector")
        assert await finds(memory, 99, "hybrid")
        assert await finds(memory, 3, "hybrid")


async def test_same_model_with_other_dimensions_is_refused_and_reembed_leads_out(any_store_url: str) -> None:
    records = await fill(any_store_url, 9)
    async with (
        AsyncMemory(url=any_store_url, embedder=HashEmbedder(model="old")) as old,
        AsyncMemory(url=any_store_url, embedder=HashEmbedder(16, model="old")) as new,
    ):
        await old.add(content="note word99", user_id="user0")  # it knows by now how long vectors are
        refused: list[Callable[[], Any]] = [
            lambda: new.add(content="note", user_id="user1"),
            lambda: new.add(content="note", user_id="nobody yet", key="k"),
            lambda: new.add_many([{"content": f"note {user}", "user_id": f"user{user}"} for user in range(4)]),
            lambda: new.update(records[0].id, content="note"),
            lambda: new.search("word1", "user1", mode="vector"),
            lambda: new.search("word1", "user1"),
            lambda: new.context("word1", "user1"),
        ]
        for verb in refused:
            with pytest.raises(InvalidRequestError, match=r"'old'.*reembed\(\)"):
                await verb()
        with pytest.raises(InvalidRequestError, match="16 dimensions, but this store's vectors of it have 64"):
            await new.import_((await old.export("user2")).lines, conflict="duplicate")
        assert await finds(new, 1, "keyword")
        assert all([await finds(old, number) for number in range(9)])
        assert (await new.reembed()).model_dump() == {"model": "old", "done": 10, "total": 10}
        assert all([await finds(new, number, mode) for number in range(9) for mode in ("vector", "hybrid")])
        refused = [
            lambda: old.add(content="note", user_id="user1"),
            lambda: old.update(records[0].id, content="note"),
            lambda: old.add(content="note", user_id="user1", key="k"),
            lambda: old.search("word1", "user1"),
        ]
        for verb in refused:
            with pytest.raises(InvalidRequestError, match=r"'old'.*reembed\(\)"):
                await verb()
        assert (await new.reembed()).done == 10
        assert await models(new) == {"old"}


async def test_move_to_another_length_and_back_that_was_interrupted_goes_on(any_store_url: str) -> None:
    await fill(any_store_url)
    async with AsyncMemory(url=any_store_url, embedder=HashEmbedder(model="old")) as old:
        async with AsyncMemory(url=any_store_url, embedder=Counting("old", 16, before=fail_after(256))) as broken:
            with pytest.raises(ProviderError, match="'old' failed: RuntimeError"):
                await broken.reembed()
        assert all([await finds(old, number, "keyword") for number in range(0, COUNT, 37)])
        report = await old.reembed()
        assert (report.done, report.total) == (COUNT, COUNT)
        assert all([await finds(old, number) for number in range(0, COUNT, 37)])
        async with AsyncMemory(url=any_store_url, embedder=HashEmbedder(16, model="old")) as new:
            assert (await new.reembed()).done == COUNT
            assert all([await finds(new, number) for number in range(0, COUNT, 37)])


async def test_move_gives_every_memory_a_vector_and_reports_progress(store_url: str) -> None:
    records = await fill(store_url)
    embedder, seen = Counting("new"), []
    async with AsyncMemory(url=store_url, embedder=embedder) as memory:
        report = await memory.reembed(on_progress=lambda done, total: seen.append((done, total)))
        assert (report.model, report.done, report.total) == ("new", COUNT, COUNT)
        assert embedder.count == COUNT
        assert len(seen) >= 3
        assert seen == sorted(seen)
        assert seen[-1] == (COUNT, COUNT)
        assert await models(memory) == {"new"}
        assert all([await finds(memory, number) for number in range(0, COUNT, 37)])
        kept = await memory.get(records[5].id)
        assert kept == records[5].model_copy(update={"embedding_model": "new"})
        assert (await memory.health()).detail["models"] == ["new"]


async def test_move_of_a_moved_store_does_nothing(store_url: str) -> None:
    await fill(store_url, 9)
    embedder = Counting("new")
    async with AsyncMemory(url=store_url, embedder=embedder) as memory:
        await memory.reembed()
        report = await memory.reembed()
        assert (report.done, report.total, embedder.count) == (9, 9, 9)


async def test_move_of_an_empty_store_is_no_error(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder=HashEmbedder()) as memory:
        report = await memory.reembed()
        assert (report.done, report.total) == (0, 0)


async def test_interrupted_move_goes_on_and_the_old_model_reads_meanwhile(store_url: str) -> None:
    await fill(store_url)
    async with AsyncMemory(url=store_url, embedder=HashEmbedder(model="old")) as old:
        assert await finds(old, 7)
        async with AsyncMemory(url=store_url, embedder=Counting("new", before=fail_after(256))) as broken:
            with pytest.raises(ProviderError, match="'new' failed: RuntimeError"):
                await broken.reembed()
        assert all([await finds(old, number) for number in range(0, COUNT, 37)])
        assert all([await finds(old, number, "hybrid") for number in range(0, COUNT, 37)])
        embedder, seen = Counting("new"), []
        async with AsyncMemory(url=store_url, embedder=embedder) as new:
            report = await new.reembed(on_progress=lambda done, total: seen.append(done))
            assert 0 < embedder.count < COUNT
            assert (report.done, report.total) == (COUNT, COUNT)
            assert seen[0] > COUNT - embedder.count
            assert all([await finds(new, number) for number in range(0, COUNT, 37)])
        with pytest.raises(InvalidRequestError, match=r"'old'.*reembed\(\)"):
            await finds(old, 7)


async def test_exception_of_the_progress_callback_interrupts_the_move(store_url: str) -> None:
    await fill(store_url)

    def stop(done: int, total: int) -> None:
        raise KeyError("of the caller")

    async with AsyncMemory(url=store_url, embedder=HashEmbedder(model="new")) as memory:
        with pytest.raises(KeyError, match="of the caller"):
            await memory.reembed(on_progress=stop)
        assert (await memory.reembed()).done == COUNT
        assert await finds(memory, 7)


async def test_memories_without_vectors_get_theirs(store_url: str) -> None:
    async with AsyncMemory(url=store_url, embedder="none") as memory:
        await memory.add_many([{"content": f"note word{n}", "user_id": f"user{n % 3}"} for n in range(9)])
        assert await models(memory) == {None}
    async with AsyncMemory(url=store_url, embedder=HashEmbedder(model="new")) as memory:
        with pytest.raises(InvalidRequestError, match="3 of the 3 memories"):
            await finds(memory, 1)
        assert await finds(memory, 1, "hybrid")  # by its words
        assert (await memory.reembed()).done == 9
        assert all([await finds(memory, number) for number in range(9)])


async def test_memories_that_change_during_the_move_end_up_right(store_url: str) -> None:
    records = await fill(store_url, 300)

    def interfere(done: int) -> None:
        if not done:  # the first memories have been read and are about to be embedded
            change_from_outside(store_url, changed=records[0].id, deleted=records[1].id, added="note word1002")

    async with AsyncMemory(url=store_url, embedder=Counting("new", before=interfere)) as memory:
        report = await memory.reembed()
        assert (report.done, report.total) == (300, 300)
        results = await memory.search("note word1000", "user0", limit=1, mode="vector")
        assert [result.memory.id for result in results] == [records[0].id]
        assert results[0].score > 0.99
        assert await finds(memory, 1002)
        assert await models(memory) == {"new"}


async def test_hybrid_search_says_once_that_memories_have_words_only(
    any_store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that was filled before there was an embedder is searched by words: silently, it would look worse."""
    async with AsyncMemory(url=any_store_url, embedder="none") as memory:
        await memory.add(content="Ann likes tea", user_id="ann")
        await memory.search("tea", "ann")
    assert not caplog.records
    async with AsyncMemory(url=any_store_url, embedder=HashEmbedder(model="new")) as memory:
        for mode in ("keyword", "hybrid", "hybrid"):
            assert [result.memory.content for result in await memory.search("tea", "ann", mode=mode)]
        said = [record.getMessage() for record in caplog.records if record.name == "openmem"]
        assert len(said) == 1
        assert said[0].startswith("1 of 1 memories found have no vector of the model new")
        assert "omp reembed" in said[0]
        await memory.reembed()
    caplog.clear()
    async with AsyncMemory(url=any_store_url, embedder=HashEmbedder(model="new")) as memory:
        assert await memory.search("tea", "ann")
    assert not [record for record in caplog.records if record.name == "openmem"]


async def test_scores_do_not_depend_on_who_was_asked(any_store_url: str) -> None:
    """Without vectors the query is not embedded, and scores are those of a hybrid search all the same."""
    async with AsyncMemory(url=any_store_url, embedder="none") as memory:
        for content in ("Ann likes green tea", "Ann likes tea with milk and very much sugar"):
            await memory.add(content=content, user_id="ann")
    embedder = Counting("new")
    async with AsyncMemory(url=any_store_url, embedder=embedder) as memory:
        before = await memory.search("tea", "ann", explain=True)
        assert embedder.count == 0
        await memory.add(content="Ann plays chess", user_id="ann", scope="games")
        after = await memory.search("tea", "ann", explain=True)
        assert embedder.count == 2
    found = [[(result.memory.content, result.explain) for result in results] for results in (before, after)]
    assert [content for content, _ in found[0]] == [content for content, _ in found[1][:2]]
    for _, explain in found[0]:
        assert explain is not None
        assert (explain["mode"], explain["parts"]["vector"]["value"]) == ("hybrid", 0.0)
