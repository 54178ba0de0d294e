"""Memories as supermemory's documents, and users as its namespaces.

The text of a memory stands in the document and, if it is short, once more in the metadata: what the service has not
published yet reads as it was given, and what it made of a text besides can be told from the text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Final

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Entry
from openmem._model.timestamps import EPOCH
from openmem.errors import ProviderError
from openmem.types import MemoryRecord, Status

NAME: Final = "supermemory"
USER: Final = "omp_user"
TEXT: Final = "omp_text"
LINK: Final = "omp_link"
SHORT: Final = 2_000
"""The longest text, in characters, that is kept in the metadata too."""

_OWN: Final = frozenset({USER, TEXT, LINK})
_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST_NAMESPACE: Final = 100
_HASHED: Final = ":h"
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*:\S+|//\S+|[\w-]+(\.[\w-]+)+([/:?#]\S*)?)", re.IGNORECASE)
_BEFORE_URL: Final = "Text: "
_EXTRAS: Final = ("title", "type", "summary", "url")


def namespace_of(user_id: str) -> str:
    """Return the namespace of a user: letters, digits, `_` and `-` stand for themselves, other bytes are `:` and hex.

    A user id that is too long for that becomes a hash.
    """
    name = "".join(chr(byte) if byte in _PLAIN else f":{byte:02x}" for byte in user_id.encode())
    if len(name) <= _LONGEST_NAMESPACE:
        return name
    return _HASHED + hashlib.sha256(user_id.encode()).hexdigest()


def user_of(namespace: str) -> str | None:
    """Return the user of a namespace, or `None` if its name does not say."""
    try:
        raw = re.sub(r":([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), namespace).encode("latin-1")
        user_id = raw.decode()
    except UnicodeError:
        return None
    return user_id if user_id.strip() and "*" not in user_id and namespace_of(user_id) == namespace else None


def is_hashed(namespace: str) -> bool:
    """Return whether only the documents of a namespace say whose it is."""
    return namespace.startswith(_HASHED)


def handle_of(id_: str) -> str:
    """Return the document id of a memory: its own, or a hash where that cannot stand in an address."""
    # The SDK puts it into the path as it is.
    return id_ if _SAFE.fullmatch(id_) else "omp-" + hashlib.sha256(id_.encode()).hexdigest()


def is_link(text: str) -> bool:
    """Return whether the service would fetch what a text points at, and keep that instead of the text."""
    return all(_URL.fullmatch(word) for word in text.split())


def sent_form(text: str) -> str:
    """Return a text as it is sent: one that is nothing but addresses gets a word before it."""
    return _BEFORE_URL + text if is_link(text) else text


def metadata_of(record: MemoryRecord, *, outdated: bool) -> dict[str, Any]:
    """Return the metadata of a record: the envelope, and flat values of others that it was read with."""
    own = (record.model_extra or {}).get(f"x-{NAME}")
    foreign = own.get("metadata") if isinstance(own, dict) else None
    kept = {name: value for name, value in foreign.items() if _is_flat(value)} if isinstance(foreign, dict) else {}
    return {
        **kept,
        **envelope.pack(record, outdated=outdated),
        USER: record.user_id,
        TEXT: record.content if len(record.content) <= SHORT else "",
        LINK: is_link(record.content),
    }


def entry_of(document: Any, user_id: str) -> Entry | None:
    """Return the memory of a document, or `None` for one of another user or without anything to show."""
    metadata: dict[str, Any] = dict(getattr(document, "metadata", None) or {})
    if not document.id:
        raise ProviderError("supermemory named a document without its id", provider=NAME)
    if metadata.get(USER, user_id) != user_id:
        return None
    system = getattr(document, "system", None)
    status = status_of(system)
    content, rewritten = _content_of(document, metadata, status)
    if not content and status in ("done", "failed") and envelope.PAYLOAD not in metadata:
        return None
    extras = {name: getattr(document, name, None) for name in _EXTRAS}
    extras["type"] = None if extras["type"] == "text" else extras["type"]
    extras["content_rewritten"] = rewritten or None
    entry = envelope.unpack(
        NAME,
        {name: value for name, value in metadata.items() if name not in _OWN},
        handle=str(document.id),
        id=str(document.id),
        content=content,
        user_id=user_id,
        created_at=envelope.moment_of(getattr(system, "created_at", None)) or EPOCH,
        updated_at=envelope.moment_of(getattr(system, "updated_at", None)),
        extras=extras,
    )
    return Entry(entry.handle, entry.record.model_copy(update={"status": status}), entry.outdated)


def stored(record: MemoryRecord, ref: Any, metadata: Mapping[str, Any]) -> Entry:
    """Return the entry of a record that was sent, as reading it again would give it."""
    # "done" is the state of the text alone; whether memories are derived from it shows when it is read.
    system = SimpleNamespace(status=getattr(ref, "status", None), created_at=record.created_at)
    content = sent_form(record.content)
    entry = entry_of(SimpleNamespace(id=ref.id, metadata=metadata, content=content, system=system), record.user_id)
    assert entry is not None
    return entry


def status_of(system: Any) -> Status:
    """Return the state of a document: it is done when it is indexed and nothing is being derived from it."""
    status = getattr(system, "status", None)
    if status == "failed":
        return "failed"
    if status == "done":
        return "indexing" if getattr(system, "dreaming_status", None) == "dreaming" else "done"
    return "indexing" if status in ("extracting", "chunking", "embedding", "indexing") else "queued"


def _content_of(document: Any, metadata: Mapping[str, Any], status: Status) -> tuple[str, bool]:
    found = getattr(document, "content", None) or ""
    if metadata.get(LINK) is True:
        found = found.removeprefix(_BEFORE_URL)
    given = metadata.get(TEXT) or ""
    # Until it is done, the service may still show the text before; afterwards others may have changed it.
    rewritten = bool(given and found and status == "done" and found.split() != given.split())
    return (found if rewritten or not given else given), rewritten


def _is_flat(value: object) -> bool:
    texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return texts or isinstance(value, str | int | float | bool)
