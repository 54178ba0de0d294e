"""The models keep what they do not know and bring every time to UTC."""

from __future__ import annotations

import json
import pickle
import signal
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from openmem import types
from openmem._model.unchecked import search_result, stored_record
from openmem.types import (
    UNSET,
    UTC,
    AuditEntry,
    Capabilities,
    ContextBlock,
    ErasureReceipt,
    Memory,
    MemoryInput,
    MemoryPage,
    MemoryRecord,
    MemorySource,
    MemoryUpdate,
    SearchResult,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
RECORD: dict[str, Any] = {"id": "m1", "content": "text", "user_id": "u", "created_at": NOON}

SPECIFIED_FIELDS = {
    Memory: "id content user_id created_at scope tags source confidence valid_from valid_to supersedes "
    "embedding_model updated_at status",
    MemorySource: "app type ref",
    SearchResult: "memory score",
    MemoryPage: "items next_cursor",
    ContextBlock: "text citations token_count",
    Capabilities: "omp_version provider verbs features limits",
    types.CapabilityFeatures: "vector_search keyword_search graph_queries temporal scopes max_content_length "
    "supports_e2e supports_audit supports_supersession",
    types.CapabilityLimits: "rate_limit_per_minute max_search_results",
    AuditEntry: "timestamp app action memory_id scope request_id",
    types.Citation: "memory_id score",
}


@pytest.mark.parametrize("model", SPECIFIED_FIELDS, ids=lambda model: model.__name__)
def test_model_has_every_field_of_the_specification(model: type[BaseModel]) -> None:
    assert set(SPECIFIED_FIELDS[model].split()) <= set(model.model_fields)


def test_record_is_the_same_model_under_two_names() -> None:
    assert MemoryRecord is Memory


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Memory, RECORD),
        (MemoryInput, {"content": "text", "user_id": "u"}),
        (MemoryUpdate, {}),
        (MemorySource, {}),
        (MemoryPage, {"items": []}),
        (AuditEntry, {}),
        (Capabilities, {"omp_version": "0.1", "provider": "p", "verbs": [], "features": {}}),
    ],
)
def test_unknown_fields_survive_a_round_trip(model: type[BaseModel], fields: dict[str, Any]) -> None:
    extra = {"x-mem0": {"graph": [1, None]}, "later": "yes"}
    once = model.model_validate(fields | extra)
    again = model.model_validate_json(once.model_dump_json())
    assert again.model_extra == once.model_extra == extra
    assert pickle.loads(pickle.dumps(once)) == once


@pytest.mark.parametrize("name", ["created_at", "updated_at", "valid_from", "valid_to"])
def test_time_is_brought_to_utc(name: str) -> None:
    moment = NOON.astimezone(timezone(timedelta(hours=-7)))
    record = Memory.model_validate(RECORD | {name: moment})
    assert getattr(record, name) == NOON
    assert getattr(record, name).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"created_at": datetime(2026, 1, 31)},
        {"valid_to": "2026-01-31T12:00:00"},
        {"confidence": 1.1},
        {"confidence": -0.1},
        {"confidence": float("nan")},
        {"status": "lost"},
        {"source": {"type": "guessed"}},
        {"content": None},
    ],
)
def test_wrong_field_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Memory.model_validate(RECORD | wrong)


def test_update_tells_absent_from_cleared() -> None:
    assert MemoryUpdate.model_validate({"scope": None}).model_fields_set == {"scope"}


def test_unset_is_one_object_even_after_pickling() -> None:
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert repr(UNSET) == "UNSET"


@pytest.mark.parametrize(
    ("left", "complete"), [({}, True), ({"memories": 0}, True), ({"memories": 0, "fts": 1}, False)]
)
def test_receipt_is_complete_when_nothing_remains(left: dict[str, int], complete: bool) -> None:
    receipt = ErasureReceipt(user_id="u", erased_at=NOON, erased={"memories": 3}, remaining=left)
    assert receipt.complete is complete


