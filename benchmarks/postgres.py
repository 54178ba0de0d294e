"""Postgres against its limits: `python -m benchmarks.postgres`.

A server of its own is started and removed afterwards. Every figure stands beside a rival, measured in turns in the
same run. What the figures mean stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Sequence

from benchmarks.corpus import Corpus
from benchmarks.measure import Line, note, table
from benchmarks.postgres_contest import contest
from benchmarks.postgres_growth import growth
from benchmarks.postgres_ratios import add_lines, bulk_lines, gathered_lines, hybrid_lines, search_lines
from benchmarks.postgres_stores import Stores, open_stores, server

from openmem.testing.postgres import PostgresServer

SIZES = (1_000, 10_000, 100_000)
ROWS = 10_000
"""Rows in the store of all parts but those that compare sizes."""
PARTS = ("search", "add", "bulk", "hybrid", "gathered", "requests", "contest", "growth")
_SEED = 5


async def measure(running: PostgresServer, parts: Sequence[str], quick: bool) -> list[Line]:
    """Measure the parts of the benchmark."""
    lines: list[Line] = []
    corpus = Corpus(_SEED)
    for rows in _sizes(parts, quick):
        async with open_stores(running, rows, corpus) as stores:
            if "search" in parts:
                lines += await search_lines(stores, corpus, 300 if quick else 1_000)
            if rows != ROWS:
                continue
            if "add" in parts:
                lines += await add_lines(stores, corpus, 300 if quick else 1_000)
            if "bulk" in parts:
                lines += await bulk_lines(stores, corpus, 5 if quick else 15)
            if "hybrid" in parts:
                for per_user in (1_000, 10_000):
                    lines += await hybrid_lines(stores, corpus, 30 if quick else 100, per_user)
            if "gathered" in parts:
                lines += await gathered_lines(stores, corpus, 20 if quick else 50)
            if "requests" in parts:
                lines += await _requests(stores, corpus, quick)
    if "contest" in parts:
        for rows in (ROWS,) if quick else SIZES:
            lines += await contest(running, rows, 100 if quick else 300, _SEED)
    if "growth" in parts:
        lines += await growth(running, (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000), 200)
    return lines


async def _requests(stores: Stores, corpus: Corpus, quick: bool) -> list[Line]:
    try:
        from benchmarks.postgres_requests import request_lines
    except ImportError as error:
        note(f"requests are left out ({error.name} is missing): pip install --group bench")
        return []
    rounds = 200 if quick else 500
    return await request_lines(stores, corpus.queries(rounds + 1), rounds, 1_000 if quick else 10_000)


def _sizes(parts: Sequence[str], quick: bool) -> Sequence[int]:
    if "search" in parts:
        return SIZES[:2] if quick else SIZES
    return () if {"add", "bulk", "hybrid", "gathered", "requests"}.isdisjoint(parts) else (ROWS,)


def main() -> int:
    """Run the benchmark; the verdicts are in the table, so the exit code is always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres", description="Postgres against its limits.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller stores")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    with server() as running:
        lines = asyncio.run(measure(running, options.parts or list(PARTS), options.quick))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores")
    print("medians, quartiles in brackets; n = how often each side was measured, in turns\n")
    print(table(lines))
    missed = sum(line.verdict == "MISS" for line in lines)
    print(f"\n{sum(line.verdict == 'PASS' for line in lines)} PASS, {missed} MISS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
