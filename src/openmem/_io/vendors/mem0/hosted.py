"""mem0's hosted service through `mem0.MemoryClient`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Entry, Hit
from openmem._io.vendors.mem0.errors import NAME, ask, understood
from openmem._io.vendors.mem0.items import added, entities_of, entry_of, hit_of, is_handle, stored
from openmem._io.vendors.mem0.traces import TracedBackend
from openmem._io.vendors.sdk_errors import repeat_request
from openmem.errors import NotFoundError, ProviderError
from openmem.types import MemoryRecord, SearchMode

T = TypeVar("T")

PAGE: Final = 200
"""The largest page of `get_all`."""
EVENT: Final = "event-"
"""Begins the id of what mem0 has not taken in yet."""
_ROUNDS: Final = 5


class Mem0Hosted(TracedBackend):
    """A `mem0.MemoryClient`.

    Args:
        client: The object of the SDK.
    """

    name: ClassVar[str] = NAME
    most_hits: ClassVar[int | None] = 1_000

    def __init__(self, client: Any) -> None:
        self.sdk = client

    @understood
    def store(self, record: MemoryRecord, metadata: Mapping[str, str], *, outdated: bool) -> Entry:
        """Store a text as it is."""
        reply = self._add(record, {**envelope.pack_new(record, outdated=outdated), **metadata}, infer=False)
        results = reply.get("results") or []
        if len(results) != 1 or not results[0].get("id"):
            raise ProviderError("mem0 did not say that it stored the memory", provider=NAME)
        return added(record, str(results[0]["id"]), outdated=outdated)

    @understood
    def extract(self, record: MemoryRecord) -> MemoryRecord:
        """Hand a text to mem0's language model and return what stands for it until it is taken in."""
        metadata = envelope.pack_new(record, outdated=False, content_rewritten=True)
        reply = self._add(record, metadata, infer=True)
        # The service answers at once and works later: the event tells what became of it.
        event_id = str(reply.get("event_id") or "")
        if not is_handle(event_id):
            raise ProviderError("mem0 gave no event for what it takes in", provider=NAME)
        extra = {**(record.model_extra or {}), f"x-{NAME}": {"event_id": event_id, "content_rewritten": True}}
        fields = {**record.model_dump(), **extra, "id": EVENT + event_id, "status": "queued"}
        return MemoryRecord.model_validate(fields)

    @understood
    def event_records(self, event_id: str) -> list[MemoryRecord] | None:
        """Return the memories that an event made, or `None` while it is not done.

        Raises:
            NotFoundError: There is no such event, or it made no memory.
            ProviderError: It failed.
        """
        event = self._read(lambda: self._event(event_id.removeprefix(EVENT)))
        # 1. Failed.
        # 2. Not done yet.
        # 3. Done: the memories that it made, which may be none.
        status = event.get("status")
        if status == "FAILED":
            raise ProviderError("mem0 could not take in the text", provider=NAME, details={"status": "failed"})
        if status != "SUCCEEDED":
            return None
        ids = [str(result["id"]) for result in event.get("results") or [] if result.get("id")]
        records = [entry.record for id_ in ids for entry in self.fetch(id_, None)]
        if not records:
            raise NotFoundError("mem0 found nothing to remember in the text; nothing was stored", provider=NAME)
        return records

    @understood
    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Replace text and metadata. The service merges metadata, so keys of others stay."""
        metadata = envelope.pack(record, outdated=outdated)
        changes: dict[str, Any] = {"metadata": metadata}
        # A text that is sent again would be taken in again.
        if record.content != entry.record.content:
            changes["text"] = record.content
        ask(lambda: self.sdk.update(entry.handle, **changes))
        return stored(record, entry.handle, metadata)

    @understood
    def erase(self, handle: str) -> None:
        """Erase a memory."""
        with suppress(NotFoundError):
            ask(lambda: self.sdk.delete(handle))

    @understood
    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        """Read by mem0's own id, by the id that an import kept, or by the event that made it."""
        # 1. The event that stands for a memory until it is taken in.
        if id.startswith(EVENT) and is_handle(id.removeprefix(EVENT)):
            records = self.event_records(id) or []
            return [Entry(record.id, record) for record in records]
        # 2. The service's own id, of one request.
        if is_handle(id):
            entry = self._one(id)
            if entry is not None and entry.record.id == id and user_id in (None, entry.record.user_id):
                return [entry]
        # 3. An id that an import kept, which stands in the metadata.
        found = self._all(_filters(user_id or "*", {envelope.ID: id}))
        return [entry for entry in found if entry.record.id == id]

    @understood
    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        """Read all memories of a user, page by page."""
        return [entry for entry in self._all(_filters(user_id, equal)) if entry.record.user_id == user_id]

    @understood
    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        """Search as mem0 does."""
        filters = _filters(user_id, equal)
        reply = self._read(
            lambda: self.sdk.search(text, filters=filters, top_k=count, threshold=0.0, show_expired=True)
        )
        items = reply["results"]
        hits = [hit_of(item, float(item.get("score") or 0.0), item.get("score_breakdown")) for item in items]
        return [hit for hit in hits if hit is not None and hit.entry.record.user_id == user_id]

    @understood
    def users(self) -> Sequence[str]:
        """Return the users that the service lists."""
        found: set[str] = set()
        number, more = 1, True
        while more:
            reply = self._read(partial(self._get, "/v1/entities/", {"page": str(number), "page_size": str(PAGE)}))
            found.update(str(each["name"]) for each in reply["results"] if each.get("type") == "user")
            number, more = number + 1, bool(reply.get("next"))
        return sorted(found)

    @understood
    def ping(self) -> Mapping[str, Any]:
        """Ask the service whether it accepts the key."""
        self._read(lambda: self._get("/v1/ping/"))
        return {"mode": "hosted"}

    def _add(self, record: MemoryRecord, metadata: Mapping[str, Any], *, infer: bool) -> dict[str, Any]:
        options: dict[str, Any] = dict(entities_of(record))
        # An import keeps the time; else the service sets it.
        if record.id:
            options["timestamp"] = int(record.created_at.timestamp())
        messages = [{"role": "user", "content": record.content}]
        options |= {"user_id": record.user_id, "metadata": dict(metadata), "infer": infer}
        reply = ask(lambda: self.sdk.add(messages, **options))
        if not isinstance(reply, dict) or reply.get("status") == "FAILED":
            raise ProviderError("mem0 could not store the memory", provider=NAME)
        return reply

    def _one(self, handle: str) -> Entry | None:
        try:
            return entry_of(self._read(lambda: self.sdk.get(handle)))
        except NotFoundError:
            return None

    def _all(self, filters: Mapping[str, Any]) -> list[Entry]:
        # Page numbers shift when others write meanwhile: only a round whose count stayed the same counts.
        for _ in range(_ROUNDS):
            counts: list[int] = []
            items = {str(item["id"]): item for item in self._pages(filters, counts)}
            if len(set(counts)) == 1 and len(items) == counts[0]:
                return [entry for entry in map(entry_of, items.values()) if entry is not None]
        raise ProviderError("mem0's pages do not add up to its count, time after time", provider=NAME)

    def _pages(self, filters: Mapping[str, Any], counts: list[int]) -> Iterator[dict[str, Any]]:
        number = 1
        while True:
            options = {"filters": dict(filters), "page": number, "page_size": PAGE, "show_expired": True}
            reply = self._read(partial(self.sdk.get_all, **options))
            counts.append(int(reply["count"]))
            yield from reply["results"]
            if not reply.get("next"):
                return
            number += 1

    def _event(self, event_id: str) -> dict[str, Any]:
        return self._get(f"/v1/event/{event_id}/")

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        reply = self.sdk.client.get(path, params=params)
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    def _read(self, request: Callable[[], T]) -> T:
        """Make a request that may be made again, and make it again if it failed for a passing reason."""
        return repeat_request(partial(ask, request))


def _filters(user_id: str, equal: Mapping[str, str | bool]) -> dict[str, Any]:
    if not equal:
        return {"user_id": user_id}
    return {"AND": [{"user_id": user_id}, *({"metadata": {name: value}} for name, value in equal.items())]}