def test_a_stored_record_equals_the_one_that_pydantic_builds() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    fields: dict[str, Any] = dict.fromkeys(set(MemoryRecord.model_fields) - {"status"})
    fields |= {"id": "m", "content": "tea", "user_id": "ann", "created_at": now, "version": 2, "tags": ["a"]}
    built = MemoryRecord.model_construct(**fields | {"x-acme": {"a": 1}})
    record = stored_record(dict(fields), {"x-acme": {"a": 1}})
    assert record == built
    assert record.model_dump() == built.model_dump()
    assert json.loads(record.model_dump_json(exclude_none=True)) == json.loads(built.model_dump_json(exclude_none=True))
    assert record.model_copy(deep=True) == built
    assert pickle.loads(pickle.dumps(record)) == built
    assert record.model_extra == {"x-acme": {"a": 1}}


def test_a_search_result_equals_the_one_that_pydantic_builds() -> None:
    memory = MemoryRecord(id="m", content="tea", user_id="ann", created_at=datetime(2026, 1, 2, tzinfo=UTC))
    for explain in (None, {"mode": "vector"}):
        built = SearchResult.model_construct(memory=memory, score=0.5, explain=explain)
        result = search_result(memory, 0.5, explain)
        assert result == built
        assert result.model_dump() == built.model_dump()
        assert result.model_fields_set == built.model_fields_set
        assert pickle.loads(pickle.dumps(result)) == built


@pytest.mark.parametrize(
    "own", [None, 7, [], {}, {"verbs": None}, {"verbs": "dream"}, {"verbs": [{}, 7, ["a"], "dream"]}]
)
def test_verbs_beyond_the_protocol_are_sorted_out_whatever_stands_beside_them(own: Any) -> None:
    said = {"omp_version": "0.1", "provider": "p", "features": {}, "x-openmem": own}
    able = Capabilities.model_validate({**said, "verbs": ["history", "add", "export", "history"]})
    assert able.verbs == ["add"]
    assert {"add", "history", "export"} <= set(able.all_verbs) <= {"add", "history", "export", "dream"}
    assert set(Capabilities.model_validate({**said, "verbs": ["add"]}).all_verbs) <= {"add", "dream"}
    assert Capabilities.model_validate_json(able.model_dump_json()) == able


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"arguments": ["where", "by_key"]}, ["where", "by_key"]),
        *[({"arguments": ["where", 7, None]}, ["where"]), ({"arguments": "where"}, []), ({}, []), (None, []), (7, [])],
    ],
)
def test_arguments_that_came_later_are_those_that_are_listed(own: Any, expected: list[str]) -> None:
    said = {"omp_version": "0.1", "provider": "p", "verbs": ["add"], "features": {}, "arguments": ["junk"]}
    able = Capabilities.model_validate({**said, "x-openmem": own})
    assert able.arguments == expected
    assert Capabilities.model_validate_json(able.model_dump_json()) == able


@pytest.mark.parametrize("verbs", [None, "add", [1], [["add"]], [None], {"add": 1}])
def test_verbs_that_are_no_list_of_texts_are_refused(verbs: Any) -> None:
    said = {"omp_version": "0.1", "provider": "p", "features": {}, "x-openmem": {"verbs": [{}]}}
    with pytest.raises(ValidationError):
        Capabilities.model_validate({**said, "verbs": verbs})


def dump_until_interrupted(dump: Callable[..., Any]) -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)
    while True:
        dump(exclude_none=True)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timer")
def test_interrupt_passes_through_serialization() -> None:
    """Pydantic turns what ends a serializer into a ValueError: a Ctrl-C must come out as what it is."""
    record = MemoryRecord.model_validate({**RECORD, "source": {"app": "cli"}, "x-a": None})

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        for dump in (record.model_dump, record.model_dump_json) * 50:
            with pytest.raises(KeyboardInterrupt):
                dump_until_interrupted(dump)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
