"""The portable form keeps every field, and refuses what is not its own."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem._model.requests import Draft
from openmem._protocol.export_format import MAX_LINE, check_header, header_line, parse_line, record_line
from openmem.errors import InvalidRequestError
from openmem.types import UTC, Memory

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=30).filter(
    lambda text: not text.isspace()
)
TIME = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28), timezones=st.just(UTC))
RECORD: dict[str, Any] = {"id": "m1", "content": "text", "user_id": "u", "created_at": "2026-01-31T12:00:00Z"}


def line_of(**changes: object) -> str:
    return json.dumps({"memory": RECORD | changes})


def parsed(line: str) -> Draft:
    draft = parse_line(line, 1)
    assert draft is not None
    return draft


def refused(line: object, number: int = 12) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parse_line(line, number)
    prefix = f"line {number}: "
    assert caught.value.message.startswith(prefix)
    assert caught.value.details == {"line": number}
    return caught.value.message.removeprefix(prefix)


@given(
    content=TEXT,
    scope=st.none() | st.just("a/b"),
    tags=st.none() | st.lists(TEXT, unique=True, max_size=3),
    confidence=st.none() | st.floats(0, 1),
    times=st.lists(TIME, min_size=4, max_size=4, unique=True).map(sorted),
    version=st.integers(1, 1000),
    key=st.none() | TEXT,
    extension=st.dictionaries(TEXT, st.none() | TEXT | st.integers(), max_size=2),
)
def test_record_comes_back_as_it_was(
    content: str,
    scope: str | None,
    tags: list[str] | None,
    confidence: float | None,
    times: list[datetime],
    version: int,
    key: str | None,
    extension: dict[str, Any],
) -> None:
    record = Memory.model_validate(
        {
            "id": "mem_1",
            "content": content,
            "user_id": "u",
            "created_at": times[0],
            "updated_at": times[3],
            "scope": scope,
            "tags": tags,
            "source": {"app": "cursor", "x-page": 3},
            "confidence": confidence,
            "valid_from": times[1],
            "valid_to": times[2],
            "supersedes": ["m0"],
            "version": version,
            "key": key,
            "status": "done",
            "embedding_model": "some-model",
            "x-mem0": extension,
        }
    )
    line = record_line(record)
    assert len(line.splitlines()) == 1
    assert parsed(line) == Draft(
        content=content,
        user_id="u",
        scope=scope,
        tags=None if tags is None else tuple(tags),
        source={"app": "cursor", "x-page": 3},
        confidence=confidence,
        valid_from=times[1],
        valid_to=times[2],
        supersedes=("m0",),
        key=key,
        extensions={"x-mem0": extension},
        id="mem_1",
        created_at=times[0],
        updated_at=times[3],
        version=version,
    )


def test_smallest_record_comes_back_as_it_was() -> None:
    draft = parsed(record_line(Memory(id="m1", content="text", user_id="u", created_at=NOON)))
    assert draft == Draft("text", "u", id="m1", created_at=NOON)


def test_line_has_every_field_with_a_value_and_those_of_the_caller() -> None:
    record = Memory.model_validate(RECORD | {"x-a": None, "later": 1, "status": "done", "embedding_model": "m"})
    fields = json.loads(record_line(record))["memory"]
    assert fields == RECORD | {"version": 1, "status": "done", "embedding_model": "m", "x-a": None, "later": 1}


def test_line_holds_letters_as_they_are_and_no_end_of_a_line() -> None:
    line = record_line(Memory(id="m1", content="Käse\u2028日本", user_id="u", created_at=NOON))
    expected = (
        '{"id":"m1","content":"Käse\\u2028日本","user_id":"u","created_at":"2026-01-31T12:00:00.123456Z","version":1}'
    )
    assert line == f'{{"memory":{expected}}}'


def test_header_says_what_the_export_is() -> None:
    now = NOON.astimezone(timezone(timedelta(hours=2)))
    header = json.loads(header_line(now, "sqlite", "u"))
    assert header == {
        "format": "omp-export",
        "version": 1,
        "exported_at": "2026-01-31T14:00:00.123456+02:00",
        "provider": "sqlite",
        "user_id": "u",
    }
    assert "user_id" not in json.loads(header_line(now, "sqlite", None))


@pytest.mark.parametrize("line", [header_line(NOON, "sqlite", "u"), header_line(NOON, "x", None), "", "\n", " \t\r\n"])
def test_header_and_blank_lines_hold_no_memory(line: str) -> None:
    assert parse_line(line, 1) is None


def test_newer_version_is_refused_with_advice() -> None:
    assert "newer than 1: upgrade openmem" in refused('{"format": "omp-export", "version": 2}', 1)


@pytest.mark.parametrize("version", [None, 0, -1, "1", 1.5, True])
def test_header_without_a_good_version_is_refused(version: object) -> None:
    assert "version" in refused(json.dumps({"format": "omp-export", "version": version}), 1)
    with pytest.raises(InvalidRequestError, match="version"):
        check_header({"format": "omp-export", "version": version})


def test_header_of_another_format_is_refused() -> None:
    assert "omp-export" in refused('{"format": "other", "version": 1}', 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON"),
        ("text", "is not JSON"),
        ('{"memory": {"confidence": NaN}}', "is not JSON"),
        ('{"memory": {"confidence": -Infinity}}', "is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ("[]", "must be a header or an object"),
        ("5", "must be a header or an object"),
        ("null", "must be a header or an object"),
        ("{}", "must be a header or an object"),
        ('{"memory": []}', "must be a header or an object"),
        (json.dumps(RECORD), "must be a header or an object"),
        (b"{}", "must be text"),
        (None, "must be text"),
        ({"memory": RECORD}, "must be text"),
        (" " * MAX_LINE + "{}", "must have at most 10000000"),
    ],
)
def test_line_that_is_no_record_is_refused_by_number(line: object, reason: str) -> None:
    assert refused(line).startswith(reason)


@pytest.mark.parametrize("name", ["id", "content", "user_id", "created_at"])
def test_record_without_a_required_field_is_refused(name: str) -> None:
    assert refused(line_of(**{name: None})) == f"memory.{name} is missing"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ""),
        ("id", 5),
        ("content", " "),
        ("content", "x" * 100_001),
        ("content", "\ud800"),
        ("content", "a\x00"),
        ("user_id", "*"),
        ("scope", "a/*"),
        ("tags", "abc"),
        ("tags", ["a"] * 101),
        ("source", "cursor"),
        ("source", {"type": "guess"}),
        ("confidence", 1.5),
        ("confidence", "0.5"),
        ("confidence", 1e400),
        ("valid_from", "2026-01-31"),
        ("valid_to", 5),
        ("supersedes", [1]),
        ("key", ""),
        ("created_at", "2026-01-31T12:00:00"),
        ("created_at", 1700000000),
        ("updated_at", "now"),
        ("version", 0),
        ("version", "1"),
        ("version", True),
        ("version", 2**40),
        ("scoope", 1),
    ],
)
def test_record_that_breaks_the_contract_is_refused_by_field(name: str, value: object) -> None:
    line = line_of(**{name: value}).replace("Infinity", "1e400")
    assert re.search(rf"\b{name}\b", refused(line))


@given(st.text())
def test_any_text_is_blank_or_refused(text: str) -> None:
    if text.isspace() or not text:
        assert parse_line(text, 12) is None
    else:
        refused(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(list(RECORD)),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["memory", *Memory.model_fields, "x-a"]), inner)
        ),
        max_leaves=10,
    )
)
def test_any_json_is_a_good_record_or_refused(value: object) -> None:
    for line in (
        json.dumps(value),
        json.dumps({"memory": RECORD | value}) if isinstance(value, dict) else "x",
    ):
        with suppress(InvalidRequestError):
            draft = parse_line(line, 12)
            assert draft is not None
            assert draft.created_at is not None
