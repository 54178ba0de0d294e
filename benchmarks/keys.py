"""By key against by id, and adds on terms against plain ones: `python -m benchmarks.keys`.

On the embedded store and on Postgres, in both forms. The rivals take turns on the same memories. What the figures mean
stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Line, note, race, ratio, table
from benchmarks.postgres_stores import server

from openmem import AsyncMemory, Memory, MemoryItem

USERS: Final = 10
PER_USER: Final = 1_000
AT_MOST: Final = 1.1
STORES: Final = ("sqlite", "postgres")


async def measure(name: str, url: str, rounds: int) -> list[Line]:
    """Fill a store, and compare verbs on it in both forms."""
    note(f"{name}: filling")
    async with AsyncMemory(url=url, embedder="none", app="benchmark", timeout=600.0) as awaited:
        ids = [[record.id for record in await awaited.add_many(_items(user))] for user in range(USERS)]
        with Memory(url=url, embedder="none", app="benchmark") as plain:
            note(f"{name}: {rounds} rounds")
            sync = await _compare(f"{name}, Memory", plain, ids, rounds)
            return sync + await _compare(f"{name}, AsyncMemory", awaited, ids, rounds)


async def _compare(name: str, memory: Any, ids: Sequence[Sequence[str]], rounds: int) -> list[Line]:
    def at(number: int) -> tuple[str, str, str]:
        user, place = number % USERS, number * 7 % PER_USER
        return f"user-{user}", ids[user][place], f"key {place}"

    def by_id(verb: Callable[..., Any], **named: Any) -> Callable[[int], Any]:
        return lambda number: verb(at(number)[1], user_id=at(number)[0], **named)

    def by_key(verb: Callable[..., Any], **named: Any) -> Callable[[int], Any]:
        return lambda number: verb(key=at(number)[2], user_id=at(number)[0], **named)

    lines = []
    for verb, named, count in (
        ("get", {}, rounds),
        ("update", {"tags": ["x"]}, rounds // 4),
        ("history", {}, rounds // 4),
    ):
        method = getattr(memory, verb)
        times = await race({"id": by_id(method, **named), "key": by_key(method, **named)}, count)
        lines.append(ratio(f"{verb} by key against by id, {name}", times["key"], times["id"], AT_MOST))
    form = name.replace(" ", "-")
    times = await race(
        {
            "plain": lambda n: memory.add("likes tea", user_id=f"user-{n % USERS}", key=f"plain {form} {n}"),
            "absent": lambda n: memory.add(
                "likes tea", user_id=f"user-{n % USERS}", key=f"new {form} {n}", if_absent=True
            ),
        },
        rounds // 4,
    )
    return [*lines, ratio(f"add with if_absent against without, {name}", times["absent"], times["plain"], AT_MOST)]


def _items(user: int) -> list[MemoryItem]:
    return [
        {"content": f"fact {place} of user {user}", "user_id": f"user-{user}", "key": f"key {place}"}
        for place in range(PER_USER)
    ]


def main() -> int:
    """Run the benchmark; the verdicts are in the table, so the exit code is always 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.keys", description="By key against by id.")
    parser.add_argument("stores", nargs="*", metavar="STORE", help=f"some of: {', '.join(STORES)} (default: both)")
    parser.add_argument("--rounds", type=int, default=4_000, help="how often each verb is measured")
    options = parser.parse_args()
    wanted = options.stores or list(STORES)
    if unknown := set(wanted) - set(STORES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    lines: list[Line] = []
    with contextlib.ExitStack() as stack:
        if "sqlite" in wanted:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            lines += asyncio.run(measure("sqlite", f"sqlite:///{folder / 'keys.db'}", options.rounds))
        if "postgres" in wanted:
            lines += asyncio.run(measure("postgres", stack.enter_context(server()).new_database(), options.rounds))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores")
    print("medians, quartiles in brackets; n = how often each side was measured, in turns\n")
    print(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
