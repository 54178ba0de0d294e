"""The embedded store against its limits: `python -m benchmarks.embedded`.

Every figure stands beside what the same rows cost in plain SQLite and numpy, measured in turns in the same run. What
the figures mean stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.bare import BareStore
from benchmarks.corpus import Batch, Corpus, GivenVectors, GivenVectorsAsync
from benchmarks.growth import growth
from benchmarks.measure import Line, Timing, note, race, ratio, table

from openmem import AsyncMemory, Memory, MemoryItem

ROWS = 10_000
USER = "u1"
SEARCH_AT_MOST = 1.5
ADD_AT_MOST = 1.5
BULK_AT_LEAST = 15_000.0
PARTS = ("search", "add", "bulk", "growth")
_SEED = 5
_LONG = 600.0

Items = list[MemoryItem]


@dataclass(frozen=True, slots=True)
class Stores:
    """The three competitors, each with a file of its own and the same rows in it."""

    bare: BareStore
    awaited: AsyncMemory
    awaited_vectors: GivenVectorsAsync
    plain: Memory
    plain_vectors: GivenVectors

    async def add_many(self, batch: Batch, user_id: str) -> None:
        """Store the same rows in all three."""
        self.bare.add_many(batch)
        await self.add_many_awaited(batch, user_id)
        self.add_many_plain(batch, user_id)

    async def add_many_awaited(self, batch: Batch, user_id: str) -> None:
        """Store rows with the async face."""
        self.awaited_vectors.give(batch.vectors)
        await self.awaited.add_many(_items(batch), user_id=user_id, timeout=_LONG)

    def add_many_plain(self, batch: Batch, user_id: str) -> None:
        """Store rows with the sync face."""
        self.plain_vectors.give(batch.vectors)
        self.plain.add_many(_items(batch), user_id=user_id, timeout=_LONG)


@contextlib.asynccontextmanager
async def open_stores(folder: Path) -> AsyncIterator[Stores]:
    """Open three empty stores in a folder."""
    awaited_vectors, plain_vectors = GivenVectorsAsync(), GivenVectors()
    with (
        contextlib.closing(BareStore(folder / "bare.db")) as bare,
        Memory(url=str(folder / "sync.db"), embedder=plain_vectors, app="benchmark") as plain,
    ):
        async with AsyncMemory(url=str(folder / "async.db"), embedder=awaited_vectors, app="benchmark") as awaited:
            yield Stores(bare, awaited, awaited_vectors, plain, plain_vectors)


async def search_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Compare searches of one user's 10,000 rows, everything warm."""
    queries = corpus.queries(rounds + 1)
    bare = stores.bare
    pairs: dict[Literal["hybrid", "vector", "keyword"], tuple[str, Callable[[int], object]]] = {
        "hybrid": ("scan + FTS5 query", lambda n: bare.search(queries.texts[n], queries.vectors[n])),
        "vector": ("scan", lambda n: bare.scan(queries.vectors[n])),
        "keyword": ("FTS5 query", lambda n: bare.match(queries.texts[n])),
    }
    lines = []
    for mode, (rival, run) in pairs.items():
        note(f"search, {mode}: {rounds} rounds")
        ask_awaited, ask_plain = _askers(stores, queries, mode)
        timings = await race({"bare": run, "async": ask_awaited, "sync": ask_plain}, rounds)
        goal = SEARCH_AT_MOST if mode == "hybrid" else None
        what = f"search, {mode}, {{}}, against {rival}"
        lines += _against_bare(what, timings, goal)
        if mode == "hybrid":
            lines.append(ratio("search, hybrid, async against sync", timings["async"], timings["sync"]))
    return lines


