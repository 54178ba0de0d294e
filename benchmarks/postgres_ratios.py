"""openmem on Postgres beside the same statements through the bare drivers, in turns on the same tables."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Literal

import numpy as np
from benchmarks.corpus import Batch, Corpus
from benchmarks.measure import Line, Timing, note, race, ratio
from benchmarks.postgres_bare import insert, plain_search, same_add, same_search
from benchmarks.postgres_goals import Share
from benchmarks.postgres_stores import SCOPE, Stores, user

SEARCH_AT_MOST = 1.25
ADD_AT_MOST = 1.5
BULK_AT_LEAST = 0.8
HYBRID_AT_MOST = 2.0
GATHERED_AT_MOST = 15.0
BULK_ROWS = 1_000
GATHERED = 100
_FREQUENT = 4


async def search_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Compare searches by vector, each round another user's."""
    note(f"search: {rounds} rounds")
    queries = corpus.queries(rounds + 1)
    texts, vectors = queries.texts, queries.vectors
    same, same_sync = (
        [same_search(texts[n], user(n), vectors[n]) for n in range(rounds + 1)] for _ in ("asyncpg", "psycopg")
    )
    least = [plain_search(user(n), vectors[n]) for n in range(rounds + 1)]
    timings = await race(
        {
            "asyncpg": lambda n: stores.bare.fetch(same[n]),
            "psycopg": lambda n: stores.bare_sync.fetch(same_sync[n]),
            "least": lambda n: stores.bare.fetch(least[n]),
            "async": lambda n: _search(stores, queries, n, user(n), "vector"),
            "sync": lambda n: _search_sync(stores, queries, n, user(n)),
        },
        rounds,
    )
    where = f"{stores.per_user:,} rows per user"
    return [
        _ratio(f"search, async, against asyncpg, {where}", timings, "async", "asyncpg", SEARCH_AT_MOST),
        _ratio(f"search, sync, against psycopg, {where}", timings, "sync", "psycopg", SEARCH_AT_MOST),
        _ratio(f"search, async, against a plain SELECT, {where}", timings, "async", "least"),
        _ratio(f"the journal: same SQL against a plain SELECT, asyncpg, {where}", timings, "asyncpg", "least"),
    ]


async def add_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Compare single adds, each a transaction; openmem's includes its audit entry."""
    note(f"add: {rounds} rounds")
    batch = corpus.batch(rounds + 1)
    ready, ready_sync = ([_one(batch, n) for n in range(rounds + 1)] for _ in ("asyncpg", "psycopg"))
    same = [same_add(batch.texts[n], user(n), SCOPE, batch.vectors[n]) for n in range(rounds + 1)]

    def awaited(n: int) -> Awaitable[object]:
        stores.awaited_vectors.give(batch.vectors[n : n + 1])
        return stores.awaited.add(content=batch.texts[n], user_id=user(n), scope=SCOPE)

    def plain(n: int) -> object:
        stores.plain_vectors.give(batch.vectors[n : n + 1])
        return stores.plain.add(content=batch.texts[n], user_id=user(n), scope=SCOPE)

    timings = await race(
        {
            "asyncpg": lambda n: stores.bare.fetch(ready[n]),
            "psycopg": lambda n: stores.bare_sync.run(ready_sync[n]),
            "same": lambda n: stores.bare.fetch(same[n]),
            "async": awaited,
            "sync": plain,
        },
        rounds,
    )
    return [
        _ratio("add, async, against asyncpg INSERT", timings, "async", "asyncpg", ADD_AT_MOST),
        _ratio("add, sync, against psycopg INSERT", timings, "sync", "psycopg", ADD_AT_MOST),
        _ratio("add, async, against the same SQL, asyncpg", timings, "async", "same"),
        _ratio("the journal: same SQL against INSERT, asyncpg", timings, "same", "asyncpg"),
    ]


