"""Postgres against its limits: `python -m benchmarks.postgres`.

A server of its own is started and removed afterwards. Every figure stands beside a rival, measured in turns in the
same run. What the figures mean stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata

import psycopg
from benchmarks.corpus import Corpus
from benchmarks.measure import Line, note, table
from benchmarks.postgres_contest import contest
from benchmarks.postgres_growth import growth
from benchmarks.postgres_ratios import add_lines, bulk_lines, gathered_lines, hybrid_lines, search_lines
from benchmarks.postgres_recall import SIZES as RECALL_SIZES
from benchmarks.postgres_recall import recall
from benchmarks.postgres_stores import Stores, open_stores, server

from openmem.testing.postgres import PostgresServer

SIZES = (1_000, 10_000, 100_000)
ROWS = 10_000
"""Rows in the store of all parts but those that compare sizes."""
PARTS = ("search", "add", "bulk", "hybrid", "gathered", "requests", "recall", "growth", "contest")
_SEED = 5


async def measure(running: PostgresServer, parts: Sequence[str], quick: bool) -> list[Line]:
    """Measure the parts of the benchmark."""
    lines: list[Line] = []
    corpus = Corpus(_SEED)
    for rows in _sizes(parts, quick):
        async with open_stores(running, rows, corpus) as stores:
            if "search" in parts:
                lines += _said(await search_lines(stores, corpus, 300 if quick else 1_000))
            if rows == ROWS:
                lines += await _measure_middle(stores, corpus, parts, quick)
    if "recall" in parts:
        lines += _said(await recall(running, RECALL_SIZES[:4] if quick else RECALL_SIZES))
    if "growth" in parts:
        lines += _said(await growth(running, (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000), 200))
    if "contest" in parts:
        for rows in (ROWS,) if quick else SIZES:
            lines += _said(await contest(running, rows, 100 if quick or rows > ROWS else 300, _SEED))
    return lines


async def _measure_middle(stores: Stores, corpus: Corpus, parts: Sequence[str], quick: bool) -> list[Line]:
    lines: list[Line] = []
    if "add" in parts:
        lines += _said(await add_lines(stores, corpus, 300 if quick else 1_000))
    if "bulk" in parts:
        lines += _said(await bulk_lines(stores, corpus, 5 if quick else 15))
    if "hybrid" in parts:
        for per_user in (1_000, 10_000):
            lines += _said(await hybrid_lines(stores, corpus, 30 if quick else 100, per_user))
    if "gathered" in parts:
        lines += _said(await gathered_lines(stores, corpus, 20 if quick else 50))
    if "requests" in parts:
        lines += _said(await _requests(stores, corpus, quick))
    return lines


def _said(lines: list[Line]) -> list[Line]:
    """Show what is measured already: a run is long."""
    for line in lines:
        note(f"{line.verdict or '    '} {line.what}: {line.cells()[3]} ({line.measured} / {line.against})")
    return lines


async def _requests(stores: Stores, corpus: Corpus, quick: bool) -> list[Line]:
    try:
        from benchmarks.postgres_requests import request_lines
    except ImportError as error:
        note(f"requests are left out ({error.name} is missing): make bench-postgres installs it")
        return []
    rounds = 200 if quick else 500
    return await request_lines(stores, corpus.queries(rounds + 1), rounds, 1_000 if quick else 10_000)


def _sizes(parts: Sequence[str], quick: bool) -> Sequence[int]:
    if "search" in parts:
        return SIZES[:2] if quick else SIZES
    return () if {"add", "bulk", "hybrid", "gathered", "requests"}.isdisjoint(parts) else (ROWS,)


def _versions(running: PostgresServer) -> str:
    """Return the versions of the server and of those who are measured on it."""
    sql = "select current_setting('server_version'), default_version from pg_available_extensions where name = 'vector'"
    with psycopg.connect(running.url) as connection:
        server_version, extension_version = connection.execute(sql).fetchall()[0]
    found = [("Postgres", str(server_version)), ("pgvector", str(extension_version))]
    for package in ("asyncpg", "psycopg", "mem0ai", "langgraph-checkpoint-postgres"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((package, metadata.version(package)))
    return ", ".join(" ".join(pair) for pair in found)


def main() -> int:
    """Run the benchmark; the verdicts are in the table, so the exit code is always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres", description="Postgres against its limits.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller stores")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    with server() as running:
        versions = _versions(running)
        lines = asyncio.run(measure(running, options.parts or list(PARTS), options.quick))
    print(f"\nPython {platform.python_version()}, {versions}, {os.cpu_count()} cores")
    print("medians, quartiles in brackets; n = how often each side was measured, in turns\n")
    print(table(lines))
    missed = sum(line.verdict == "MISS" for line in lines)
    print(f"\n{sum(line.verdict == 'PASS' for line in lines)} PASS, {missed} MISS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
