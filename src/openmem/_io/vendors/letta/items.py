"""Memories as Letta's passages, and ids that say where a passage is found.

Letta reads no passage by its id, but those of a moment. So an id tells the moment that a passage carries as its
`created_at`: ids that are made here begin with it, and of any other id it is a digest, in the years before 2006.
"""

from __future__ import annotations

import hashlib
import re
import threading
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Entry
from openmem._model.timestamps import EPOCH, micros, time_of
from openmem.types import UTC, MemoryRecord

NAME: Final = "letta"

_DIGEST_BITS: Final = 50
_OWN: Final = re.compile(r"(\d{1,16})\.\S+", re.ASCII)


class Stamps:
    """Gives each new passage a moment of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self, wanted: datetime) -> int:
        """Return the microseconds of a moment, or those after the last that was taken; never those of the future."""
        with self._lock:
            self._last = max(self._last + 1, min(micros(wanted), micros(datetime.now(UTC))))
            return self._last


def new_id(stamp: int) -> str:
    """Return an unused id of a passage that carries a moment."""
    return f"{stamp}.{uuid.uuid4().hex}"


def stamp_of(id_: str) -> int:
    """Return the moment that the passage of an id carries."""
    found = _OWN.fullmatch(id_)
    if found:
        return int(found[1])
    return int.from_bytes(hashlib.blake2b(id_.encode(), digest_size=8).digest(), "big") >> (64 - _DIGEST_BITS)


def text_of(stamp: int) -> str:
    """Return a moment as Letta takes it."""
    return (time_of(stamp)).isoformat(timespec="microseconds")


def passage_of(record: MemoryRecord, *, outdated: bool) -> dict[str, Any]:
    """Return what to create for a record."""
    return {
        "text": record.content,
        "created_at": text_of(stamp_of(record.id)),
        "metadata": envelope.pack(record, outdated=outdated),
        "tags": record.tags or [],
    }


def entry_of(passage: Mapping[str, Any], user_id: str) -> Entry | None:
    """Return the memory of a passage, or `None` for one without text."""
    content, metadata = passage["text"], passage.get("metadata") or {}
    if not content or passage.get("is_deleted"):
        return None
    made = envelope.moment_of(passage["created_at"]) or EPOCH
    entry = envelope.unpack(
        NAME,
        metadata,
        handle=str(passage["id"]),
        id=f"{micros(made)}.{passage['id']}",
        content=content,
        user_id=user_id,
        created_at=made,
        updated_at=None,
    )
    if envelope.PAYLOAD in metadata or not passage.get("tags"):
        return entry
    record = entry.record.model_copy(update={"tags": list(dict.fromkeys(passage["tags"]))})
    return Entry(entry.handle, record, entry.outdated)


def age_of(entry: Entry) -> tuple[int, datetime, bool, str]:
    """Return what orders several passages of one memory, which an interrupted change leaves: the last one counts."""
    record = entry.record
    return record.version, record.updated_at or record.created_at, entry.outdated, entry.handle


def newest(entries: Iterable[Entry]) -> list[Entry]:
    """Return the passage that counts of each memory."""
    found: dict[str, Entry] = {}
    for entry in entries:
        known = found.get(entry.record.id)
        if known is None or age_of(known) < age_of(entry):
            found[entry.record.id] = entry
    return [*found.values()]
