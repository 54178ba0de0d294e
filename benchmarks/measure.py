"""Timing and the table: competitors take turns, so that a slow moment of the machine meets all of them alike."""

from __future__ import annotations

import gc
import inspect
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)

_COLUMNS = ("what", "measured", "against", "figure", "goal", "n")


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds that one competitor took, sample by sample."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The samples below and above which a quarter lies: the spread."""
        if len(self.samples) < 4:
            return min(self.samples), max(self.samples)
        low, _, high = statistics.quantiles(self.samples, n=4)
        return low, high

    def millis(self) -> str:
        """Return the median with its spread."""
        low, high = self.quartiles
        return f"{1e3 * self.median:.2f} ms ({1e3 * low:.2f}-{1e3 * high:.2f})"

    def rate(self, rows: int) -> str:
        """Return rows per second with their spread."""
        low, high = self.quartiles
        return f"{rows / self.median:,.0f} rows/s ({rows / high:,.0f}-{rows / low:,.0f})"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table.

    `figure` is what the goal speaks of: with `at_most` a ratio, with `at_least` a rate; a line with neither is
    for information.
    """

    what: str
    measured: str
    against: str
    figure: float
    count: int
    at_most: float | None = None
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        """`PASS`, `MISS`, or nothing where there is no goal."""
        if self.at_most is not None:
            return "PASS" if self.figure < self.at_most else "MISS"
        if self.at_least is not None:
            return "PASS" if self.figure > self.at_least else "MISS"
        return ""

    def cells(self) -> tuple[str, ...]:
        """Return what stands in the columns."""
        rate = self.at_least is not None
        goal = f"< {self.at_most:g}" if self.at_most is not None else f"> {self.at_least:,.0f}" if rate else ""
        figure = f"{self.figure:,.0f}/s" if rate else f"{self.figure:.2f} x"
        return self.what, self.measured, self.against, figure, goal, str(self.count)


def ratio(what: str, measured: Timing, against: Timing, at_most: float | None = None) -> Line:
    """Return the line that compares two medians."""
    figure = measured.median / against.median
    return Line(what, measured.millis(), against.millis(), figure, len(measured.samples), at_most=at_most)


async def race(competitors: Mapping[K, Callable[[int], Any]], rounds: int) -> dict[K, Timing]:
    """Time competitors in turns: ABC, BCA, CAB, then the same backwards, so that none comes first more often.

    Args:
        competitors: By name, what to time: plain or coroutine functions of the number of the round.
        rounds: How often each is timed, after one round that does not count.
    """
    names = list(competitors)
    samples: dict[K, list[float]] = {name: [] for name in names}
    gc.collect()
    for number in range(rounds + 1):
        turn = number % len(names)
        order = names[turn:] + names[:turn]
        for name in order if number // len(names) % 2 == 0 else order[::-1]:
            start = time.perf_counter()
            result = competitors[name](number)
            if inspect.isawaitable(result):
                await result
            seconds = time.perf_counter() - start
            if number:
                samples[name].append(seconds)
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def note(text: str) -> None:
    """Say on stderr what is going on."""
    print(f"  {text}", file=sys.stderr, flush=True)


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a table."""
    rows = [(*line.cells(), line.verdict) for line in lines]
    header = (*_COLUMNS, "")
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, tuple("-" * width for width in widths), *rows]
    )
