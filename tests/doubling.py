"""Tells whether work grows faster than its input: what twice the input takes is held against what half of it took."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from openmem import OMPError

FACTOR: Final = 3.0  # twice the input is twice the work; four times would be its square
FLOOR: Final = (
    0.008  # seconds of processor: below that a square does no harm, and clocks and caches say more than the work
)
TRIES: Final = 6  # the best of so many counts: a busy machine makes work slower, never faster

Work = Callable[[], object]

# Repeated up to a limit, they are what regular expressions, normal forms, sorts and joins stumbled over, or could.
UNITS: Final = (
    "a",
    "a ",
    "ay",
    "é ",
    "\u0300",
    "\u0300\u0316",
    "\uff9e\u0316",
    "\u200d",
    "\u200d\u0301",
    "\ufe0f",
    "\u1100\u1161\u11a8",
    "👨\u200d👩",
    "🇩",
    "\n",
    " \t",
    "1",
    "1 ",
    "may ",
    "did ",
    "1 May 2020 ",
    "-",
    "a'",
    "'s ",
    "a-b.",
    "[1] ",
    "[INST]",
    "<",
    "</a",
    "-->",
    "--",
    "]]>",
    "]",
    "<a ",
    "<·",
    "`",
    "~ ~",
    "# ",
    "(",
    "Stored notes ",
    "\\u0000",
    "\\",
    '"',
    "\U000e0067",
    "東",
    "ا\u200c",
    "Σ\u0345",
    "%41",
    ",",
    "/",
)


def of_length(unit: str, length: int, *, start: str = "é") -> str:
    """Return a text of this length that repeats a unit, behind something that makes it more than ASCII."""
    return (start + unit * (length // len(unit) + 1))[:length]


def set_garbage_aside() -> None:
    """Take what earlier tests left in memory out of what is measured.

    A collection of garbage walks over all of it, for up to 50 ms of whatever happens to run; a program of its own has
    no such past. What is made from here on is collected as ever. There is no way back, and none is needed: the run
    sets its modules aside in the same way.
    """
    gc.collect()
    gc.freeze()


def seconds_of(work: Work) -> float:
    """Return the processor time of this process that work takes; a refusal by rule is work, too."""
    begin = time.process_time()
    with suppress(OMPError):
        work()
    return time.process_time() - begin


def assert_linear(make: Callable[[int], Work], limit: int, measure: Callable[[Work], float] = seconds_of) -> None:
    """Check that work of size `limit` takes at most three times as long as that of half the size.

    Args:
        make: Prepares work of a size, uncounted.
        limit: The largest size.
        measure: Does the work and tells what it took; the test of this check counts, for clocks vary.
    """
    half = whole = float("inf")
    for number in range(TRIES):
        if number == 1:
            set_garbage_aside()
        whole = min(whole, measure(make(limit)))
        if whole <= FLOOR:  # no half could make that too much
            return
        half = min(half, measure(make(limit // 2)))
        if whole <= FACTOR * half + FLOOR:
            return
    raise AssertionError(f"{limit // 2} took {half:.3f} s of processor, {limit} took {whole:.3f} s")
