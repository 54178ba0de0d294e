"""The approximate index: never fewer results than there are, hardly ever others, and only for those who ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from openmem import AsyncMemory, InvalidRequestError, ProviderError, migration_script
from openmem._async.providers.postgres import AsyncPostgresProvider
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_gather
from openmem._sql.postgres.hnsw import index_name, index_statement
from openmem._sql.postgres.hnsw_trials import AGAIN, TRIALS
from openmem._sql.postgres.names import Names
from openmem._sql.steps import Query, Steps
from openmem._sql.writing import Model
from openmem.testing.postgres import PostgresServer
from tests.postgres_catalog import execute
from tests.postgres_observer import Observer, until
from tests.random_vectors import RandomEmbedder, contents, fill, nearest

USERS, ROWS, DIM = 3, 2_000, 64
QUERIES = 21
EMBEDDER = RandomEmbedder(DIM)
INDEX = index_name(Model(EMBEDDER.model, DIM))
NAMES = ["enable_sort", "hnsw.ef_search", "hnsw.iterative_scan", "hnsw.max_scan_tuples", "plan_cache_mode"]
SINCE = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def filled_url(postgres: PostgresServer) -> Iterator[str]:
    """The address of a copy of a database with many memories of some users, and an index over all of them."""

    def prepare(url: str) -> None:
        fill(url, USERS, ROWS, DIM)
        execute(url, index_statement(Names(), Model(EMBEDDER.model, DIM)), "analyze")

    template = postgres.template(f"random vectors {USERS} {ROWS} {DIM} {migration_script()}", prepare)
    url = postgres.new_database(template=template)
    yield url
    postgres.drop_database(url)


def opened(url: str, **options: Any) -> AsyncMemory:
    return AsyncMemory(url=url, **{"embedder": EMBEDDER, "hnsw": True, "hnsw_from": 1_000, **options})


async def found(memory: AsyncMemory, query: str, user: str, limit: int = 10, **options: Any) -> list[str]:
    results = await memory.search(query, user, limit=limit, mode="vector", **options)
    scores = [result.score for result in results]
    assert scores == sorted(scores, reverse=True)
    return [result.memory.content for result in results]


async def recall(memory: AsyncMemory, texts: dict[str, list[str]], limit: int = 10, **options: Any) -> float:
    """Return the share of the nearest that is found, over some queries; each must find as many as there are."""
    hits = wanted = 0
    for number in range(QUERIES):
        user = f"user{number % USERS}"
        best = nearest(EMBEDDER, f"query {number}", texts[user], limit)
        answer = await found(memory, f"query {number}", user, limit, **options)
        assert len(answer) == len(set(answer)) == len(best)
        hits += len({*answer} & {*best})
        wanted += len(best)
    return hits / wanted


def every(step: int = 1) -> dict[str, list[str]]:
    return {f"user{user}": contents(user, ROWS)[::step] for user in range(USERS)}


def scans(url: str, name: str = INDEX) -> int:
    """Return how often an index was used, as far as the server has heard."""
    return int(Observer(url).value("select idx_scan from pg_stat_user_indexes where indexrelname = %s", name))


def indexes(url: str) -> Sequence[str]:
    rows = Observer(url).rows("select indexname::text from pg_indexes where indexname like 'memories_hnsw%'")
    return [row[0] for row in rows]


# --- what is found ---


async def test_index_finds_as_many_as_asked_for_and_nearly_always_the_nearest(filled_url: str) -> None:
    async with opened(filled_url, pool_max_size=1) as memory:
        assert await recall(memory, every()) >= 0.98
    until(lambda: scans(filled_url) == QUERIES)


async def test_index_gives_the_largest_answer_in_full(filled_url: str) -> None:
    async with opened(filled_url) as memory:
        assert await recall(memory, every(), limit=100) >= 0.98
    until(lambda: scans(filled_url) == QUERIES)


async def test_index_that_was_not_asked_for_is_not_used(filled_url: str) -> None:
    async with opened(filled_url, hnsw=False) as memory:
        assert await recall(memory, every()) == 1.0
    assert scans(filled_url) == 0


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({"tags": ["tenth"]}, 10),
        ({"scope": "twentieth"}, 20),
        ({"scope": "twentieth", "tags": ["tenth"]}, 20),
        ({"as_of": datetime(2100, 1, 1, tzinfo=UTC)}, 1),
    ],
)
async def test_search_with_another_filter_is_exact(filled_url: str, options: dict[str, Any], step: int) -> None:
    async with opened(filled_url) as memory:
        assert await recall(memory, every(step), **options) == 1.0
    assert scans(filled_url) == 0


async def test_user_with_few_memories_is_searched_exactly(filled_url: str) -> None:
    async with opened(filled_url, hnsw_from=ROWS + 1) as memory:
        assert await recall(memory, every()) == 1.0
    assert scans(filled_url) == 0


@pytest.mark.parametrize("max_scan", [1, 500, 20_000])
async def test_index_that_finds_too_few_is_followed_by_the_exact_search(
    filled_url: str, monkeypatch: pytest.MonkeyPatch, max_scan: int
) -> None:
    monkeypatch.setattr("openmem._sql.postgres.hnsw.MAX_SCAN", max_scan)
    few = [f"few {number}" for number in range(15)]
    async with opened(filled_url, hnsw_from=1) as memory:
        await memory.add_many([{"content": text, "user_id": "few"} for text in few])
        for number in range(20):
            assert await found(memory, f"query {number}", "few") == nearest(EMBEDDER, f"query {number}", few, 10)
    until(lambda: scans(filled_url) == 20)


async def test_index_that_has_proved_itself_answers_alone(filled_url: str) -> None:
    async with opened(filled_url) as memory:
        for number in range(TRIALS + AGAIN):
            assert len(await found(memory, f"query {number}", "user0")) == 10
        stamps = "select count(*) from openmem.audit where action = 'search'"
        assert Observer(filled_url).value(stamps) == TRIALS + AGAIN
    until(lambda: scans(filled_url) == TRIALS + AGAIN)


async def test_index_that_misses_much_is_found_out_and_not_used(
    filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmem._sql.postgres.hnsw._MAX_EF", 1)
    texts = contents(0, ROWS)
    for _ in range(3):  # what one instance has found out another knows, as long as the connections live
        async with opened(filled_url, pool_max_size=1) as memory:
            for number in range(TRIALS):
                wanted = nearest(EMBEDDER, f"query {number}", texts, 10)
                assert await found(memory, f"query {number}", "user0") == wanted


@pytest.mark.parametrize("hidden", ["valid_to", "superseded_at"])
async def test_memories_that_do_not_count_any_more_take_no_place(filled_url: str, hidden: str) -> None:
    # All but every fortieth; an index alone would be full of the others.
    others = "user_id = 'user0' and mod(split_part(content, ' ', 2)::int, 40) <> 0"
    execute(filled_url, f"update openmem.memories set {hidden} = '2021-01-01Z' where {others}")
    left = contents(0, ROWS)[::40]
    async with opened(filled_url) as memory:
        for query in ("one", "two", "three", "four"):
            assert await found(memory, query, "user0") == nearest(EMBEDDER, query, left, 10)


async def test_search_by_index_leaves_one_audit_entry(filled_url: str) -> None:
    async with opened(filled_url, hnsw_from=1) as memory:
        await memory.add(content="alone", user_id="few")
        for user in ("user0", "few"):  # by the index, and exactly after it
            await found(memory, "query", user)
            entries = [entry for entry in await memory.audit(user, since=SINCE) if entry.action == "search"]
            assert len(entries) == 1


async def test_settings_of_a_search_by_index_end_with_it(filled_url: str) -> None:
    def settings() -> Steps[list[str]]:
        rows = yield Query("select setting from pg_settings where name = any($1::text[]) order by name", (NAMES,))
        return [row[0] for row in rows]

    async with opened(filled_url, pool_max_size=1, hnsw_from=1) as memory:
        await found(memory, "query", "user0")
        await found(memory, "query", "nobody")
        db = cast(AsyncPostgresProvider, memory._provider)._db
        assert await db.run(settings, Deadline.after(5.0)) == ["on", "40", "off", "20000", "auto"]


async def test_other_modes_and_verbs_work_beside_the_index(filled_url: str) -> None:
    async with opened(filled_url) as memory:
        for mode in ("hybrid", "keyword"):
            results = await memory.search("row 7 of user1", "user1", mode=mode, limit=3)
            assert results[0].memory.content == "row 7 of user1"
        record = results[0].memory
        await memory.update(record.id, content="changed")
        assert (await found(memory, "changed", "user1"))[0] == "changed"
        await memory.delete(record.id)
        assert "changed" not in await found(memory, "changed", "user1")


# --- how it is made ---


async def test_index_is_made_at_the_first_use_of_a_model(empty_postgres_url: str) -> None:
    async def use(number: int) -> None:
        url = f"{empty_postgres_url}?application_name=app{number}"
        async with opened(url, embedder=RandomEmbedder(8, f"model{number % 2}")) as memory:
            await memory.add(content="tea", user_id=f"user{number}")

    await async_gather(*(partial(use, number) for number in range(8)))
    assert sorted(indexes(empty_postgres_url)) == sorted(index_name(Model(f"model{number}", 8)) for number in range(2))


async def test_without_the_option_no_index_is_made(empty_postgres_url: str) -> None:
    async with AsyncMemory(url=empty_postgres_url, embedder=EMBEDDER) as memory:
        await memory.add(content="tea", user_id="ann")
        await found(memory, "tea", "ann")
    assert indexes(empty_postgres_url) == []


@pytest.mark.parametrize(
    "name", ["it's", "a\\'b", 'quote"d', "$1 %s {x}", "line\nbreak", "E'x'); drop table y; --", "模型"]
)
async def test_model_may_have_any_name(empty_postgres_url: str, name: str) -> None:
    async with opened(empty_postgres_url, embedder=RandomEmbedder(8, name), hnsw_from=1) as memory:
        texts = [f"text {number}" for number in range(120)]
        await memory.add_many([{"content": text, "user_id": "ann"} for text in texts])
        assert (await found(memory, "text 7", "ann"))[0] == "text 7"
    index = index_name(Model(name, 8))
    assert indexes(empty_postgres_url) == [index]
    until(lambda: scans(empty_postgres_url, index) == 1)
    size = Observer(empty_postgres_url).value("select reltuples from pg_class where relname = %s", index)
    assert size >= 0


@pytest.mark.parametrize(("dim", "count"), [(3, 1), (1_800, 1), (1_801, 1), (3_600, 1), (3_601, 0)])
async def test_index_is_made_for_every_length_that_can_have_one(empty_postgres_url: str, dim: int, count: int) -> None:
    async with opened(empty_postgres_url, embedder=RandomEmbedder(dim), hnsw_from=1) as memory:
        await memory.add_many([{"content": f"text {number}", "user_id": "ann"} for number in range(70)])
        assert (await found(memory, "text 7", "ann", limit=1)) == ["text 7"]
    assert len(indexes(empty_postgres_url)) == count


async def test_model_that_is_moved_to_has_its_index_before(empty_postgres_url: str) -> None:
    async with opened(empty_postgres_url, embedder=RandomEmbedder(8, "old"), hnsw=False) as memory:
        await memory.add(content="tea", user_id="ann")
    async with opened(empty_postgres_url, embedder=RandomEmbedder(16, "new")) as memory:
        await memory.reembed()
        assert await found(memory, "tea", "ann") == ["tea"]
    assert indexes(empty_postgres_url) == [index_name(Model("new", 16))]


async def test_without_leave_to_migrate_a_missing_index_is_an_error_with_the_statement(filled_url: str) -> None:
    execute(filled_url, f"drop index openmem.{INDEX}")
    async with opened(filled_url, migrate=False) as memory:
        with pytest.raises(ProviderError, match="create index concurrently") as caught:
            await found(memory, "query", "user0")
        execute(filled_url, str(caught.value).split("run\n")[1].split(";")[0])
        assert len(await found(memory, "query", "user0")) == 10


async def test_table_too_large_to_be_indexed_in_a_call_is_an_error_with_the_statement(
    filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmem._sql.postgres.hnsw.MAX_BUILD_BYTES", 1 << 20)
    execute(filled_url, f"drop index openmem.{INDEX}")
    async with opened(filled_url) as memory:
        with pytest.raises(ProviderError, match=rf"too large.*\ncreate index concurrently if not exists {INDEX}"):
            await memory.add(content="tea", user_id="ann")
        assert len((await memory.list("ann")).items) == 0


async def test_index_that_is_not_ready_is_not_used(filled_url: str) -> None:
    execute(filled_url, f"update pg_index set indisvalid = false where indexrelid = 'openmem.{INDEX}'::regclass")
    async with opened(filled_url) as memory:
        assert await recall(memory, every()) == 1.0
        execute(filled_url, f"update pg_index set indisvalid = true where indexrelid = 'openmem.{INDEX}'::regclass")
        await found(memory, "query", "user0")
    until(lambda: scans(filled_url) == 1)


@pytest.mark.parametrize("options", [{"hnsw": "yes"}, {"hnsw": 1}, {"hnsw_from": 0}, {"hnsw_from": "many"}])
def test_options_of_the_index_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"{next(iter(options))} must be"):
        AsyncMemory(url="postgresql://nobody@nowhere.invalid/x", embedder="none", **options)
