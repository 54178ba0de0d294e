"""The approximate index of Postgres finds the nearest of all rows, so it is only asked where nothing is filtered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from openmem._model.requests import View
from openmem._model.scopes import parse_pattern
from openmem._model.where import parse_where
from openmem._sql.postgres.hnsw import Approximation
from openmem._sql.writing import Model
from openmem.types import UTC

MODEL = Model("given", 8)


def test_search_without_a_filter_may_use_the_index() -> None:
    assert Approximation(on=True).fits(View("ann"), MODEL)
    assert Approximation(on=True).fits(View("ann", parse_pattern("*")), MODEL)
    assert not Approximation(on=False).fits(View("ann"), MODEL)


@pytest.mark.parametrize(
    "filtered",
    [
        {"scope": parse_pattern("a")},
        {"tags": ("x",)},
        {"where": parse_where({"n": 1})},
        {"as_of": datetime(2026, 1, 1, tzinfo=UTC)},
        {"visible": (parse_pattern("a/*"),)},
    ],
    ids=lambda filtered: next(iter(filtered)),
)
def test_search_with_any_filter_does_not_use_the_index(filtered: dict[str, Any]) -> None:
    assert not Approximation(on=True).fits(View("ann", **filtered), MODEL)
