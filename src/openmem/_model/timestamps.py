"""Times as whole microseconds since 1970 in UTC, which is how stores and cursors hold them, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, overload

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


@overload
def micros(time: datetime) -> int: ...


@overload
def micros(time: datetime | None) -> int | None: ...


def micros(time: datetime | None) -> int | None:
    """Return a time as microseconds since 1970, `None` for none."""
    return None if time is None else (time - EPOCH) // MICROSECOND


@overload
def time_of(value: int) -> datetime: ...


@overload
def time_of(value: int | None) -> datetime | None: ...


def time_of(value: int | None) -> datetime | None:
    """Return microseconds since 1970 as a time in UTC, `None` for none."""
    return None if value is None else EPOCH + timedelta(microseconds=value)
