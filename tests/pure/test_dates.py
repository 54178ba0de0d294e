from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from openmem._model.timestamps import micros
from openmem._retrieval.dates import MAX_DATES, NamedDate, date_match, dates_named


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("what happened on 2023-05-08?", [NamedDate(5, 8, 2023)]),
        ("in 2023-05", [NamedDate(5, None, 2023)]),
        ("on 8 May", [NamedDate(5, 8, None)]),
        ("on the 3rd of July 2022", [NamedDate(7, 3, 2022)]),
        ("on july 4th, 2021", [NamedDate(7, 4, 2021)]),
        ("in December 2022", [NamedDate(12, None, 2022)]),
        ("in Sept. 2022", [NamedDate(9, None, 2022)]),
        ("in May", [NamedDate(5, None, None)]),
        ("may I ask", []),
        ("she will march on", []),
        ("on 2023-07-04", [NamedDate(7, 4, 2023)]),
        ("on 2023-01-01 and 2023-12-31", [NamedDate(1, 1, 2023), NamedDate(12, 31, 2023)]),
        ("2023-13-40", []),
        ("2023-13-01", []),
        ("2023-00-01", []),
        ("2023-12-32", []),
        ("2023-12-00", []),
        ("on 32 May", []),
        ("between 1 June and 3 June", [NamedDate(6, 1, None), NamedDate(6, 3, None)]),
        ("no date at all", []),
    ],
)
def test_dates_are_found_as_people_write_them(text: str, found: list[NamedDate]) -> None:
    assert dates_named(text) == found


def test_of_very_many_dates_the_first_ones_count_each_once() -> None:
    text = " ".join(f"{year}-05-08 {year}-05-08" for year in range(1950, 2000))
    assert dates_named(text) == [NamedDate(5, 8, year) for year in range(1950, 1950 + MAX_DATES)]


def test_a_day_fits_better_than_its_month_and_another_year_does_not_fit() -> None:
    moments = [
        datetime(2023, 5, 8, 23, 59, tzinfo=UTC),
        datetime(2023, 5, 9, tzinfo=UTC),
        datetime(2022, 5, 8, tzinfo=UTC),
        datetime(2023, 6, 8, tzinfo=UTC),
    ]
    times = np.array([micros(moment) for moment in moments], dtype=np.int64)
    assert date_match([NamedDate(5, 8, 2023)], times).tolist() == [1.0, 0.5, 0.0, 0.0]
    assert date_match([NamedDate(5, 8, None)], times).tolist() == [1.0, 0.5, 1.0, 0.0]
    assert date_match([NamedDate(6, None, None), NamedDate(5, 9, None)], times).tolist() == [0.5, 1.0, 0.5, 0.5]


@pytest.mark.parametrize("number", range(1, 13))
def test_month_is_known_by_its_name_and_its_first_three_letters(number: int) -> None:
    name = datetime(2023, number, 1, tzinfo=UTC).strftime("%B")
    for written in (name, name[:3], f"{name[:3]}."):
        assert dates_named(f"in {written} 2023") == [NamedDate(number, None, 2023)]
        assert dates_named(f"on 7 {written.lower()}") == [NamedDate(number, 7, None)]


def test_fit_is_in_single_precision_also_without_dates() -> None:
    assert date_match([], np.array([0, 1], dtype=np.int64)).tolist() == [0.0, 0.0]
    assert date_match([], np.array([0, 1], dtype=np.int64)).dtype == np.float32


def test_times_before_1970_have_the_right_month() -> None:
    times = np.array([micros(datetime(1969, 12, 31, tzinfo=UTC))], dtype=np.int64)
    assert date_match([NamedDate(12, 31, 1969)], times).tolist() == [1.0]
