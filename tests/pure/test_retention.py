"""The time for which a store keeps its audit log and earlier versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from openmem._model.retention import MAX_DAYS, MAX_VERSIONS, Retention, options_from
from openmem.errors import InvalidRequestError
from openmem.types import UTC

NOW = datetime(2026, 5, 3, 12, tzinfo=UTC)
DAYS = "audit_days must be a number above 0, at most 36500"
VERSIONS = "versions must be a whole number from 0 to 2147483647"


@pytest.mark.parametrize("days", [0, -1, MAX_DAYS + 0.5, float("nan"), float("inf"), True, "7"])
def test_days_are_a_number_above_zero(days: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Retention(audit_days=days)
    assert caught.value.message == DAYS


@pytest.mark.parametrize("versions", [-1, MAX_VERSIONS + 1, 1.0, True, "7"])
def test_versions_are_a_whole_number(versions: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Retention(versions=versions)
    assert caught.value.message == VERSIONS


def test_retention_says_what_goes() -> None:
    kept = Retention(audit_days=1.5, versions=0)
    assert (kept.seconds, kept.limited) == (129_600, True)
    assert kept.oldest(NOW) == datetime(2026, 5, 2, tzinfo=UTC)
    assert Retention(versions=MAX_VERSIONS).limited
    assert Retention(audit_days=MAX_DAYS).limited
    for_ever = Retention()
    assert (for_ever.limited, for_ever.seconds, for_ever.oldest(NOW)) == (False, None, None)


def test_retention_leaves_open_what_another_says() -> None:
    other = Retention(7, 3)
    assert Retention.of({"audit_days": 7, "versions": 3, "cache_mb": 1}) == other
    assert Retention.of({}) == Retention()
    assert Retention(1, None).or_else(other) == Retention(1, 3)
    assert Retention(None, 0).or_else(other) == Retention(7, 0)


def test_environment_fills_in_what_is_not_given() -> None:
    environ = {"OMP_AUDIT_DAYS": "1.5", "OMP_VERSIONS": "3"}
    for provider in ("sqlite", "postgres"):
        assert options_from(environ, provider, {"cache_mb": 1}) == {"cache_mb": 1, "audit_days": 1.5, "versions": 3}
    assert options_from(environ, "sqlite", {"versions": 0}) == {"versions": 0, "audit_days": 1.5}
    assert options_from({"OMP_VERSIONS": ""}, "sqlite", {}) == {}
    assert options_from(environ, "mem0", {"workers": 1}) == {"workers": 1}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OMP_AUDIT_DAYS", "soon", "OMP_AUDIT_DAYS must be a number"),
        ("OMP_VERSIONS", "1.5", "OMP_VERSIONS must be a whole number"),
    ],
)
def test_variable_that_is_no_number_is_named(name: str, value: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        options_from({name: value}, "sqlite", {})
    assert caught.value.message == message
