"""Records that are made without a check equal those that are checked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from openmem._model.unchecked import record_of_values, search_result, stored_record, whole_record
from openmem.types import MemoryRecord, SearchResult

NOW = datetime(2026, 5, 1, tzinfo=UTC)
FIELDS: dict[str, Any] = {
    "id": "a",
    "content": "tea",
    "user_id": "ann",
    "created_at": NOW,
    "scope": "s",
    "tags": ["x"],
    "source": {"app": "chat"},
    "confidence": 0.5,
    "valid_from": NOW - timedelta(days=1),
    "valid_to": NOW + timedelta(days=1),
    "supersedes": ["o"],
    "embedding_model": "mini",
    "updated_at": NOW + timedelta(hours=1),
    "version": 3,
    "key": "k",
}
EXTENSIONS = {"x-a": 1}
METADATA = {"lang": "py"}
made: Any = record_of_values  # by position


def test_record_of_values_is_the_one_that_is_checked() -> None:
    record = made(*FIELDS.values(), EXTENSIONS, METADATA)
    given = {"status": None, "metadata": METADATA, "searchable": True}
    checked = MemoryRecord.model_validate({**FIELDS, **EXTENSIONS, **given})
    assert record == checked
    assert record.model_dump() == checked.model_dump()
    assert record.model_fields_set | set(EXTENSIONS) == checked.model_fields_set
    assert record.model_copy(update={"key": "q"}).key == "q"


def test_record_without_extensions_and_source_has_none() -> None:
    empty: tuple[dict[str, Any] | None, ...] = (None, {})
    for none in empty:
        record = made(*{**FIELDS, "source": None}.values(), none)
        assert (record.model_extra, record.source, record.status) == ({}, None, None)


def test_stored_record_shares_no_extensions_with_what_it_is_made_of() -> None:
    record = stored_record({**FIELDS, "source": None}, EXTENSIONS)
    assert record.model_extra == EXTENSIONS
    assert record.model_extra is not EXTENSIONS


def test_field_of_an_older_version_called_metadata_becomes_what_it_is() -> None:
    record = made(*FIELDS.values(), {"x-a": 1, "metadata": METADATA})
    assert (record.metadata, record.model_extra) == (METADATA, EXTENSIONS)
    record = made(*FIELDS.values(), {"x-a": 1, "metadata": 7}, METADATA)
    assert (record.metadata, record.model_extra) == (METADATA, {"x-a": 1, "x-metadata": 7})
    assert json.loads(record.model_dump_json(exclude_none=True))["metadata"] == METADATA


def test_whole_version_of_an_older_version_is_read() -> None:
    whole = {**FIELDS, "created_at": NOW.isoformat(), "metadata": "text"}
    assert (whole_record(whole).metadata, whole_record(whole).model_extra) == (None, {"x-metadata": "text"})
    assert whole_record({**whole, "metadata": METADATA}).metadata == METADATA


def test_search_result_equals_one_that_is_checked() -> None:
    memory = made(*FIELDS.values(), None)
    explain = {"mode": "hybrid"}
    result = search_result(memory, 0.5, explain)
    assert result == SearchResult(memory=memory, score=0.5, explain=explain)
    assert result.model_dump_json(exclude_none=True) == SearchResult(
        memory=memory, score=0.5, explain=explain
    ).model_dump_json(exclude_none=True)
