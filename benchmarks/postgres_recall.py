"""Is the best found? Users with 10 to 50,000 memories ask, with every filter; numpy knows the right answer.

Once as openmem is by default, where every search is exact, and once with the approximate index it can be given, for two
kinds of vectors: random ones, the hardest case for such an index, as all of them are about equally far from each other;
and ones that vary in few directions only.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from benchmarks.corpus import DIM, Batch, Corpus, Floats, GivenVectorsAsync
from benchmarks.measure import Line, note, race, ratio
from benchmarks.postgres_bare import MODEL, BareSync
from benchmarks.postgres_goals import Share
from benchmarks.postgres_stores import LONG
from numpy.typing import NDArray

from openmem import AsyncMemory, MemoryItem
from openmem._sql.postgres.hnsw import Approximation, index_name, index_statement
from openmem._sql.postgres.names import Names
from openmem.testing.postgres import PostgresServer

SIZES = (10, 100, 1_000, 10_000, 50_000)
EXACT_AT_LEAST = 1.0
HNSW_AT_LEAST = 0.98
WANTED = 10
OTHERS = 20
"""Further users with 1,000 memories each, so that an index holds more than those who ask."""

_QUERIES = 20
_ROUNDS = 20
_SEED = 9
_AT_ONCE = 10_000
_DIRECTIONS = 24
_PATIENCE = 10.0
_FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS = 360
_AS_OF_DAY = 300
_STAYS_DAYS = 200

Mask = NDArray[np.bool_]


class FlatCorpus(Corpus):
    """Memories whose vectors lie close to a plane of `_DIRECTIONS` dimensions."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._plane = self._random.standard_normal((_DIRECTIONS, DIM), dtype=np.float32)

    def _vectors(self, count: int) -> Floats:
        places = self._random.standard_normal((count, _DIRECTIONS), dtype=np.float32)
        vectors = places @ self._plane + 0.1 * self._random.standard_normal((count, DIM), dtype=np.float32)
        unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


@dataclass(frozen=True, slots=True)
class Asker:
    """A user, what is remembered of it, and what each filter lets through."""

    name: str
    ids: list[str]
    vectors: Floats
    filters: Mapping[str, tuple[dict[str, Any], Mask]]

    def nearest(self, query: Floats, mask: Mask) -> set[str]:
        """Return the ids that are the right answer."""
        places = np.flatnonzero(mask)
        best = places[np.argsort(-(self.vectors[places] @ query))[:WANTED]]
        return {self.ids[place] for place in best}


@dataclass(frozen=True, slots=True)
class Way:
    """A way to search, and the goal it has."""

    name: str
    options: dict[str, Any]
    at_least: float | None
    sizes: Sequence[int]


def ways(sizes: Sequence[int]) -> list[Way]:
    """Return the ways to search: the default, the index for large users only, and the index for every user."""
    large = f"HNSW from {Approximation().from_rows:,} rows"
    return [
        Way("exact", {}, EXACT_AT_LEAST, sizes),
        Way(large, {"hnsw": True}, HNSW_AT_LEAST, sizes),
        Way("HNSW for every user", {"hnsw": True, "hnsw_from": 1}, None, sizes[2:]),
    ]


async def recall(server: PostgresServer, sizes: Sequence[int]) -> list[Line]:
    """Compare what is found with what is right."""
    lines = await _recall(server, sizes, Corpus(_SEED), "random vectors")
    return lines + await _recall(server, sizes, FlatCorpus(_SEED), f"vectors of {_DIRECTIONS} directions")


async def _recall(server: PostgresServer, sizes: Sequence[int], corpus: Corpus, kind: str) -> list[Line]:
    url = server.new_database()
    try:
        askers = await _fill(url, sizes, corpus)
        queries = corpus.queries(_QUERIES)
        exact, *approximate = ways(sizes)
        lines = [await _line(url, exact, askers[size], queries, kind) for size in exact.sizes]
        _make_index(url)
        for way in approximate:
            lines += [await _line(url, way, askers[size], queries, kind) for size in way.sizes]
        return [*lines, await _speed(url, askers[sizes[-1]], corpus.queries(_ROUNDS + 1), kind)]
    finally:
        server.drop_database(url)


async def _line(url: str, way: Way, asker: Asker, queries: Batch, kind: str) -> Line:
    before = _index_scans(url)
    async with _opened(url, way) as (memory, vectors):
        shares = [
            np.mean([await _share(memory, vectors, asker, queries, n, name) for n in range(len(queries))])
            for name in asker.filters
        ]
    scans = _index_scans(url) - before
    what = f"recall@{WANTED}, {len(asker.ids):,} rows per user, {kind}, {way.name}"
    measured = " ".join(f"{share:.3f}" for share in shares)
    against = f"exact answer; {scans} of {len(queries) * len(shares)} by HNSW"
    return Share(what, measured, against, float(min(shares)), len(queries), at_least=way.at_least)