async def bulk_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Compare rows stored at once, in one transaction."""
    note(f"add_many: {rounds} rounds of {BULK_ROWS:,} rows")
    batches = [corpus.batch(BULK_ROWS) for _ in range(rounds + 1)]
    ready, ready_sync = ([insert(batch, "bulk", SCOPE) for batch in batches] for _ in ("asyncpg", "psycopg"))
    timings = await race(
        {
            "asyncpg": lambda n: stores.bare.insert_many(*ready[n]),
            "psycopg": lambda n: stores.bare_sync.insert_many(*ready_sync[n]),
            "async": lambda n: stores.add_many(batches[n], f"bulk-{n}"),
            "sync": lambda n: stores.add_many_plain(batches[n], f"bulk-{n}"),
        },
        rounds,
    )
    return [
        _bulk("add_many, async, against asyncpg executemany", timings, "async", "asyncpg"),
        _bulk("add_many, sync, against psycopg executemany", timings, "sync", "psycopg"),
    ]


async def hybrid_lines(stores: Stores, corpus: Corpus, rounds: int, per_user: int) -> list[Line]:
    """Compare a hybrid search for four of the most frequent words with one by vector alone, on one user's rows."""
    note(f"hybrid: {rounds} rounds, {per_user:,} rows per user")
    owner = f"hybrid-{per_user}"
    await stores.add_many(corpus.batch(per_user), owner)
    await stores.bare.run("vacuum analyze")
    vectors = corpus.queries(rounds + 1).vectors
    words = frequent_words(2 * _FREQUENT)
    random = np.random.default_rng(per_user)
    texts = [" ".join(random.permutation(words)[:_FREQUENT]) for _ in range(rounds + 1)]
    queries = Batch(texts, vectors)
    same = [same_search(texts[n], owner, vectors[n], "hybrid") for n in range(rounds + 1)]
    timings = await race(
        {
            "asyncpg": lambda n: stores.bare.fetch(same[n]),
            "hybrid": lambda n: _search(stores, queries, n, owner, "hybrid"),
            "keyword": lambda n: _search(stores, queries, n, owner, "keyword"),
            "vector": lambda n: _search(stores, queries, n, owner, "vector"),
        },
        rounds,
    )
    where = f"{per_user:,} rows per user"
    return [
        _ratio(f"search, hybrid, against vector, {where}", timings, "hybrid", "vector", HYBRID_AT_MOST),
        _ratio(f"search, keyword, against vector, {where}", timings, "keyword", "vector"),
        _ratio(f"search, hybrid, against asyncpg, {where}", timings, "hybrid", "asyncpg"),
    ]


async def gathered_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Compare a hundred adds at the same time with one."""
    note(f"gathered: {rounds} rounds of {GATHERED} adds")
    batch = corpus.batch((rounds + 1) * GATHERED)

    def add(number: int) -> Awaitable[object]:
        return stores.awaited.add(content=batch.texts[number], user_id=user(number), scope=SCOPE)

    def one(n: int) -> Awaitable[object]:
        stores.awaited_vectors.give(batch.vectors[n : n + 1])
        return add(n)

    def many(n: int) -> Awaitable[object]:
        first = n * GATHERED
        stores.awaited_vectors.give(batch.vectors[first : first + GATHERED])
        return asyncio.gather(*(add(first + number) for number in range(GATHERED)))

    timings = await race({"one": one, "many": many}, rounds)
    return [_ratio(f"{GATHERED} adds at once against one", timings, "many", "one", GATHERED_AT_MOST)]


def frequent_words(count: int) -> list[str]:
    """Return the most frequent words of the made-up texts."""
    seen = Counter(word for text in Corpus(1).batch(2_000).texts for word in text.split())
    return [word for word, _ in seen.most_common(count)]


def _search(
    stores: Stores, queries: Batch, n: int, user_id: str, mode: Literal["hybrid", "vector", "keyword"]
) -> Awaitable[object]:
    stores.awaited_vectors.give_query(queries.vectors[n])
    return stores.awaited.search(queries.texts[n], user_id, mode=mode)


def _search_sync(stores: Stores, queries: Batch, n: int, user_id: str) -> object:
    stores.plain_vectors.give_query(queries.vectors[n])
    return stores.plain.search(queries.texts[n], user_id, mode="vector")


def _one(batch: Batch, n: int) -> tuple[str, list[object]]:
    sql, rows = insert(Batch(batch.texts[n : n + 1], batch.vectors[n : n + 1]), user(n), SCOPE)
    return sql, rows[0]


def _ratio(what: str, timings: dict[str, Timing], one: str, other: str, at_most: float | None = None) -> Line:
    return ratio(what, timings[one], timings[other], at_most)


def _bulk(what: str, timings: dict[str, Timing], one: str, other: str) -> Line:
    mine, bare = timings[one], timings[other]
    share = bare.median / mine.median
    return Share(what, mine.rate(BULK_ROWS), bare.rate(BULK_ROWS), share, len(mine.samples), at_least=BULK_AT_LEAST)
