"""Memories as mem0 gives and takes them, hosted and in process."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from openmem._emulation.backend import Entry, Hit
from openmem._emulation.metadata import moment_of, unpack
from openmem._io.vendors.mem0.errors import NAME
from openmem._model.finite import is_finite
from openmem._model.timestamps import EPOCH
from openmem.types import MemoryRecord

ENTITIES: Final = ("agent_id", "run_id", "app_id")
_EXTRAS: Final = (*ENTITIES, "actor_id", "categories", "expiration_date", "replaced_by")
_PARTS: Final = ("semantic", "bm25", "entity", "entity_boost")


def entry_of(item: Mapping[str, Any]) -> Entry | None:
    """Return the memory of an item, or `None` for one without a user or a text."""
    user_id, content = item.get("user_id"), item.get("memory")
    if not isinstance(user_id, str) or not isinstance(content, str) or not content:
        return None
    extras = {name: item.get(name) for name in _EXTRAS}
    extras["run_id"] = item.get("run_id") or item.get("session_id")
    return unpack(
        NAME,
        item.get("metadata"),
        handle=str(item["id"]),
        id=str(item["id"]),
        content=content,
        user_id=user_id,
        created_at=moment_of(item.get("created_at")) or EPOCH,
        updated_at=moment_of(item.get("updated_at")),
        extras=extras,
    )


def hit_of(item: Mapping[str, Any], score: float, parts: Mapping[str, Any] | None) -> Hit | None:
    """Return the search result of an item."""
    entry = entry_of(item)
    return None if entry is None else Hit(entry, min(1.0, max(0.0, score)), _parts_of(parts))


def added(record: MemoryRecord, handle: str, *, outdated: bool) -> Entry:
    """Return the entry of a new record, as reading it again would give it: all of it is in the envelope."""
    return Entry(handle, record if record.id else record.model_copy(update={"id": handle}), outdated)


def stored(record: MemoryRecord, handle: str, metadata: Mapping[str, Any]) -> Entry:
    """Return the entry of a record that was changed, as reading it again would give it."""
    item = {
        "id": handle,
        "memory": record.content,
        "user_id": record.user_id,
        "metadata": metadata,
        "created_at": record.created_at.isoformat(),
        **entities_of(record),
    }
    entry = entry_of(item)
    assert entry is not None
    return entry


def entities_of(record: MemoryRecord) -> dict[str, str]:
    """Return the ids of agent, run and app that a record names under `x-mem0`."""
    own = (record.model_extra or {}).get(f"x-{NAME}")
    if not isinstance(own, dict):
        return {}
    return {name: own[name] for name in ENTITIES if isinstance(own.get(name), str) and own[name]}


def is_handle(id_: str) -> bool:
    """Return whether an id has the form of those that mem0 makes."""
    try:
        return str(uuid.UUID(id_)) == id_
    except ValueError:
        return False


def _parts_of(parts: Mapping[str, Any] | None) -> dict[str, Any]:
    found = {}
    for name, value in (parts or {}).items():
        if isinstance(value, int | float) and is_finite(value) and name.removesuffix("_score") in _PARTS:
            found[name.removesuffix("_score")] = {"value": float(value)}
    return found
