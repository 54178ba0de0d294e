"""Times as microseconds since 1970, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from openmem._model.timestamps import EPOCH, MICROSECOND, micros, time_of


@pytest.mark.parametrize(
    ("time", "value"),
    [
        (EPOCH, 0),
        (EPOCH - MICROSECOND, -1),
        (datetime(2026, 3, 1, 12, 0, 0, 123456, UTC), 1_772_366_400_123_456),
        (datetime.min.replace(tzinfo=UTC), -62_135_596_800_000_000),
        (datetime.max.replace(tzinfo=UTC), 253_402_300_799_999_999),
    ],
)
def test_every_time_is_a_whole_number_and_comes_back_exactly(time: datetime, value: int) -> None:
    assert micros(time) == value
    assert time_of(value) == time


def test_zone_makes_no_difference() -> None:
    local = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert micros(local) == micros(datetime(2026, 3, 1, 12, tzinfo=UTC))


def test_nothing_stays_nothing() -> None:
    assert micros(None) is None
    assert time_of(None) is None
