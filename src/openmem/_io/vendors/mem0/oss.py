"""mem0 in process: `mem0.Memory` over a vector store of the user's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, TypeVar

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Entry, Hit
from openmem._io.vendors.call_deadline import time_left
from openmem._io.vendors.mem0.errors import NAME, ask
from openmem._io.vendors.mem0.items import added, entities_of, entry_of, hit_of, is_handle, stored
from openmem._io.vendors.mem0.traces import TracedBackend
from openmem.errors import NotFoundError, ProviderError, ProviderUnavailableError, UnsupportedCapabilityError
from openmem.types import MemoryRecord, SearchMode

T = TypeVar("T")

ALL: Final = 1_000_000
"""The number to ask for when all are meant: `get_all` knows no pages and stops at 20 by default."""
ALL_USERS: Final = "*"
LISTS_ALL_USERS: Final = frozenset({"qdrant", "pgvector"})
"""The stores that can be asked for the memories of all users."""
_ONE_AT_A_TIME: Final = frozenset({"faiss", "chroma"})


class Mem0Oss(TracedBackend):
    """A `mem0.Memory`.

    Args:
        memory: The object of the SDK.
    """

    name: ClassVar[str] = NAME
    lists_all_scored: ClassVar[bool] = True
    filters: ClassVar[bool] = False

    def __init__(self, memory: Any) -> None:
        self.sdk = memory
        self._store = str(getattr(getattr(memory.config, "vector_store", None), "provider", ""))
        embedded = self._store in _ONE_AT_A_TIME or _is_embedded_qdrant(memory.vector_store)
        # Stores inside the process are plain Python objects that do not expect two threads.
        self._turn: threading.Lock | None = threading.Lock() if embedded else None

    def store(self, record: MemoryRecord, metadata: Mapping[str, str], *, outdated: bool) -> Entry:
        """Store a text as it is."""
        results = self._add(record, {**envelope.pack_new(record, outdated=outdated), **metadata}, infer=False)
        if len(results) != 1:
            raise ProviderError("mem0 did not store the memory", provider=NAME)
        return added(record, str(results[0]["id"]), outdated=outdated)

    def extract(self, record: MemoryRecord) -> MemoryRecord:
        """Store what mem0's language model makes of a text, and return the first memory of it.

        Raises:
            ProviderError: It found nothing to remember; nothing was stored.
        """
        metadata = envelope.pack_new(record, outdated=False, content_rewritten=True)
        results = self._add(record, metadata, infer=True)
        for result in results:
            entries = self.fetch(str(result.get("id")), record.user_id)
            if entries:
                return entries[0].record
        raise ProviderError(
            "mem0 found nothing to remember in the text; nothing was stored",
            provider=NAME,
            details={"outcome": "nothing_extracted"},
        )

    def event_records(self, event_id: str) -> None:
        """There are no events in process: what `add` returned is stored."""
        raise NotFoundError("there is no such event", provider=NAME)

    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Replace text and metadata; keys of others in the metadata stay."""
        metadata = envelope.pack(record, outdated=outdated)
        self._ask(lambda: self.sdk.update(entry.handle, text=record.content, metadata=dict(metadata)))
        return stored(record, entry.handle, {**_foreign(entry), **metadata})

    def erase(self, handle: str) -> None:
        """Erase a memory and what mem0's own history kept of its texts."""
        # The row first. The history has its texts too, and is cleaned even if the row was gone already.
        with suppress(NotFoundError):
            self._ask(lambda: self.sdk.delete(handle))
        self._ask(lambda: self._forget(handle))

    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        """Read by mem0's own id, else by the id that an import kept."""
        # 1. mem0's own id.
        if is_handle(id):
            item = self._ask(lambda: self.sdk.get(id))
            entry = None if item is None else entry_of(item)
            if entry is not None and entry.record.id == id and user_id in (None, entry.record.user_id):
                return [entry]
        # 2. An id that an import kept, of any user: not every store can be asked for all.
        if user_id is None and self._store not in LISTS_ALL_USERS:
            return []
        found = self._all({"user_id": user_id or ALL_USERS, envelope.ID: id})
        return [entry for entry in found if entry.record.id == id]

    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        """Read all memories of a user at once."""
        return [entry for entry in self._all({"user_id": user_id, **equal}) if entry.record.user_id == user_id]

    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        """Search as mem0 does, or by vectors alone."""
        filters = {"user_id": user_id, **equal}
        find = self._by_vector if mode == "vector" else self._by_all
        items = self._ask(lambda: find(text, filters, count))
        hits = [hit_of(item, float(item.get("score") or 0.0), item.get("score_details")) for item in items]
        return [hit for hit in hits if hit is not None and hit.entry.record.user_id == user_id]

    def users(self) -> Sequence[str]:
        """Return the users of all memories, where the store can be asked for all."""
        if self._store not in LISTS_ALL_USERS:
            raise UnsupportedCapabilityError(
                f"export needs user_id: mem0 cannot list all users of the store {self._store!r}", provider=NAME
            )
        return sorted({entry.record.user_id for entry in self._all({"user_id": ALL_USERS})})

    def ping(self) -> Mapping[str, Any]:
        """Ask the vector store for one memory of a user that does not exist."""
        self._ask(lambda: self.sdk.get_all(filters={"user_id": "openmem-health"}, top_k=1))
        return {"mode": "oss", "store": self._store}

    def count_traces(self, handles: Sequence[str]) -> dict[str, int]:
        """Count what mem0's own history still holds of erased memories."""
        count = self._ask(lambda: sum(len(self.sdk.db.get_history(handle)) for handle in handles))
        return {"history": count}

    def _add(self, record: MemoryRecord, metadata: Mapping[str, Any], *, infer: bool) -> list[dict[str, Any]]:
        entities = entities_of(record)
        if "app_id" in entities:
            raise UnsupportedCapabilityError("mem0 in process knows no app_id", provider=NAME)
        sent = {**metadata, "created_at": record.created_at.isoformat()}
        messages = [{"role": "user", "content": record.content}]
        options = {"user_id": record.user_id, "metadata": sent, "infer": infer, **entities}
        reply = self._ask(lambda: self.sdk.add(messages, **options))
        return [result for result in reply["results"] if result.get("event") in (None, "ADD", "UPDATE")]

    def _all(self, filters: Mapping[str, Any]) -> list[Entry]:
        items = self._ask(lambda: self.sdk.get_all(filters=dict(filters), top_k=ALL, show_expired=True)["results"])
        return [entry for entry in map(entry_of, items) if entry is not None]

    def _forget(self, handle: str) -> None:
        db = self.sdk.db
        with db._lock, db.connection:
            db.connection.execute("delete from history where memory_id = ?", (handle,))

    def _by_all(self, text: str, filters: dict[str, Any], count: int) -> list[dict[str, Any]]:
        # A memory whose vector points away from the text is none that fits it: mem0 drops what scores below 0.
        options = {"filters": filters, "top_k": count, "threshold": 0.0, "show_expired": True, "explain": True}
        found: list[dict[str, Any]] = self.sdk.search(text, **options)["results"]
        return found

    def _by_vector(self, text: str, filters: dict[str, Any], count: int) -> list[dict[str, Any]]:
        vector = self.sdk.embedding_model.embed(text, "search")
        rows = self.sdk.vector_store.search(query=text, vectors=vector, top_k=count, filters=filters)
        return [_item_of(row) for row in rows]

    def _ask(self, request: Callable[[], T]) -> T:
        if self._turn is None:
            return ask(request)
        left = time_left()
        if not self._turn.acquire(timeout=-1 if left is None else left):
            time_left()
            raise ProviderUnavailableError("the store in this process is busy", provider=NAME)
        try:
            return ask(request)
        finally:
            self._turn.release()


def _is_embedded_qdrant(store: Any) -> bool:
    client = getattr(getattr(store, "client", None), "_client", None)
    return "QdrantLocal" in {kind.__name__ for kind in type(client).__mro__}


def _foreign(entry: Entry) -> dict[str, Any]:
    known = (entry.record.model_extra or {}).get(f"x-{NAME}")
    foreign = known.get("metadata") if isinstance(known, dict) else None
    return dict(foreign) if isinstance(foreign, dict) else {}


def _item_of(row: Any) -> dict[str, Any]:
    payload = dict(row.payload or {})
    own = {"memory": payload.pop("data", None), "id": str(row.id), "score": row.score}
    for name in ("text_lemmatized", "hash", "role", "attributed_to"):
        payload.pop(name, None)
    promoted = ("user_id", "agent_id", "run_id", "actor_id", "expiration_date", "created_at", "updated_at")
    own |= {name: payload.pop(name) for name in promoted if name in payload}
    return {**own, "metadata": payload}
