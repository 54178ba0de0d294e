"""Dates that a query names, and how well the date of a memory fits them."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]

_MONTHS: Final = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_NUMBER_OF: Final = {name[:3]: number for number, name in enumerate(_MONTHS, 1)}
_MONTH: Final = (
    r"(?P<month>January|February|March|April|May|June|July|August|September|October|November|December|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)"
)
_DAY: Final = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:\D{0,3}(?P<year>(?:19|20)\d\d))?"
_ANY: Final = re.compile(r"[\dJFMASOND]")  # each of them has a figure, or begins with the capital of a month
_PATTERNS: Final = (
    re.compile(r"\b(?P<year>(?:19|20)\d\d)-(?P<month>\d\d)(?:-(?P<day>\d\d))?\b"),
    re.compile(rf"\b{_DAY}\s+(?:of\s+)?{_MONTH}\b\.?{_YEAR}", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}\b\.?\s+{_DAY}\b{_YEAR}", re.IGNORECASE),
    re.compile(rf"\b{_MONTH}\b\.?(?P<day>){_YEAR}"),
)


MAX_DATES: Final = 32


class NamedDate(NamedTuple):
    """A month, with its day and year where the text gives them."""

    month: int
    day: int | None
    year: int | None


def dates_named(text: str) -> list[NamedDate]:
    """Return the first 32 dates that a text names, each once.

    A month alone counts only when capitalised ("May" against "may").
    """
    found: dict[NamedDate, None] = {}
    if not _ANY.search(text):
        return []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            date = _date_of(match)
            if date is not None:
                found[date] = None
        text = pattern.sub(" ", text)
    return list(found)[:MAX_DATES]


def date_match(dates: list[NamedDate], times: Ints) -> Floats:
    """Return how well each time fits the best of the dates: 1 with its day, 0.5 with its month, else 0.

    Args:
        dates: What the query names.
        times: Microseconds since 1970, in UTC.
    """
    days = times.astype("datetime64[us]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    year_of = months.astype("datetime64[Y]").astype(np.int64) + 1970
    month_of = months.astype(np.int64) % 12 + 1
    day_of = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    best = np.zeros(len(times), dtype=np.float32)
    for month, day, year in dates:
        same = (month_of == month) & ((year_of == year) if year is not None else True)
        value = np.where(same, np.float32(0.5), np.float32(0.0))
        if day is not None:
            value = np.where(same & (day_of == day), np.float32(1.0), value)
        best = np.maximum(best, value)
    return best


def _date_of(match: re.Match[str]) -> NamedDate | None:
    month_text, day, year = match.group("month"), match.group("day"), match.group("year")
    month = int(month_text) if month_text.isdigit() else _NUMBER_OF[month_text.lower()[:3]]
    if not 1 <= month <= 12 or (day and not 1 <= int(day) <= 31):
        return None
    return NamedDate(month, int(day) if day else None, int(year) if year else None)
