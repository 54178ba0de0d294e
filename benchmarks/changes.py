"""The feed of changes while eight processes write: `python -m benchmarks.changes [sqlite] [postgres]`.

Each process adds memories of a user of its own, as fast as it can. What the figures mean stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from benchmarks.measure import Line, Timing, note, ratio, table

from openmem import Memory
from openmem.testing.postgres import postgres_server

WRITERS: Final = 8
ADDS: Final = 500
ROUNDS: Final = 5
PAUSE: Final = 0.05
"""Seconds between two questions of the reader, once it has seen everything."""
STORES: Final = ("sqlite", "postgres")
_LONG: Final = 600.0


def write(url: str, name: str, adds: str) -> None:
    """Add memories when told to, and say how long that took."""
    with Memory(url=url, embedder="none", app="benchmark", timeout=_LONG) as memory:
        memory.add("ready", user_id=name)
        print("ready", flush=True)
        sys.stdin.readline()
        begin = time.perf_counter()
        for number in range(int(adds)):
            memory.add(f"note {number} of {name} about tea, the sea and the hills behind it", user_id=name)
        print(time.perf_counter() - begin, flush=True)


class Writers:
    """Processes that write at the same moment."""

    def __init__(self, url: str, turn: int, adds: int) -> None:
        command = [sys.executable, "-m", "benchmarks.changes", "--write", url]
        self._processes = [
            subprocess.Popen(
                [*command, f"u{turn}-{n}", str(adds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for n in range(WRITERS)
        ]
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def start(self) -> None:
        """Have them begin."""
        for process in self._processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write("go\n")
                process.stdin.flush()

    @property
    def at_work(self) -> bool:
        """Whether any has not ended."""
        return any(process.poll() is None for process in self._processes)

    def seconds(self) -> float:
        """Return how long the slowest took."""
        said = [process.communicate()[0] for process in self._processes]
        return max(float(text) for text in said)


class Reader:
    """Follows the feed of all users."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.cursor: str | None = None

    def follow(self, limit: int = 1_000) -> int:
        """Read to the end; return how many changes came."""
        count = 0
        while True:
            page = self.memory.changes(cursor=self.cursor, limit=limit)
            self.cursor, count = page.next_cursor, count + len(page)
            if not page.has_more:
                return count


def lines_of(name: str, url: str, adds: int, rounds: int) -> list[Line]:
    """Measure a store."""
    alone, followed, drains, lags = list[float](), list[float](), list[float](), list[float]()
    total = WRITERS * adds
    with Memory(url=url, embedder="none", app="benchmark", timeout=_LONG) as memory:
        for turn in range(rounds):
            note(f"{name}: round {turn + 1} of {rounds}")
            writers = Writers(url, 2 * turn, adds)
            writers.start()
            alone.append(writers.seconds() / total)
            reader = Reader(memory)
            begin = time.perf_counter()
            count = reader.follow()
            drains.append((time.perf_counter() - begin) / count)
            writers = Writers(url, 2 * turn + 1, adds)
            reader.follow()
            seen = 0
            writers.start()
            while writers.at_work:
                some = reader.follow()
                seen += some
                if not some:
                    time.sleep(PAUSE)
            end = time.perf_counter()
            followed.append(writers.seconds() / total)
            seen += reader.follow()
            lags.append(time.perf_counter() - end)
            assert seen == total, f"{seen} of {total} changes came"
    written, read = Timing(tuple(alone)), Timing(tuple(drains))
    # A reader that is slower than the writers would never see the end.
    keeps_up = Line(
        f"{name}, changes read", read.millis(), written.millis(), 1 / read.median, rounds, at_least=1 / written.median
    )
    behind = Line(f"{name}, seconds behind the last write", f"{max(lags):.3f} s", "", max(lags), rounds)
    return [ratio(f"{name}, an add of eight writers, followed", Timing(tuple(followed)), written), keeps_up, behind]


def stores(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return the addresses of empty stores by name, each while it is there."""
    if "sqlite" in names:
        with tempfile.TemporaryDirectory() as folder:
            yield "sqlite", f"sqlite:///{Path(folder) / 'changes.db'}"
    if "postgres" in names:
        with postgres_server(private=True) as server:
            yield "postgres", server.new_database()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", metavar="STORE", help="sqlite, postgres; both unless named")
    parser.add_argument("--adds", type=int, default=ADDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(*given.write)
        return
    lines: list[Line] = []
    for name, url in stores(given.stores or STORES):
        lines += lines_of(name, url, given.adds, given.rounds)
    print(table(lines))


if __name__ == "__main__":
    main()
