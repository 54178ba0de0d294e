"""Many threads do the first verbs of a process, each on stores of its own: all of them find their provider."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openmem import Memory

THREADS = 12


def use(folder: Path, number: int, ready: threading.Barrier) -> str:
    with Memory(url=str(folder / f"{number}.db"), embedder="none") as memory:
        ready.wait()
        record = memory.add(content="likes tea", user_id="ann")
        return memory.search("tea", "ann")[0].memory.content if record.id else ""


if __name__ == "__main__":
    barrier = threading.Barrier(THREADS)
    with ThreadPoolExecutor(THREADS) as pool:
        print({*pool.map(lambda number: use(Path(sys.argv[1]), number, barrier), range(THREADS))})
