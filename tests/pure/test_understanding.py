"""Arguments that came later than the contract of providers are known by a mark, and a use of one is seen."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, replace

import pytest

from openmem._model.requests import LATER, AuditQuery, Change, Draft, HistoryQuery, ListQuery, SearchQuery, View
from openmem._rules.understanding import LATER_ARGUMENTS, later_fields, not_understood, used_by

VIEW = View("ann")
PLAIN = (AuditQuery("ann"), Draft("x", "ann"), HistoryQuery("m"), ListQuery(VIEW), SearchQuery("x", VIEW), VIEW)


@dataclass(frozen=True, slots=True)
class Asked:
    first: int = 0
    second: str | None = field(default=None, metadata={LATER: "newer"})


def test_marked_fields_are_the_later_ones() -> None:
    assert later_fields(Asked) == (("newer", "second", None),)


@pytest.mark.parametrize("kind", [type(request) for request in PLAIN])
def test_later_fields_have_a_default(kind: type) -> None:
    assert not [found.name for found in fields(kind) if LATER in found.metadata and found.default is MISSING]


@pytest.mark.parametrize("request_", PLAIN)
def test_request_without_later_arguments_is_understood_by_every_provider(request_: object) -> None:
    assert not_understood(frozenset(), request_) is None


def test_change_of_a_field_that_came_later_is_seen() -> None:
    assert list(used_by(Change({"content": "x", "extensions": {"x-a": 1}, "mood": None}))) == ["mood"]


def test_provider_that_understands_all_is_asked_everything() -> None:
    assert not_understood(LATER_ARGUMENTS, [Draft("x", "ann")]) is None


def test_terms_of_a_draft_are_seen_and_its_position_is_none_of_them() -> None:
    plain = Draft("x", "ann", key="k", index=3)
    assert list(used_by(plain)) == []
    assert list(used_by(replace(plain, if_absent=True))) == ["if_absent"]
    assert list(used_by(replace(plain, if_version=1))) == ["if_version"]
    assert not_understood(frozenset({"if_absent"}), [plain, replace(plain, if_version=1)]) == "if_version"
