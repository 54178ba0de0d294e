"""`omp-server` against a bare app, and `Memory` through it against `Memory` direct: `python -m benchmarks.server`.

A Postgres of its own is started and removed afterwards, and both servers run as processes of their own. What the
figures mean stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from benchmarks.corpus import Corpus, GivenVectorsAsync
from benchmarks.http_load import Ask, Load, send_load
from benchmarks.measure import Line, note, race, ratio, table
from benchmarks.postgres_stores import SCOPE, USERS, fill, server, user
from benchmarks.server_bare import queries
from benchmarks.server_processes import Running, bare_server, omp_server

from openmem import AsyncMemory, Memory

ROWS = 10_000
CLIENTS = (1, 8, 64)
PARTS = ("throughput", "direct", "memory")
VERBS = ("add", "search", "context")
AT_LEAST = 0.7
_FLAT = 1.10
_ROUNDS = 5
_SEED = 7

Kind = Callable[[int], Ask]


def kinds() -> dict[str, Kind]:
    """Return what clients ask for, by verb."""
    asked = queries()
    texts = Corpus(_SEED).batch(1_000).texts

    def add(number: int) -> Ask:
        return Ask("/memories", {"content": texts[number % 1_000], "user_id": user(number), "scope": SCOPE})

    def search(number: int) -> Ask:
        return Ask(f"/memories/search?q={quote(asked[number % len(asked)])}&user_id={user(number)}")

    def context(number: int) -> Ask:
        return Ask("/context", {"query": asked[number % len(asked)], "user_id": user(number)})

    return {"add": add, "search": search, "context": context}


async def throughput(ours: Running, bare: Running, quick: bool, verbs: Sequence[str] = VERBS) -> list[Line]:
    """Compare requests per second: both servers take turns, round by round."""
    lines, made = [], kinds()
    for verb in verbs:
        ask = made[verb]
        for clients in CLIENTS:
            count = (200 if clients == 1 else 500) if quick else (600 if clients == 1 else 1_500)
            note(f"{verb}: {clients} clients")
            rounds: dict[Running, list[Round]] = {ours: [], bare: []}
            for number in range(_ROUNDS + 1):
                for running in (ours, bare) if number % 2 else (bare, ours):
                    before = processor(running.pid)
                    load = await send_load(running.port, running.headers, clients, count, ask)
                    if number:
                        rounds[running].append(Round(load, (processor(running.pid) - before) / count))
            lines.append(_compared(f"{verb}, {clients} clients", rounds[ours], rounds[bare], count))
    return lines


class Round(NamedTuple):
    """A load, and the seconds of processor time that each of its requests took the server."""

    load: Load
    processor: float


def _compared(what: str, ours: Sequence[Round], bare: Sequence[Round], count: int) -> Line:
    rates = [statistics.median(load.per_second for load, _ in rounds) for rounds in (ours, bare)]
    shown = [f"{rate:,.0f}/s, {_latency(rounds)}" for rate, rounds in zip(rates, (ours, bare), strict=True)]
    # The table knows ratios that must stay below a limit: so it is shown how much slower, at most 1 / 0.7.
    return Line(what, shown[0], shown[1], rates[1] / rates[0], count * len(ours), at_most=1 / AT_LEAST)


def _latency(rounds: Sequence[Round]) -> str:
    middle = statistics.median(load.timing.median for load, _ in rounds)
    tail = statistics.median(load.tail() for load, _ in rounds)
    seconds = statistics.median(seconds for _, seconds in rounds)
    return f"p50 {1e3 * middle:.1f}, p99 {1e3 * tail:.1f} ms, CPU {1e3 * seconds:.2f} ms"


async def direct(ours: Running, url: str, rounds: int) -> list[Line]:
    """Compare `Memory` through the server with `Memory` on the database."""
    asked, texts = queries(), Corpus(_SEED).batch(rounds + 1).texts
    with (
        Memory(base_url=f"http://127.0.0.1:{ours.port}", api_key=ours.secret) as remote,
        Memory(url=url, embedder="none", app="benchmark") as local,
    ):
        searches = {name: partial(_search, memory, asked) for name, memory in (("remote", remote), ("local", local))}
        adds = {name: partial(_add, memory, texts) for name, memory in (("remote", remote), ("local", local))}
        found, added = await race(searches, rounds), await race(adds, rounds)
    return [
        ratio("Memory.search through the server, against direct", found["remote"], found["local"]),
        ratio("Memory.add through the server, against direct", added["remote"], added["local"]),
    ]


def _search(memory: Memory, asked: Sequence[str], number: int) -> None:
    memory.search(asked[number % len(asked)], user(number))


def _add(memory: Memory, texts: Sequence[str], number: int) -> None:
    memory.add(content=texts[number], user_id=user(number), scope=SCOPE)


async def memory_use(ours: Running, requests: int) -> list[Line]:
    """Send many searches and contexts, and compare the server's memory at the end with that after a tenth of them."""
    made = kinds()

    def mixed(number: int) -> Ask:
        return made["context" if number % 4 == 0 else "search"](number)

    note(f"memory: {requests:,} requests")
    await send_load(ours.port, ours.headers, 16, requests // 10, mixed)
    early = resident(ours.pid)
    await send_load(ours.port, ours.headers, 16, requests - requests // 10, mixed)
    late = resident(ours.pid)
    what = f"memory of the server after {requests:,} requests, against {requests // 10:,}"
    return [Line(what, f"{late:,.0f} MB", f"{early:,.0f} MB", late / early, requests, at_most=_FLAT)]


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process has taken, all its threads together."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident(pid: int) -> float:
    """Return the megabytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the process is gone")


async def measure(url: str, parts: Sequence[str], quick: bool, verbs: Sequence[str], rows: int) -> list[Line]:
    """Fill the database, start both servers and measure."""
    note(f"filling a database with {rows:,} rows")
    vectors = GivenVectorsAsync()
    async with AsyncMemory(url=url, embedder=vectors, app="benchmark") as memory:
        await fill(memory, vectors, Corpus(_SEED), [user(number) for number in range(USERS)], rows // USERS)
    lines: list[Line] = []
    with omp_server(url) as ours, bare_server(url) as bare:
        if "throughput" in parts:
            lines += await throughput(ours, bare, quick, verbs)
        if "direct" in parts:
            lines += await direct(ours, url, 100 if quick else 500)
        if "memory" in parts:
            lines += await memory_use(ours, 10_000 if quick else 100_000)
    return lines


def main() -> int:
    """Run the benchmark; the verdicts are in the table, so the exit code is always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description="The server against a bare app.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--verb", action="append", choices=VERBS, help="the throughput of this verb only; repeatable")
    parser.add_argument(
        "--rows", type=int, default=ROWS, help=f"memories to begin with, of {USERS} users (%(default)s)"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    with server() as running:
        parts, verbs = options.parts or PARTS, options.verb or VERBS
        lines = asyncio.run(measure(running.new_database(), parts, options.quick, verbs, options.rows))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores")
    print("medians of rounds in turns; the figure is how many times slower than the rival\n")
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
