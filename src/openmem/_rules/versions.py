"""Earlier versions as what changed: how to make the older state of a memory out of the newer one.

Why so: a change of a few bytes would else keep the whole memory again, and who may change one could fill the disk. A
version is kept whole where that takes less room than all steps back since the last whole one: so the steps to any
version are never more than the memory itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from openmem._model.requests import Draft
from openmem._model.unchecked import stored_record
from openmem._rules.metadata import same_json
from openmem.types import UTC, MemoryRecord, MemorySource

_TIMES: Final = frozenset(("updated_at", "valid_from", "valid_to"))
_LONG: Final = 64  # characters from which on a text may be kept as the part of it that differs
FIXED: Final = 200  # about what the names of a record take


def step_back(old: MemoryRecord, draft: Draft) -> dict[str, Any]:
    """Return what makes a stored memory out of what a draft replaces it by.

    It is an object for JSON: `is` are fields and their earlier values, `cut` is a text of which all but the middle is
    that of the newer one, `x` and `no` are extensions that were other or missing, `m` and `m-no` members of metadata.
    """
    newer: dict[str, Any] = {
        "scope": draft.scope,
        "tags": None if draft.tags is None else list(draft.tags),
        "source": draft.source,
        "confidence": draft.confidence,
        "valid_from": draft.valid_from,
        "valid_to": draft.valid_to,
        "supersedes": None if draft.supersedes is None else list(draft.supersedes),
        "searchable": draft.searchable,
    }
    older = vars(old)
    changed = {name: older[name] for name, value in newer.items() if name != "source" and older[name] != value}
    source = None if old.source is None else old.source.model_dump(exclude_none=True)
    if source != draft.source:
        changed["source"] = source
    # These change without a new version, too: a key that an import takes away, a model that `reembed` moves to.
    changed |= {"updated_at": old.updated_at, "key": old.key, "embedding_model": old.embedding_model}
    step: dict[str, Any] = {"is": {name: _plain(value) for name, value in changed.items()}}
    if old.content != draft.content:
        part = _cut(old.content, draft.content)
        if part is None:
            step["is"]["content"] = old.content
        else:
            step["cut"] = part
    if old.metadata is not None or draft.metadata is not None:
        if old.metadata is None or draft.metadata is None:
            step["is"]["metadata"] = old.metadata
        else:
            _step_members(step, old.metadata, draft.metadata, ("m", "m-no"))
    extensions = old.model_extra or {}
    if extensions or draft.extensions:
        _step_members(step, extensions, draft.extensions, ("x", "no"))
    return step


def step_to(newer: MemoryRecord, version: int, step: Mapping[str, Any]) -> MemoryRecord:
    """Return the older state of a memory that a step back from the newer one leads to."""
    fields = {**vars(newer), "version": version}
    for name, value in step["is"].items():
        if value is not None and name in _TIMES:
            value = datetime.fromisoformat(value).astimezone(UTC)
        elif value is not None and name == "source":
            value = MemorySource.model_validate(value)
        fields[name] = value
    if "cut" in step:
        before, middle, after = step["cut"]
        fields["content"] = newer.content[:before] + middle + newer.content[len(newer.content) - after :]
    if "m" in step or "m-no" in step:
        fields["metadata"] = _older_members(fields["metadata"], step, ("m", "m-no"))
    if "metadata" in step.get("no", ()):  # of an older version of this code, which kept it there
        fields["metadata"] = None
    return stored_record(fields, _older_members(newer.model_extra, step, ("x", "no")))


def size_of(record: MemoryRecord) -> int:
    """Return about how many characters a record takes as JSON, at once where its extensions are texts."""
    size = FIXED + len(record.content)
    if record.metadata:
        size += len(json.dumps(record.metadata, ensure_ascii=False))
    extra = record.model_extra
    if not extra:
        return size
    for name, value in extra.items():
        size += len(name) + (len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False)))
    return size


def _step_members(
    step: dict[str, Any], older: Mapping[str, Any], newer: Mapping[str, Any], names: tuple[str, str]
) -> None:
    other = {name: value for name, value in older.items() if name not in newer or not same_json(value, newer[name])}
    if other:
        step[names[0]] = other
    missing = [name for name in newer if name not in older]
    if missing:
        step[names[1]] = missing


def _older_members(newer: Mapping[str, Any] | None, step: Mapping[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    gone = step.get(names[1], ())
    kept = {name: value for name, value in (newer or {}).items() if name not in gone}
    return {**kept, **step.get(names[0], {})}


def _cut(old: str, new: str) -> tuple[int, str, int] | None:
    if len(old) < _LONG:
        return None
    before = _shared(old, new, min(len(old), len(new)), start=True)
    after = _shared(old, new, min(len(old), len(new)) - before, start=False)
    if before + after < _LONG:
        return None
    return before, old[before : len(old) - after], after


def _shared(one: str, other: str, most: int, *, start: bool) -> int:
    low, high = 0, most  # so many characters are the same; more than so many cannot be
    while low < high:
        middle = (low + high + 1) // 2
        if start:
            same = one[low:middle] == other[low:middle]
        else:
            same = one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]
        low, high = (middle, high) if same else (low, middle - 1)
    return low


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
