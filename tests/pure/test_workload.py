"""Requests that take long to compute are told from those that do not."""

from __future__ import annotations

from openmem._model.requests import Change, Draft
from openmem._rules.workload import LONG_TEXT, MANY_DRAFTS, is_large_change, is_large_draft, take_long

MANY_PARTS = {"x-kit": [0] * 100_000}


def test_many_long_and_richly_extended_drafts_take_long() -> None:
    plain = Draft("tea", "ann")
    assert not take_long([plain] * MANY_DRAFTS)
    assert take_long([plain] * (MANY_DRAFTS + 1))
    assert not take_long([plain] * (MANY_DRAFTS + 1), singly=True)
    assert take_long([plain, Draft("t" * (LONG_TEXT + 1), "ann")], singly=True)
    assert not is_large_draft(Draft("t" * LONG_TEXT, "ann", extensions={"x-a": 1}))
    assert is_large_draft(Draft("tea", "ann", extensions=MANY_PARTS))


def test_change_is_large_by_its_new_values() -> None:
    assert not is_large_change(Change({}))
    assert not is_large_change(Change({"content": "t" * LONG_TEXT, "extensions": {"x-a": 1}}))
    assert is_large_change(Change({"content": "t" * (LONG_TEXT + 1)}))
    for name in ("extensions", "metadata", "metadata_patch"):
        assert is_large_change(Change({name: MANY_PARTS}))
