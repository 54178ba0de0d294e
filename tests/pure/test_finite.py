from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from openmem._model.finite import is_finite
from openmem.types import MemoryRecord, MemorySource

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def record(**fields: Any) -> MemoryRecord:
    return MemoryRecord.model_construct(id="a", content="tea", user_id="ann", created_at=NOW, **fields)


@pytest.mark.parametrize("value", ["a", 7, True, None, NOW, 1.5, [1.5, [2.5]], (1.5,), {"a": {"b": 1.5}}, object()])
def test_value_without_such_numbers_is_finite(value: Any) -> None:
    assert is_finite(value)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_number_that_is_not_finite_is_found_wherever_it_lies(number: float) -> None:
    for value in (number, [1, number], (number, 1), {"a": 1, "b": [{"c": number}]}):
        assert not is_finite(value)


def test_models_are_looked_through_with_their_extensions() -> None:
    assert is_finite(record(confidence=0.5, **{"x-a": 1.5}))
    assert is_finite(record())
    assert not is_finite(record(confidence=math.inf))
    assert not is_finite(record(**{"x-a": math.inf}))
    assert not is_finite(record(source=MemorySource.model_validate({"app": "chat", "x-a": [math.nan]})))