async def add_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Compare single adds, each a transaction; openmem's includes its audit entry."""
    note(f"add: {rounds} rounds")
    batch = corpus.batch(rounds + 1)
    texts, vectors = batch.texts, batch.vectors

    def bare(n: int) -> None:
        stores.bare.add(texts[n], vectors[n])

    def awaited(n: int) -> Awaitable[object]:
        stores.awaited_vectors.give(vectors[n : n + 1])
        return stores.awaited.add(content=texts[n], user_id=USER, scope="a/b")

    def plain(n: int) -> None:
        stores.plain_vectors.give(vectors[n : n + 1])
        stores.plain.add(content=texts[n], user_id=USER, scope="a/b")

    timings = await race({"bare": bare, "async": awaited, "sync": plain}, rounds)
    lines = _against_bare("add, {}, against INSERT + commit", timings, ADD_AT_MOST)
    return [*lines, ratio("add, async against sync", timings["async"], timings["sync"])]


async def bulk_lines(stores: Stores, corpus: Corpus, rounds: int) -> list[Line]:
    """Measure `add_many` of 10,000 rows in one transaction."""
    note(f"add_many: {rounds} rounds of {ROWS:,} rows")
    batches = [corpus.batch(ROWS) for _ in range(rounds + 1)]
    timings = await race(
        {
            "bare": lambda n: stores.bare.add_many(batches[n]),
            "async": lambda n: stores.add_many_awaited(batches[n], f"bulk-{n}"),
            "sync": lambda n: stores.add_many_plain(batches[n], f"bulk-{n}"),
        },
        rounds,
    )
    return [_bulk_line(face, timings) for face in ("async", "sync")]


async def measure(parts: Sequence[str], quick: bool) -> list[Line]:
    """Measure the parts of the benchmark in a folder that is removed afterwards."""
    lines: list[Line] = []
    corpus = Corpus(_SEED)
    with tempfile.TemporaryDirectory(prefix="openmem-benchmark-") as name:
        async with open_stores(Path(name)) as stores:
            if parts != ["growth"]:
                note(f"filling three stores with {ROWS:,} rows")
                batch = corpus.batch(ROWS)
                await stores.add_many(batch, USER)
                stores.bare.matrix = batch.vectors
            if "search" in parts:
                lines += await search_lines(stores, corpus, 50 if quick else 300)
            if "add" in parts:
                lines += await add_lines(stores, corpus, 200 if quick else 1_000)
            if "bulk" in parts:
                lines += await bulk_lines(stores, corpus, 3 if quick else 7)
        if "growth" in parts:
            sizes = [1_000, 10_000, 100_000] if quick else [1_000, 10_000, 100_000, 1_000_000]
            lines += await growth(Path(name), sizes, 100 if quick else 300)
    return lines


def main() -> int:
    """Run the benchmark; the verdicts are in the table, so the exit code is always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description="The store against its limits.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and growth to 100,000 rows only")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    lines = asyncio.run(measure(options.parts or list(PARTS), options.quick))
    print(f"\nPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores")
    print("medians, quartiles in brackets; n = how often each side was measured, in turns\n")
    print(table(lines))
    missed = sum(line.verdict == "MISS" for line in lines)
    print(f"\n{sum(line.verdict == 'PASS' for line in lines)} PASS, {missed} MISS")
    return 0


def _items(batch: Batch) -> Items:
    return [{"content": text, "scope": "a/b"} for text in batch.texts]


def _askers(
    stores: Stores, queries: Batch, mode: Literal["hybrid", "vector", "keyword"]
) -> tuple[Callable[[int], Awaitable[object]], Callable[[int], object]]:
    def awaited(n: int) -> Awaitable[object]:
        stores.awaited_vectors.give_query(queries.vectors[n])
        return stores.awaited.search(queries.texts[n], USER, mode=mode)

    def plain(n: int) -> object:
        stores.plain_vectors.give_query(queries.vectors[n])
        return stores.plain.search(queries.texts[n], USER, mode=mode)

    return awaited, plain


def _against_bare(what: str, timings: dict[str, Timing], at_most: float | None) -> list[Line]:
    return [ratio(what.format(face), timings[face], timings["bare"], at_most) for face in ("async", "sync")]


def _bulk_line(face: str, timings: dict[str, Timing]) -> Line:
    mine, bare = timings[face], timings["bare"]
    figure, count = ROWS / mine.median, len(mine.samples)
    return Line(f"add_many, {face}", mine.rate(ROWS), bare.rate(ROWS), figure, count, at_least=BULK_AT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
