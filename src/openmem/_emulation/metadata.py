"""Records as metadata of a service: flat keys, no nulls, one JSON text that is the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from openmem._emulation.backend import Entry
from openmem._model.checks import MAX_VERSION
from openmem._model.finite import is_finite
from openmem._model.unchecked import stored_record, with_later_fields
from openmem._protocol.http_errors import parse_json
from openmem.errors import ProviderError
from openmem.types import UTC, MemoryRecord, MemorySource

VERSION: Final = 1
PAYLOAD: Final = "omp"
ID: Final = "omp_id"
KEY: Final = "omp_key"
SCOPE: Final = "omp_scope"
LINKS: Final = "omp_links"
OUTDATED: Final = "omp_outdated"
TRACE: Final = "omp_trace"
"""The mark by which a part of a batch is found if it is not known to be stored; a text of its own."""
FILTER_FIELDS: Final = (ID, KEY, SCOPE, LINKS, OUTDATED)
"""Metadata to filter by: three texts, empty for none, and two flags."""
OWN: Final = frozenset({PAYLOAD, "omp_tags", TRACE, *FILTER_FIELDS})

_TIMES: Final = ("created_at", "updated_at", "valid_from", "valid_to")
_PLAIN: Final = ("scope", "tags", "confidence", "supersedes", "key", "metadata")
_FIELDS: Final = frozenset(MemoryRecord.model_fields)

_dumps: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

Flat = str | bool | list[str]


def pack(record: MemoryRecord, *, outdated: bool, **facts: Any) -> dict[str, Flat]:
    """Return the metadata of a record. The id is kept only if it is not empty.

    Args:
        record: The memory; text and user are kept elsewhere.
        outdated: Whether some memory may supersede it.
        **facts: Further values to remember, as `facts_of` returns them.
    """
    given = vars(record)
    truth: dict[str, Any] = {"v": VERSION, "version": record.version}
    truth |= {name: value for name in _PLAIN if (value := given[name]) is not None}
    truth |= {name: value.isoformat() for name in _TIMES if (value := given[name]) is not None}
    if not record.searchable:
        truth["searchable"] = False
    if record.source is not None:
        truth["source"] = record.source.model_dump(mode="json", exclude_none=True)
    if record.model_extra:
        truth["x"] = record.model_extra
    if facts:
        truth["facts"] = facts
    return {
        PAYLOAD: _dumps(truth),
        ID: record.id,
        KEY: record.key or "",
        SCOPE: record.scope or "",
        LINKS: bool(record.supersedes),
        OUTDATED: outdated,
        "omp_tags": record.tags or [],
    }


def pack_new(record: MemoryRecord, *, outdated: bool, **facts: Any) -> dict[str, Flat]:
    """Return the metadata of a record that is stored for the first time: nothing of it is empty."""
    return {name: value for name, value in pack(record, outdated=outdated, **facts).items() if value}


def unpack(
    provider: str,
    metadata: Mapping[str, Any] | None,
    *,
    handle: str,
    id: str,
    content: str,
    user_id: str,
    created_at: datetime,
    updated_at: datetime | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Entry:
    """Return the memory that a service holds.

    Args:
        provider: Its name, for the extension `x-<provider>`.
        metadata: What `pack` made, and perhaps keys of others.
        handle: What the service calls the memory.
        id: The id to show if the envelope holds none.
        content: The text.
        user_id: Whose it is.
        created_at: When the service made it; the envelope's own time wins.
        updated_at: The same for the last change.
        extras: What the service says besides; empty values are left out.

    Raises:
        ProviderError: A value in it is none that a memory can have.
    """
    given = dict(metadata or {})
    truth = _truth_of(given.get(PAYLOAD))
    try:
        known = extras_of(given, extras, _members_of(truth, "facts"))
        fields: dict[str, Any] = {
            "id": given.get(ID) or id if truth else id,
            "content": content,
            "user_id": user_id,
            "created_at": _time(truth.get("created_at")) or created_at,
            "updated_at": _time(truth.get("updated_at")) if truth else updated_at,
            "valid_from": _time(truth.get("valid_from")),
            "valid_to": _time(truth.get("valid_to")),
            "source": MemorySource.model_validate(truth["source"]) if "source" in truth else None,
            "embedding_model": None,
            "version": truth.get("version", 1),
            "searchable": truth.get("searchable", True),
            **{name: truth.get(name) for name in _PLAIN},
        }
        # Others who can write to the service can write into the envelope, too.
        extensions = with_later_fields(fields, _members_of(truth, "x"))
        MemoryRecord.model_validate(fields, strict=True)
        if known:
            own = extensions.get(f"x-{provider}")
            extensions[f"x-{provider}"] = {**own, **known} if isinstance(own, dict) else known
        # Callers' own members may have any name but that of a field, which they would replace.
        sound = 1 <= fields["version"] <= MAX_VERSION and _FIELDS.isdisjoint(extensions)
        sound = sound and is_finite(extensions) and is_finite(fields["source"])
        sound = sound and is_finite(fields["metadata"])
    except (ValueError, TypeError, AttributeError, OverflowError):
        sound = False
    if sound:
        return Entry(handle, stored_record(fields, extensions), given.get(OUTDATED) is True)
    raise ProviderError(f"{provider} holds a memory that cannot be read", provider=provider)  # without its text


def extras_of(
    metadata: Mapping[str, Any], extras: Mapping[str, Any] | None, facts: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what a record says under `x-<provider>`: values of the service, facts of ours, metadata of others."""
    foreign = {name: value for name, value in metadata.items() if name not in OWN}
    known = {name: value for name, value in (extras or {}).items() if value not in (None, "", [], {})}
    return {**known, **(facts or {}), **({"metadata": foreign} if foreign else {})}


def moment_of(value: object) -> datetime | None:
    """Return a time that a service gave as ISO 8601 text; without an offset it is UTC, and junk is `None`."""
    try:
        time = datetime.fromisoformat(str(value)[:64])
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # an offset may lead out of the years that there are
        return None


def _truth_of(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        return {}
    try:
        truth = parse_json(text.encode())
    except ValueError:
        return {}
    return truth if isinstance(truth, dict) and truth.get("v") == VERSION else {}


def _members_of(truth: Mapping[str, Any], name: str) -> dict[str, Any]:
    members = truth.get(name)
    if members is not None and not isinstance(members, dict):
        raise TypeError(name)
    return dict(members or {})


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
