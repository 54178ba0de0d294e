"""Results of a search that surely fit are given as they are; only others are weighed one by one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from openmem._model.unchecked import search_result, stored_record
from openmem._rules.paging import PAGE_BYTES, Truncated, plain_results_of, results_of
from openmem.types import MemoryRecord, SearchResult

FIELDS = [name for name in MemoryRecord.model_fields if name != "status"]


def found(content: str, extensions: dict[str, Any] | None = None) -> SearchResult:
    fields: dict[str, Any] = dict.fromkeys(FIELDS)
    fields |= {"id": "m", "content": content, "user_id": "u", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return search_result(stored_record(fields, extensions), 1.0, None)


def test_small_results_are_what_weighing_gives() -> None:
    results = [found("tea"), found("coffee")]

    plain = plain_results_of(results)

    assert plain is not None
    assert (plain, plain.truncated) == (results_of(results), False)


def test_results_that_were_cut_stay_marked() -> None:
    plain = plain_results_of(Truncated([found("tea")]))

    assert plain is not None
    assert plain.truncated


def test_extensions_and_large_texts_are_weighed_one_by_one() -> None:
    large = [found("x" * (PAGE_BYTES // 2)) for _ in range(3)]

    assert plain_results_of([found("tea", {"x-note": "n"})]) is None
    assert plain_results_of(large) is None
    assert (len(results_of(large)), results_of(large).truncated) == (1, True)
