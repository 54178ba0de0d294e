"""The portable form of memories: versioned JSON Lines, one record a line after a header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from openmem._model.checks import check_id, check_size, check_time, check_version
from openmem._model.requests import Draft
from openmem._model.strict_json import BYTE_ORDER_MARK, JsonError, load_json
from openmem._rules.drafting import make_draft
from openmem.errors import InvalidRequestError
from openmem.types import MemoryInput, MemoryRecord

FORMAT: Final = "omp-export"
VERSION: Final = 1
MAX_LINE: Final = 10_000_000

_FIELDS: Final = frozenset(MemoryRecord.model_fields)
_CALLERS: Final = tuple(name for name in MemoryInput.model_fields if name in _FIELDS)
_REQUIRED: Final = ("id", "content", "user_id", "created_at")
# JSON allows these inside strings, but many readers end a line at them.
_LINE_ENDS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def header_line(now: datetime, provider: str, user_id: str | None) -> str:
    """Return the first line of an export.

    Args:
        now: The time of the export, timezone-aware.
        provider: Where the memories come from.
        user_id: Whose memories follow, or `None` for all users.
    """
    header = {"format": FORMAT, "version": VERSION, "exported_at": now.isoformat(), "provider": provider}
    return _dump(header if user_id is None else header | {"user_id": user_id})


def record_line(record: MemoryRecord) -> str:
    """Return the line of one memory: every field that has a value, and every field of the caller's own."""
    return memory_line(memory_of(record))


def memory_of(record: MemoryRecord) -> dict[str, Any]:
    """Return what the line of a memory holds of it."""
    fields = record.model_dump(mode="json", include=set(_FIELDS), exclude_none=True)
    return fields | (record.model_extra or {})


def read_memory(text: str) -> dict[str, Any] | None:
    """Return the memory of a line as it is written there, unchecked, or `None` for a header."""
    memory = json.loads(text).get("memory")
    return memory if isinstance(memory, dict) else None


def memory_line(memory: Mapping[str, Any]) -> str:
    """Return the line of a memory that `read_memory` returned."""
    return _dump({"memory": memory})


def parse_lines(lines: Sequence[object], start: int) -> list[Draft]:
    """Return the memories that lines hold, fully checked; headers and blank lines hold none.

    Args:
        lines: The lines, as `parse_line` takes them.
        start: The number of the first one.
    """
    parsed = (parse_line(line, number) for number, line in enumerate(lines, start))
    return [draft for draft in parsed if draft is not None]


def parse_line(text: object, number: int) -> Draft | None:
    """Return the memory that a line holds, fully checked, or `None` for a header or a blank line.

    Args:
        text: The line, with or without its line end.
        number: The number of the line, from 1, for the error.

    Raises:
        InvalidRequestError: The line is no record or breaks the contract. The message starts with `line 12:`
            and `details["line"]` holds the number.
    """
    try:
        if not isinstance(text, str):
            raise InvalidRequestError(f"must be text, not {type(text).__name__}")
        if number == 1:  # editors put one at the beginning of a file
            text = text.removeprefix(BYTE_ORDER_MARK)
        if not text or text.isspace():
            return None
        line = _load(text)
        if "format" in line:
            check_header(line)
            return None
        return _draft_of(line)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"line {number}: {error.message}", details={"line": number}) from None


def check_header(header: Mapping[str, object]) -> None:
    """Check that an export can be read.

    Args:
        header: The object of a header line.

    Raises:
        InvalidRequestError: It is another format, or a newer version than this one.
    """
    if header.get("format") != FORMAT:
        raise InvalidRequestError(f"the format must be {FORMAT}")
    version = _whole(header.get("version"))
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRequestError("the version of the export must be a whole number from 1")
    if version > VERSION:
        raise InvalidRequestError(f"the export has version {version}, newer than {VERSION}: upgrade openmem to read it")


def _draft_of(line: Mapping[str, Any]) -> Draft:
    record = line.get("memory")
    if not isinstance(record, dict):
        raise InvalidRequestError('must be a header or an object such as {"memory": {…}}')
    for name in _REQUIRED:
        if record.get(name) is None:
            raise InvalidRequestError(f"memory.{name} is missing")
    draft = make_draft(
        **{name: record[name] for name in _CALLERS if record.get(name) is not None},
        members={name: value for name, value in record.items() if name not in _FIELDS},
    )
    return replace(
        draft,
        id=check_size(check_id(record["id"]), "id"),
        created_at=check_time(record["created_at"], "created_at"),
        updated_at=check_time(record.get("updated_at"), "updated_at"),
        version=1 if record.get("version") is None else check_version(_whole(record["version"]), "version"),
    )


def _load(text: str) -> dict[str, Any]:
    if len(text) > MAX_LINE:
        raise InvalidRequestError(f"must have at most {MAX_LINE} characters, not {len(text)}")
    try:
        value = load_json(text)
    except JsonError as error:
        raise InvalidRequestError(str(error)) from None
    if not isinstance(value, dict):
        raise InvalidRequestError('must be a header or an object such as {"memory": {…}}')
    return value


def _whole(value: object) -> object:
    """Return 1 for 1.0, which is the same number to JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_LINE_ENDS)
