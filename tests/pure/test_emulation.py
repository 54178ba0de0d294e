"""The rules of the protocol over a service that only keeps texts and metadata: envelopes and views."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from openmem._emulation import metadata as envelope
from openmem._emulation.failures import error_of_status
from openmem._emulation.views import equal_of, shows, superseded_since, with_last_word
from openmem._model.requests import View
from openmem._model.scopes import parse_pattern
from openmem.errors import (
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    RateLimitedError,
    UnauthorizedError,
)
from openmem.types import UTC, MemoryRecord, MemorySource

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def record(id_: str = "a", **fields: Any) -> MemoryRecord:
    given: dict[str, Any] = {"content": "likes tea", "user_id": "ann", "created_at": NOW - 10 * DAY, **fields}
    return MemoryRecord(id=id_, **given)


def again(one: MemoryRecord, metadata: Any, **extra: Any) -> MemoryRecord:
    return envelope.unpack(
        "acme",
        metadata,
        handle="h-1",
        id="h-1",
        content=one.content,
        user_id=one.user_id,
        created_at=NOW,
        updated_at=NOW,
        **extra,
    ).record


TIMES = st.none() | st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    st.builds(
        MemoryRecord,
        id=st.text(min_size=1),
        content=st.text(min_size=1),
        user_id=st.just("ann"),
        created_at=st.datetimes(timezones=st.just(UTC)),
        scope=st.none() | st.text(min_size=1),
        tags=st.none() | st.lists(st.text(min_size=1)),
        source=st.none() | st.builds(MemorySource, app=st.none() | st.text(), ref=st.none() | st.text()),
        confidence=st.none() | st.floats(0, 1),
        valid_from=TIMES,
        valid_to=TIMES,
        supersedes=st.none() | st.lists(st.text(min_size=1)),
        updated_at=TIMES,
        version=st.integers(1, 10**6),
        key=st.none() | st.text(min_size=1),
        **{"x-kit": JSON, "x-acme": st.dictionaries(st.text(), JSON), "later": JSON, "": JSON},
    )
)
def test_record_survives_metadata_field_for_field(one: MemoryRecord) -> None:
    for packed in (envelope.pack(one, outdated=False), envelope.pack_new(one, outdated=False)):
        assert again(one, json.loads(json.dumps(packed))).model_dump() == one.model_dump()


def test_metadata_is_flat_and_holds_no_null() -> None:
    full = record(tags=["a"], scope="x/y", key="k", supersedes=["b"], confidence=0.5, source={"app": "chat"})
    for metadata in (envelope.pack(full, outdated=True), envelope.pack(record(), outdated=False)):
        for value in metadata.values():
            parts = value if isinstance(value, list) else [value]
            assert {type(part) for part in parts} <= ({str} if isinstance(value, list) else {str, bool})
        assert set(metadata) == envelope.OWN - {envelope.TRACE}
    assert envelope.pack(record(), outdated=False).keys() == envelope.pack(full, outdated=True).keys()


def test_new_memory_carries_nothing_that_is_empty() -> None:
    assert envelope.pack_new(record(""), outdated=False).keys() == {"omp"}
    full = record(tags=["a"], scope="x/y", key="k", supersedes=["b"])
    assert envelope.pack_new(full, outdated=True) == envelope.pack(full, outdated=True)


def test_mirrors_hold_what_is_filtered_by() -> None:
    metadata = envelope.pack(record(scope="x", key="k", supersedes=["b"]), outdated=True)
    assert [metadata[name] for name in envelope.FILTER_FIELDS] == ["a", "k", "x", True, True]


@pytest.mark.parametrize("metadata", [None, {}, {"omp": "{"}, {"omp": "[]"}, {"omp": 7}, {"omp": '{"v": 99}'}])
def test_metadata_of_another_program_are_read_as_they_stand(metadata: Any) -> None:
    got = again(record(), metadata, extras={"agent": "scout", "none": None, "empty": []})
    assert (got.id, got.created_at, got.updated_at, got.version) == ("h-1", NOW, NOW, 1)
    assert (got.model_extra or {})["x-acme"] == {"agent": "scout"}


def test_metadata_of_others_is_shown() -> None:
    metadata = {**envelope.pack(record(), outdated=False), "mood": "calm"}
    assert (again(record(), metadata).model_extra or {}) == {"x-acme": {"metadata": {"mood": "calm"}}}


def test_facts_are_kept_and_shown() -> None:
    metadata = envelope.pack(record(""), outdated=False, content_rewritten=True)
    got = again(record(), metadata)
    assert got.id == "h-1"
    assert got.model_extra == {"x-acme": {"content_rewritten": True}}


LATER = ("metadata", "searchable")


@pytest.mark.parametrize(("kept", "shown"), [({"a": 1}, ({"a": 1}, {})), ("text", (None, {"x-metadata": "text"}))])
def test_own_field_that_an_older_version_kept_as_metadata_is_read(kept: Any, shown: tuple[Any, Any]) -> None:
    metadata: dict[str, Any] = envelope.pack(record(), outdated=False)
    got = again(record(), metadata | {"omp": json.dumps(json.loads(metadata["omp"]) | {"x": {"metadata": kept}})})
    assert (got.metadata, got.model_extra) == shown


@pytest.mark.parametrize(
    "spoilt",
    [
        *({name: value} for name in ("x", "facts") for value in (7, "ab", True, [["later", 1]], [])),
        *({"x": {name: "b"}} for name in MemoryRecord.model_fields if name not in LATER),
        {"metadata": []},
        {"searchable": "no"},
        {"metadata": {"a": 1e999}},
        {"x": {"later": 1e999}},
        {"source": {"page": 1e999}},
        {"source": []},
        {"source": None},
        {"tags": "a"},
        {"version": "1"},
        {"version": 0},
        {"created_at": 7},
        {"valid_to": "soon"},
    ],
)
def test_envelope_with_a_value_of_another_kind_is_refused(spoilt: dict[str, Any]) -> None:
    metadata: dict[str, Any] = envelope.pack(record(), outdated=False)
    text = json.dumps(json.loads(metadata["omp"]) | spoilt).replace("Infinity", "1e999")
    with pytest.raises(ProviderError, match="acme holds a memory that cannot be read"):
        again(record(), metadata | {"omp": text})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01T14:00:00.123456+02:00", NOW),
        ("2026-05-01T12:00:00.123456", NOW),
        ("2026-05-01T12:00:00.123456Z", NOW),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_of_a_service_are_read(text: Any, expected: datetime | None) -> None:
    assert envelope.moment_of(text) == expected


@pytest.mark.parametrize(
    ("fields", "view", "expected"),
    [
        ({}, {}, True),
        ({"user_id": "bob"}, {}, False),
        ({"scope": "a/b"}, {"scope": parse_pattern("a/*")}, True),
        ({"scope": "ab"}, {"scope": parse_pattern("a/*")}, False),
        ({}, {"scope": parse_pattern("*")}, True),
        ({}, {"scope": parse_pattern("a")}, False),
        ({"tags": ["x", "y"]}, {"tags": ("x",)}, True),
        ({"tags": ["x"]}, {"tags": ("x", "y")}, False),
        ({"tags": None}, {"tags": ("x",)}, False),
        ({"valid_to": NOW}, {}, False),
        ({"valid_to": NOW + DAY}, {}, True),
        ({"valid_from": NOW}, {}, True),
        ({"valid_from": NOW + DAY}, {}, False),
        ({"valid_from": NOW + DAY}, {"include_expired": True}, True),
        ({"valid_from": NOW + DAY}, {"as_of": NOW + 2 * DAY}, True),
        ({}, {"as_of": NOW - 11 * DAY}, False),
        ({"valid_from": NOW - 20 * DAY}, {"as_of": NOW - 11 * DAY}, True),
        ({"valid_from": NOW + DAY}, {"as_of": NOW, "include_expired": True}, False),
    ],
)
def test_view_shows_what_it_should(fields: dict[str, Any], view: dict[str, Any], expected: bool) -> None:
    assert shows(View("ann", **view), record(**fields), NOW, {}) is expected


def test_superseded_memory_is_hidden_from_the_begin_of_what_names_it() -> None:
    newer = record("b", supersedes=["a", "b", "gone"], valid_from=NOW + DAY)
    later = record("c", supersedes=["a"], valid_from=NOW + 5 * DAY)
    since = superseded_since([newer, later, record("d")])
    assert since == {"a": (NOW + DAY, False), "gone": (NOW + DAY, False)}
    view, late = View("ann"), View("ann", as_of=NOW + DAY)
    assert shows(view, record(), NOW, since)
    assert not shows(late, record(), NOW, since)
    assert shows(View("ann", as_of=NOW + DAY, include_superseded=True), record(), NOW, since)


def test_superseding_memory_hides_another_whatever_the_clock_of_its_writer_said() -> None:
    since = superseded_since([record("b", supersedes=["a"], created_at=NOW + DAY)])
    assert not shows(View("ann"), record(), NOW, since)
    assert shows(View("ann", as_of=NOW), record(created_at=NOW - DAY), NOW, since)


def test_memory_that_closes_a_circle_is_written_last_whatever_its_clock_says() -> None:
    ahead = record("b", supersedes=["a"], created_at=NOW + DAY)
    changed = with_last_word(record("a", supersedes=["b"], updated_at=NOW), [ahead, record("c", supersedes=["b"])])
    assert (changed.updated_at or NOW) > ahead.created_at
    assert set(superseded_since([ahead, changed])) == {"b"}


def test_only_an_exact_scope_is_sent_along() -> None:
    assert equal_of(parse_pattern("a/b")) == {"omp_scope": "a/b"}
    assert equal_of(parse_pattern("a/*")) == equal_of(parse_pattern("*")) == equal_of(None) == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, UnauthorizedError), (404, NotFoundError), (422, InvalidRequestError), (429, RateLimitedError)],
)
def test_status_has_its_error(status: int, kind: type[OMPError]) -> None:
    error = error_of_status("acme", status, 3.0)
    assert type(error) is kind
    assert (error.provider, error.retry_after, error.details) == ("acme", 3.0, {"status": status})


@pytest.mark.parametrize("outdated", [True, False])
def test_mark_of_an_outdated_memory_comes_back(outdated: bool) -> None:
    metadata = envelope.pack(record(), outdated=outdated)
    entry = envelope.unpack(
        "acme", metadata, handle="h", id="h", content="tea", user_id="ann", created_at=NOW, updated_at=None
    )
    assert (entry.handle, entry.outdated) == ("h", outdated)


def test_times_come_back_in_utc() -> None:
    there = timezone(timedelta(hours=5))
    full = record(valid_from=NOW.astimezone(there), valid_to=NOW + DAY)
    got = again(full, envelope.pack(full, outdated=False))
    assert [time.tzinfo for time in (got.created_at, got.valid_from, got.valid_to) if time] == [UTC] * 3
    moment = envelope.moment_of("2026-05-01T14:00:00+02:00")
    assert moment is not None
    assert moment.tzinfo is UTC