async def _share(
    memory: AsyncMemory, vectors: GivenVectorsAsync, asker: Asker, queries: Batch, n: int, name: str
) -> float:
    arguments, mask = asker.filters[name]
    wanted = asker.nearest(queries.vectors[n], mask)
    vectors.give_query(queries.vectors[n])
    results = await memory.search(queries.texts[n], asker.name, mode="vector", limit=WANTED, **arguments)
    found = {result.memory.id for result in results}
    # What may not be found counts against it as much as what is missed.
    return len(found & wanted) / max(len(found), len(wanted)) if found | wanted else 1.0


async def _speed(url: str, asker: Asker, queries: Batch, kind: str) -> Line:
    exact, approximate = ways(SIZES)[:2]
    async with _opened(url, exact) as (plain, given), _opened(url, approximate) as (quick, given_too):

        def ask(memory: AsyncMemory, vectors: GivenVectorsAsync, n: int) -> Any:
            vectors.give_query(queries.vectors[n])
            return memory.search(queries.texts[n], asker.name, mode="vector")

        competitors = {"quick": lambda n: ask(quick, given_too, n), "exact": lambda n: ask(plain, given, n)}
        timings = await race(competitors, len(queries) - 1)
    what = f"search, {len(asker.ids):,} rows per user, {kind}, HNSW against exact"
    return ratio(what, timings["quick"], timings["exact"])


@contextlib.asynccontextmanager
async def _opened(url: str, way: Way) -> AsyncIterator[tuple[AsyncMemory, GivenVectorsAsync]]:
    vectors = GivenVectorsAsync()
    async with AsyncMemory(url=url, embedder=vectors, app="benchmark", timeout=LONG, **way.options) as memory:
        yield memory, vectors


async def _fill(url: str, sizes: Sequence[int], corpus: Corpus) -> dict[int, Asker]:
    note(f"recall: filling a database with {sum(sizes) + OTHERS * 1_000:,} rows")
    random = np.random.default_rng(_SEED)
    askers = {}
    async with _opened(url, ways(sizes)[0]) as (memory, vectors):
        for size in sizes:
            askers[size] = await _remember(memory, vectors, f"asker-{size}", corpus.batch(size), random)
        for number in range(OTHERS):
            await _remember(memory, vectors, f"other-{number}", corpus.batch(1_000), random)
    with contextlib.closing(BareSync(url)) as bare:
        bare.run(("vacuum analyze", []))
    return askers


async def _remember(
    memory: AsyncMemory, vectors: GivenVectorsAsync, name: str, batch: Batch, random: np.random.Generator
) -> Asker:
    count = len(batch)
    in_scope, tagged, ends = (random.random(count) < share for share in (0.5, 0.5, 0.5))
    since = random.integers(0, _DAYS, count)
    rows: list[MemoryItem] = [
        {
            "content": batch.texts[n],
            "scope": f"work/{n % 3}" if in_scope[n] else "home",
            "tags": ["chosen"] if tagged[n] else ["other"],
            "valid_from": _day(int(since[n])),
            "valid_to": _day(int(since[n]) + _STAYS_DAYS) if ends[n] else None,
        }
        for n in range(count)
    ]
    vectors.give(batch.vectors)
    ids: list[str] = []
    for place in range(0, count, _AT_ONCE):
        records = await memory.add_many(rows[place : place + _AT_ONCE], user_id=name)
        ids += [record.id for record in records]
    current = ~ends
    then = (since <= _AS_OF_DAY) & (current | (since + _STAYS_DAYS > _AS_OF_DAY))
    scope, tags, as_of = {"scope": "work/*"}, {"tags": ["chosen"]}, {"as_of": _day(_AS_OF_DAY)}
    filters: dict[str, tuple[dict[str, Any], Mask]] = {
        "user": ({}, current),
        "scope": (scope, current & in_scope),
        "tag": (tags, current & tagged),
        "time": (as_of, then),
        "all": (scope | tags | as_of, then & in_scope & tagged),
    }
    return Asker(name, ids, batch.vectors, filters)


def _day(number: int) -> datetime:
    return _FIRST_DAY + timedelta(days=number)


def _make_index(url: str) -> None:
    note("recall: making the HNSW index")
    with contextlib.closing(BareSync(url)) as bare:
        bare.run((index_statement(Names(), MODEL), []))
        bare.run(("vacuum analyze", []))


def _index_scans(url: str) -> int:
    """Return how often the index was used, once those who used it are gone: only then it is known."""
    others = """
        select count(*) from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
    """
    scans = "select coalesce(sum(idx_scan), 0)::bigint from pg_stat_user_indexes where indexrelname = $1::text"
    end = time.monotonic() + _PATIENCE
    with contextlib.closing(BareSync(url)) as bare:
        while _number(bare, others, []) and time.monotonic() < end:
            time.sleep(0.05)
        return _number(bare, scans, [index_name(MODEL)])


def _number(bare: BareSync, sql: str, values: list[Any]) -> int:
    rows: Any = bare.fetch((sql, values))
    return int(rows[0][0])
