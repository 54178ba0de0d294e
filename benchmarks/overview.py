"""Overviews and pages in other orders, on both stores: python -m benchmarks.overview [MEMORIES]

One user with 1,000 scopes and five memories in each, unless another number is given. The goals are those of the
scopes: 5 ms.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openmem import Memory, MemoryItem
from openmem.testing.postgres import postgres_server

SCOPES: Final = 1_000
GOAL: Final = 5.0
_ROUNDS: Final = 25


def median_ms(work: Callable[[], object]) -> float:
    """Return the middle of some runs, in milliseconds; the first one opens and warms."""
    work()
    taken = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1e3 * sorted(taken)[_ROUNDS // 2]


def fill(memory: Memory, count: int) -> None:
    """Store so many memories in all scopes, and change some."""
    for start in range(0, count, 1_000):
        items: list[MemoryItem] = []
        for number in range(start, min(start + 1_000, count)):
            content, scope = f"Ann had tea with number {number} by the river", f"s{number % 20}/t{number % SCOPES}"
            items.append({"content": content, "scope": scope, "tags": [f"tag {number % 50}"]})
        stored = memory.add_many(items, user_id="ann", timeout=None)
        memory.update(stored[0].id, user_id="ann", content="Ann had no tea")


def lines(memory: Memory) -> list[tuple[str, float, float | None]]:
    """Return what was measured: a name, milliseconds, and the goal if there is one."""
    return [
        ("scopes()", median_ms(lambda: memory.scopes("ann")), GOAL),
        ("scopes(depth=1)", median_ms(lambda: memory.scopes("ann", depth=1)), GOAL),
        ("tags()", median_ms(lambda: memory.tags("ann")), None),
        ("users()", median_ms(lambda: memory.users()), None),
        ("list()", median_ms(lambda: memory.list("ann")), None),
        ('list(order="updated")', median_ms(lambda: memory.list("ann", order="updated")), None),
        ('list(order="valid_from")', median_ms(lambda: memory.list("ann", order="valid_from")), None),
        ("search(limit=10)", median_ms(lambda: memory.search("tea river", "ann")), None),
        ("search(limit=10, offset=500)", median_ms(lambda: memory.search("tea river", "ann", offset=500)), None),
    ]


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    print(f"{count:,} memories of one user in {SCOPES:,} scopes, no embedder")
    with tempfile.TemporaryDirectory() as folder, postgres_server() as server:
        for name, url in (("sqlite", f"sqlite:///{Path(folder) / 'a.db'}"), ("postgres", server.new_database())):
            with Memory(url=url, embedder="none") as memory:
                fill(memory, count)
                for what, taken, goal in lines(memory):
                    verdict = "" if goal is None else f"  goal {goal:g} ms: {'PASS' if taken <= goal else 'MISS'}"
                    print(f"{name:10} {what:30} {taken:8.2f} ms{verdict}")


if __name__ == "__main__":
    main()
