"""Versions as what changed: a step back leads to exactly what was, and is small where the change is."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import MemoryRecord
from openmem._model.requests import Draft
from openmem._model.unchecked import stored_record
from openmem._rules.versions import size_of, step_back, step_to
from openmem.types import UTC, MemorySource

MOMENT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
long_texts = st.builds(lambda part, times, end: part * times + end, texts, st.integers(1, 40), texts)
times = st.none() | st.integers(-(10**15), 10**15).map(lambda n: MOMENT + timedelta(microseconds=n % 10**15))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | long_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
fields = st.fixed_dictionaries(
    {
        "content": long_texts,
        "scope": st.none() | st.sampled_from(["a", "a/b"]),
        "tags": st.none() | st.lists(texts, max_size=3),
        "source": st.none() | st.sampled_from([{}, {"app": "cli"}, {"type": "explicit", "ref": "r"}]),
        "confidence": st.none() | st.sampled_from([0.0, 0.5, 1.0]),
        "valid_from": times,
        "valid_to": times,
        "supersedes": st.none() | st.lists(texts, max_size=3),
        "key": st.none() | texts,
        "searchable": st.booleans(),
        "metadata": st.none() | st.dictionaries(st.sampled_from(["a", "b", "c"]), values, max_size=3),
    }
)
extensions = st.dictionaries(st.sampled_from(["x-a", "x-b", "x-c"]), values, max_size=3)


def record(given: dict[str, Any], extra: dict[str, Any], version: int, model: str | None) -> MemoryRecord:
    source = None if given["source"] is None else MemorySource.model_validate(given["source"])
    fixed = {"id": "m", "user_id": "ann", "created_at": MOMENT, "embedding_model": model, "version": version}
    updated = {"updated_at": MOMENT + timedelta(seconds=version) if version > 1 else None}
    return stored_record({**given, **fixed, **updated, "source": source}, extra)


def draft(given: dict[str, Any], extra: dict[str, Any]) -> Draft:
    frozen = {name: None if given[name] is None else tuple(given[name]) for name in ("tags", "supersedes")}
    return Draft(**{**given, **frozen}, user_id="ann", extensions=extra)


def as_json(one: MemoryRecord) -> str:
    return json.dumps(one.model_dump(mode="json"), sort_keys=True)


@given(old=fields, new=fields, old_extra=extensions, new_extra=extensions, version=st.integers(1, 3))
def test_step_back_leads_to_exactly_what_was(
    old: dict[str, Any], new: dict[str, Any], old_extra: dict[str, Any], new_extra: dict[str, Any], version: int
) -> None:
    before, after = record(old, old_extra, version, "one"), record(new, new_extra, version + 1, "two")
    step = json.loads(json.dumps(step_back(before, draft(new, new_extra))))
    back = step_to(after, version, step)
    assert as_json(back) == as_json(before)
    assert (back.model_extra, back.metadata) == (before.model_extra, before.metadata)
    assert as_json(MemoryRecord.model_validate_json(back.model_dump_json())) == as_json(before)


PLAIN: dict[str, Any] = dict.fromkeys(
    ("scope", "tags", "source", "confidence", "valid_from", "valid_to", "supersedes", "metadata")
) | {"searchable": True}


@pytest.mark.parametrize(
    "change",
    [
        {"tags": ["x"]},
        {"confidence": 0.5},
        {"content": "y" + "z" * 90_000},
        {"content": "z" * 45_000 + "y" + "z" * 45_000},
        {"content": "z" * 89_990},
        {"content": "z" * 90_000 + "y"},
        {"metadata": {"a": 2, "long": "z" * 60_000}},
        {"metadata": {"long": "z" * 60_000}},
    ],
)
def test_step_is_as_small_as_the_change(change: dict[str, Any]) -> None:
    given = {**PLAIN, "key": None, "content": "z" * 90_000, "metadata": {"a": 1, "long": "z" * 60_000}}
    before = record(given, {"x-a": "z" * 900_000, "x-b": ["z" * 9_000]}, 1, None)
    step = step_back(before, draft({**given, **change}, dict(before.model_extra or {})))
    assert len(json.dumps(step)) < 300
    assert size_of(before) > 1_059_000


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), ([1], [True]), ({"a": 1}, {"a": 1.0})])
def test_values_that_only_python_takes_for_equal_are_kept(one: Any, other: Any) -> None:
    given = {**PLAIN, "key": None, "content": "tea"}
    before, after = record(given, {"x-a": one}, 1, None), record(given, {"x-a": other}, 2, None)
    step = json.loads(json.dumps(step_back(before, draft(given, {"x-a": other}))))
    assert as_json(step_to(after, 1, step)) == as_json(before)


@pytest.mark.parametrize("kept", [{"x-a": 1, "metadata": {"a": 1}}, {"x-a": 1, "metadata": "text"}])
def test_step_that_an_older_version_made_of_a_field_called_metadata_is_read(kept: dict[str, Any]) -> None:
    after = record({**PLAIN, "key": None, "content": "tea", "metadata": {"a": 2}}, {"x-a": 1}, 2, None)
    back = step_to(after, 1, {"is": {}, "x": kept})
    shown = (
        ({"a": 1}, {"x-a": 1}) if isinstance(kept["metadata"], dict) else ({"a": 2}, {"x-a": 1, "x-metadata": "text"})
    )
    assert (back.metadata, back.model_extra) == shown
    assert step_to(after, 1, {"is": {}, "no": ["metadata"]}).metadata is None
