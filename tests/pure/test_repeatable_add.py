"""An `add` that was done before is known again, and answered with what the caller may see."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from openmem._model.access import Access
from openmem._model.requests import Draft
from openmem._model.scopes import parse_grant
from openmem._rules.repeatable_add import answer_again, made_at
from openmem._rules.writing import changed
from openmem.types import UTC, MemoryRecord

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def record(**fields: Any) -> MemoryRecord:
    given = {"id": "a", "content": "tea", "user_id": "ann", "created_at": NOW, **fields}
    return MemoryRecord.model_validate(given)


FULL = record(
    **{"scope": "s", "tags": ["x"], "source": {"app": "chat"}, "confidence": 0.5, "valid_from": NOW, "key": "k"},
    **{"valid_to": NOW + timedelta(days=1), "supersedes": ["o"], "x-a": 1, "x-b": 2},
)


def test_state_that_storing_a_draft_made_is_found_by_its_time_and_all_of_its_fields() -> None:
    draft = changed(FULL, {})
    made = FULL.model_copy(update={"updated_at": NOW, "id": "b", "version": 4})
    later = made.model_copy(update={"updated_at": NOW + timedelta(microseconds=1)})
    assert made_at([later, made], draft, NOW) is made
    assert made_at([later], draft, NOW) is None
    for name, value in {
        "content": "milk",
        "scope": None,
        "tags": ["y"],
        "source": None,
        "confidence": None,
        "valid_from": None,
        "valid_to": None,
        "supersedes": None,
        "key": None,
    }.items():
        assert made_at([made.model_copy(update={name: value})], draft, NOW) is None, name
    other = record(**{**FULL.model_dump(exclude_none=True), "updated_at": NOW, "x-a": 7})
    assert made_at([other], draft, NOW) is None


def test_lists_and_extensions_that_say_nothing_make_no_difference_to_what_was_made() -> None:
    made = record(updated_at=NOW, tags=[], supersedes=[], source={})
    draft = Draft("tea", "ann", extensions={"x-a": None})
    assert made_at([made], draft, NOW) is made


def test_add_that_was_done_is_answered_with_what_is_stored_as_far_as_that_may_be_seen() -> None:
    stored, first = record(scope="secret"), record(scope="s")
    reader = Access(None, (parse_grant("read:s/*"), parse_grant("write:*")))
    assert answer_again(None, stored, first) is stored
    assert answer_again(reader, stored, first) is first
    assert answer_again(reader, record(scope="s/t"), first).scope == "s/t"
