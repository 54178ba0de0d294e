"""Searches with a filter on metadata against the same without: `python -m benchmarks.where [sqlite] [postgres]`.

One user has all memories. The filters leave a tenth of them: fewer rows must not cost more. What the figures mean
stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.corpus import Corpus, GivenVectors
from benchmarks.measure import Line, note, race, ratio, table

from openmem import Memory, MemoryItem
from openmem.testing.postgres import postgres_server

ROWS: Final = 100_000
ROUNDS: Final = 40
AT_MOST: Final = 1.0
USER: Final = "u1"
LANGUAGES: Final = ("py", "js", "go", "rs", "c", "java", "rb", "ex", "hs", "ml")
_AT_ONCE: Final = 10_000
_LONG: Final = 3_600.0
STORES: Final = ("sqlite", "postgres")


def filters(rows: int) -> dict[str, Mapping[str, Any]]:
    """Return filters by name, each of which a tenth of so many memories fulfil."""
    return {
        "one of ten texts": {"lang": "py"},
        "a range of numbers, all different": {"n": {"$gte": rows // 2, "$lt": rows // 2 + rows // 10}},
        "two members, one within another": {"lang": {"$in": ["py", "js"]}, "at.half": 0.5},
    }


def metadata_of(number: int) -> dict[str, Any]:
    """Return the metadata of a memory: some of few values, some that no other has."""
    half = 0.5 if number // len(LANGUAGES) % 2 else 1.5
    return {"lang": LANGUAGES[number % len(LANGUAGES)], "n": number, "at": {"half": half, "page": number % 300}}


def fill(memory: Memory, vectors: GivenVectors, corpus: Corpus, rows: int) -> None:
    """Store the memories of the user."""
    for start in range(0, rows, _AT_ONCE):
        batch = corpus.batch(min(_AT_ONCE, rows - start))
        vectors.give(batch.vectors)
        items: list[MemoryItem] = [
            {"content": text, "metadata": metadata_of(start + place)} for place, text in enumerate(batch.texts)
        ]
        memory.add_many(items, user_id=USER, timeout=_LONG)
        note(f"{start + len(batch):,} rows")


async def lines_of(name: str, url: str, rows: int, rounds: int) -> list[Line]:
    """Fill a store and measure it."""
    corpus, vectors = Corpus(7), GivenVectors()
    with Memory(url=url, embedder=vectors, app="benchmark", timeout=_LONG) as memory:
        fill(memory, vectors, corpus, rows)
        queries = corpus.queries(rounds + 1)

        def search(where: Mapping[str, Any] | None, mode: str) -> Callable[[int], object]:
            def ask(number: int) -> object:
                vectors.give_query(queries.vectors[number])
                return memory.search(queries.texts[number], USER, where=where, mode=mode)  # type: ignore[arg-type]

            return ask

        def page(where: Mapping[str, Any] | None) -> Callable[[int], object]:
            return lambda number: memory.list(USER, where=where)

        lines = []
        for mode in ("hybrid", "vector", "keyword"):
            note(f"{name}: {mode}, {rounds} rounds")
            asked: dict[str, Callable[[int], object]] = {"all": search(None, mode)}
            asked |= {what: search(where, mode) for what, where in filters(rows).items()}
            for ask in asked.values():
                ask(0)
            timings = await race(asked, rounds)
            goal = AT_MOST if mode == "hybrid" else None
            lines += [ratio(f"{name}, {mode}, {what}", timings[what], timings["all"], goal) for what in filters(rows)]
        lists = {"all": page(None)} | {what: page(where) for what, where in filters(rows).items()}
        timings = await race(lists, rounds)
        lines += [ratio(f"{name}, list, {what}", timings[what], timings["all"]) for what in filters(rows)]
        lines += [await _after_an_update(name, memory, search, rows, rounds)]
    return lines


async def _after_an_update(
    name: str, memory: Memory, search: Callable[..., Callable[[int], object]], rows: int, rounds: int
) -> Line:
    """Compare searches each of which comes after a change of a memory."""
    changed = next(iter(memory.list(USER, limit=1)))

    def after(ask: Callable[[int], object]) -> Callable[[int], object]:
        def run(number: int) -> object:
            memory.update(changed.id, tags=[f"t{time.perf_counter_ns()}"])
            return ask(number)

        return run

    where = filters(rows)["one of ten texts"]
    asked = {"all": after(search(None, "hybrid")), "some": after(search(where, "hybrid"))}
    timings = await race(asked, max(6, rounds // 4))
    return ratio(f"{name}, hybrid after an update, one of ten texts", timings["some"], timings["all"])


def stores(names: list[str]) -> Iterator[tuple[str, str]]:
    """Return the addresses of empty stores by name, each while it is there."""
    if "sqlite" in names:
        with tempfile.TemporaryDirectory() as folder:
            yield "sqlite", f"sqlite:///{Path(folder) / 'where.db'}"
    if "postgres" in names:
        with postgres_server(private=True, settings={"shared_buffers": "1GB"}) as server:
            yield "postgres", server.new_database()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", metavar="STORE", help="sqlite, postgres; both unless named")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    lines: list[Line] = []
    for name, url in stores(given.stores or [*STORES]):
        lines += asyncio.run(lines_of(name, url, given.rows, given.rounds))
    print(table(lines))


if __name__ == "__main__":
    main()
