"""The overhead of openmem over bare calls of mem0's SDK, in process on Qdrant's embedded store.

    python -m benchmarks.mem0_overhead [MEMORIES]

The same store, the same vectors, bare and through openmem in turns; the ratio of the medians is what counts. `thread`
is a bare call in a worker thread, the least that a call costs which does not block the loop; `mem0 async` is mem0's own
class for that.
"""

from __future__ import annotations

import asyncio
import inspect
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openmem import AsyncMemory, Memory
from tests.vendor.mem0_oss import close_memory, empty, make_memory, qdrant_config

ROUNDS = 150
TEXT = "prefers green tea in the morning and reads about rivers, number {}"


async def compare(name: str, ways: dict[str, Callable[[int], Any]]) -> None:
    """Time some ways in turns, on one loop, and print their medians."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS):
        for way, work in ways.items():
            start = time.perf_counter()
            result = work(number)
            if inspect.isawaitable(result):
                await result
            times[way].append((time.perf_counter() - start) * 1000)
    medians = {way: statistics.median(values) for way, values in times.items()}
    shown = "  ".join(f"{way} {value:.3f} ms ({value / medians['bare']:.2f})" for way, value in medians.items())
    print(f"{name:8} {shown}")


async def main(count: int, folder: Path) -> None:
    """Compare search and add.

    Args:
        count: Memories in the store.
        folder: An empty folder for it.
    """
    sdk = make_memory(qdrant_config(folder), folder)
    empty(sdk)
    plain, later = Memory("mem0", client=sdk), AsyncMemory("mem0", client=sdk)
    import mem0  # now that its telemetry is off

    own = mem0.AsyncMemory.__new__(mem0.AsyncMemory)  # over the same store, which takes one client only
    own.__dict__.update(sdk.__dict__)
    plain.add_many([{"content": TEXT.format(n)} for n in range(count)], user_id="ann", timeout=600)
    bare = {"filters": {"user_id": "ann"}, "top_k": 10, "threshold": 0.0, "show_expired": True}
    await compare(
        "search",
        {
            "bare": lambda n: sdk.search(f"green tea {n}", **bare),
            "sync": lambda n: plain.search(f"green tea {n}", "ann"),
            "async": lambda n: later.search(f"green tea {n}", "ann"),
            "thread": lambda n: asyncio.to_thread(sdk.search, f"green tea {n}", **bare),
            "mem0 async": lambda n: own.search(f"green tea {n}", **bare),
        },
    )
    await compare(
        "add",
        {
            "bare": lambda n: sdk.add(TEXT.format(n), user_id="ann", infer=False),
            "sync": lambda n: plain.add(content=TEXT.format(n), user_id="ann"),
            "async": lambda n: later.add(content=TEXT.format(n), user_id="ann"),
            "thread": lambda n: asyncio.to_thread(sdk.add, TEXT.format(n), user_id="ann", infer=False),
            "mem0 async": lambda n: own.add(TEXT.format(n), user_id="ann", infer=False),
        },
    )
    await later.close()
    plain.close()
    close_memory(sdk)


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000, Path(name)))
