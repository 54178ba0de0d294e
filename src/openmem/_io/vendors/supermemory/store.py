"""supermemory through `supermemory.Supermemory`: a memory is a document, a user is a namespace."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Backend, Entry, Hit
from openmem._io.concurrency.primitives import sleep
from openmem._io.concurrency.retrying import repeat
from openmem._io.vendors.call_deadline import call_deadline, call_retry
from openmem._io.vendors.supermemory import items
from openmem._io.vendors.supermemory.items import NAME
from openmem._io.vendors.supermemory.sending import SDK, Sender, options
from openmem._model.ids import ENTROPY_BYTES, bucket_of, new_memory_id, routing_bucket, unknown_id
from openmem._model.retry import FailedAttempt
from openmem.errors import NotFoundError, ProviderError
from openmem.types import MemoryRecord, SearchMode, Status

PAGE: Final = 100
"""The largest page of a list, and the most results of a search."""
GRACE: Final = 2.0
"""Seconds for which a document that was just sent may be unknown when it is asked for."""
_ROUNDS: Final = 5
_REMEMBERED: Final = 10_000
_BARE: Final = {"content": False, "memory_count": False}


class SupermemoryStore(Backend):
    """A `supermemory.Supermemory`.

    Args:
        client: The object of the SDK.
        task_type: What the service does with a text: "superrag" indexes it, "memory" derives memories from it too.
        dreaming: When it derives them: "dynamic" or "instant".
    """

    name: ClassVar[str] = NAME
    most_inserts: ClassVar[int] = PAGE
    most_hits: ClassVar[int | None] = PAGE

    def __init__(self, client: Any, task_type: str, dreaming: str) -> None:
        self.sdk = client
        self.http: Any = None
        self._how = {"task_type": task_type, **({"dreaming": dreaming} if task_type == "memory" else {})}
        self._sender = Sender(client, self._how, self._look)
        self._sent: dict[tuple[str, str], float] = {}
        self._sent_lock = threading.Lock()

    @SDK.understood
    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Send a text under an id of ours. It is sent again only if the service does not know the id yet."""
        record, body = _prepared(record, outdated)
        namespace = items.namespace_of(record.user_id)
        ref = self._sender.send(namespace, [body])[body["id"]]
        # Reads may be a moment behind: one that finds nothing looks again for a while.
        self._note(namespace, body["id"])
        return items.stored(record, ref, body["metadata"])

    @SDK.understood
    def insert_many(
        self, records: Sequence[MemoryRecord], outdated: Sequence[bool], note: Callable[[Entry], object]
    ) -> Sequence[Entry]:
        """Send texts in one request, as `insert` does."""
        sent = [_prepared(record, mark) for record, mark in zip(records, outdated, strict=True)]

        def note_all() -> None:
            for record, body in sent:
                note(Entry(body["id"], record))

        namespace = items.namespace_of(records[0].user_id)
        refs = self._sender.send(namespace, [body for _, body in sent], note_all)
        for handle in refs:
            self._note(namespace, handle)
        return [items.stored(record, refs[body["id"]], body["metadata"]) for record, body in sent]

    @SDK.understood
    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Replace text and metadata; the text is taken in again only if it changed."""
        metadata = items.metadata_of(record, outdated=outdated)
        body = _body(record, metadata)
        if record.content != entry.record.content:
            body |= {"content": items.sent_form(record.content), **self._how}
        namespace = items.namespace_of(record.user_id)
        ref = self._again(self.sdk.documents.update, namespace, entry.handle, **body)
        return items.stored(record, SimpleNamespace(id=entry.handle, status=ref.status), metadata)

    @SDK.understood
    def remove(self, entry: Entry) -> None:
        """Erase a document. The service reports per document what it could not erase, in a reply that is a success."""
        namespace = items.namespace_of(entry.record.user_id)

        def attempt() -> FailedAttempt | None:
            reply = self._again(self.sdk.documents.delete, namespace, ids=[entry.handle])
            # 1. Erased, or gone already.
            # 2. Still there: once more.
            if (not reply.errors and reply.count == 1) or self._look(namespace, entry.handle) is None:
                return None
            error = ProviderError("supermemory could not erase the memory", provider=NAME)
            return FailedAttempt(error, passing=True)

        repeat(attempt, call_retry(), call_deadline(), repeatable=True)
        self._forget(namespace, entry)

    @SDK.understood
    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        """Read by id. Without a user the namespaces are asked, those first that the id points to."""
        if user_id is not None:
            return self._of_user(id, user_id)
        # The id has some bits of its user, so a few namespaces are likelier than all others.
        bucket, users = bucket_of(id), self.users()
        near = [user for user in users if routing_bucket(user) == bucket]
        found = [entry for user in near for entry in self._of_user(id, user)]
        if found:
            return found
        return [entry for user in users if user not in near for entry in self._of_user(id, user)]

    @SDK.understood
    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        """Read all documents of a user, page by page, oldest first."""
        namespace = items.namespace_of(user_id)
        # Page numbers shift when others delete meanwhile: only a round whose numbers add up counts.
        for _ in range(_ROUNDS):
            totals: list[int] = []
            found = {str(each.id): each for each in self._pages(namespace, equal, totals)}
            if totals == sorted(totals) and len(found) == totals[-1]:
                entries = (items.entry_of(each, user_id) for each in found.values())
                return [entry for entry in entries if entry is not None]
        raise ProviderError("supermemory's pages do not add up to its count, time after time", provider=NAME)

    @SDK.understood
    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        """Search as supermemory does. Several passages of one document are one hit, with the best score."""
        limit = min(PAGE, count)
        while True:
            results = self._search(text, user_id, equal, limit)
            hits = self._hits(results, user_id)
            # 1. Enough, or all there is.
            if len(hits) >= count or len(results) < limit:
                return hits[:count]
            # 2. Several passages were of one document: more are asked for, up to the most that the service gives.
            if limit == PAGE:
                break
            limit = min(PAGE, limit * 4)
        # 3. Still too few: the others follow with a score of nothing, the newest first.
        known = {hit.entry.handle for hit in hits}
        rest = [entry for entry in self.entries(user_id, equal) if entry.handle not in known]
        rest.sort(key=lambda entry: entry.record.created_at, reverse=True)
        return [*hits, *(Hit(entry, 0.0) for entry in rest)][:count]

    @SDK.understood
    def users(self) -> Sequence[str]:
        """Return the users of the namespaces that the account has."""
        found: list[str | None] = []
        number, last = 1, 1
        while number <= last:
            reply = self._again(self.sdk.namespaces.list, page=number, limit=PAGE)
            for each in reply.namespaces:
                name = str(each.namespace)
                found.append(self._owner_of(name) if items.is_hashed(name) else items.user_of(name))
            number, last = number + 1, int(reply.pagination.total_pages)
        return sorted({user for user in found if user is not None})

    @SDK.understood
    def ping(self) -> Mapping[str, Any]:
        """Ask the service whether it accepts the key."""
        reply = self._again(self.sdk.organization.get)
        return {"namespaces": reply.namespace_count}

    @SDK.understood
    def listed_states(self, ids: Sequence[str], user_id: str) -> dict[str, Status]:
        """Return the states of up to a hundred memories of a user, without those that a list does not show.

        Raises:
            ProviderError: The service gave one up.
        """
        wanted = [{"field": envelope.ID, "operator": "eq", "value": id_} for id_ in ids]
        asked = {"limit": PAGE, "filter": {"operator": "or", "operands": wanted}, "include": _BARE}
        reply = self._again(self.sdk.list, items.namespace_of(user_id), "documents", page=1, **asked)
        entries = (items.entry_of(each, user_id) for each in reply.documents)
        return {entry.record.id: _state_of(entry) for entry in entries if entry is not None and entry.record.id in ids}

    @SDK.understood
    def state(self, id_: str, user_id: str) -> Status:
        """Return how far a memory of a user is taken in.

        Raises:
            NotFoundError: The user has no memory of that id.
            ProviderError: The service gave it up.
        """
        entries = self._of_user(id_, user_id)
        if not entries:
            raise unknown_id(id_, NAME)
        return _state_of(entries[0])

    def _of_user(self, id_: str, user_id: str) -> list[Entry]:
        namespace, handle = items.namespace_of(user_id), items.handle_of(id_)
        document = self._look(namespace, handle)
        pause = 0.01
        while document is None and self._is_new(namespace, handle):
            sleep(pause if (left := call_deadline().left()) is None else min(pause, left))
            pause *= 2
            document = self._look(namespace, handle)
        entry = None if document is None else items.entry_of(document, user_id)
        return [entry] if entry is not None and entry.record.id == id_ else []

    def _look(self, namespace: str, handle: str) -> Any:
        try:
            return self._again(self.sdk.documents.get, namespace, handle)
        except NotFoundError:
            return None

    def _pages(self, namespace: str, equal: Mapping[str, str | bool], totals: list[int]) -> Iterator[Any]:
        number = 1
        asked = {"limit": PAGE, "sort": "createdAt", "order": "asc", **_filter(equal)}
        include = {"content": True, "memory_count": False}
        while True:
            reply = self._again(self.sdk.list, namespace, "documents", page=number, include=include, **asked)
            totals.append(int(reply.pagination.total_items))
            yield from reply.documents
            if number >= int(reply.pagination.total_pages):
                return
            number += 1

    def _search(self, text: str, user_id: str, equal: Mapping[str, str | bool], limit: int) -> list[Any]:
        asked = {"limit": limit, "threshold": 0.0, "include": {"documents": True}, **_filter(equal)}
        namespace = items.namespace_of(user_id)
        reply = self._again(self.sdk.search, namespace, query=text, **asked)
        return list(reply.results)

    def _hits(self, results: Sequence[Any], user_id: str) -> list[Hit]:
        found: dict[str, Hit] = {}
        for result in sorted(results, key=lambda each: -float(each.similarity)):
            document = getattr(getattr(result, "included", None), "document", None)
            if document is None or str(document.id) in found:
                continue
            entry = self._of_hit(result, document, user_id)
            if entry is not None:
                found[str(document.id)] = Hit(entry, min(1.0, max(0.0, float(result.similarity))))
        return list(found.values())

    def _of_hit(self, result: Any, document: Any, user_id: str) -> Entry | None:
        given = (document.metadata or {}).get(items.TEXT) or ""
        passage = getattr(result, "chunk", None)
        # A search gives no text of the document: it must be the one that the metadata holds, or be read.
        if given and (passage is None or " ".join(passage.split()) in " ".join(items.sent_form(given).split())):
            document = _with_state(document)
        else:
            document = self._look(items.namespace_of(user_id), str(document.id))
        return None if document is None else items.entry_of(document, user_id)

    def _owner_of(self, namespace: str) -> str | None:
        documents = self._again(self.sdk.list, namespace, "documents", page=1, limit=PAGE).documents
        owners = ((each.metadata or {}).get(items.USER) for each in documents)
        return next((user for user in owners if user and items.namespace_of(user) == namespace), None)

    def _again(self, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Make a request that may be made again, and make it again if it failed for a passing reason."""
        return SDK.ask_again(lambda: method(*given, **named, request_options=options()))

    def _note(self, namespace: str, handle: str) -> None:
        now = time.monotonic()
        with self._sent_lock:
            if len(self._sent) >= _REMEMBERED:
                self._sent = {place: at for place, at in self._sent.items() if at + GRACE > now}
            self._sent[namespace, handle] = now

    def _forget(self, namespace: str, entry: Entry) -> None:
        with self._sent_lock:
            self._sent.pop((namespace, items.handle_of(entry.record.id)), None)

    def _is_new(self, namespace: str, handle: str) -> bool:
        with self._sent_lock:
            return self._sent.get((namespace, handle), -GRACE) + GRACE > time.monotonic()


def _state_of(entry: Entry) -> Status:
    status = entry.record.status
    if status == "failed":
        raise ProviderError("supermemory could not take in the text", provider=NAME, details={"status": status})
    return status or "done"


def _prepared(record: MemoryRecord, outdated: bool) -> tuple[MemoryRecord, dict[str, Any]]:
    """Return a record with its id, and the document to send for it."""
    if not record.id:
        record = record.model_copy(update={"id": _new_id(record.user_id)})
    body = _body(record, items.metadata_of(record, outdated=outdated))
    return record, {**body, "content": items.sent_form(record.content), "id": items.handle_of(record.id)}


def _body(record: MemoryRecord, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": dict(metadata), "date": (record.valid_from or record.created_at).isoformat()}


def _filter(equal: Mapping[str, str | bool]) -> dict[str, Any]:
    parts = [{"field": name, "operator": "eq", "value": value} for name, value in equal.items()]
    if not parts:
        return {}
    return {"filter": parts[0] if len(parts) == 1 else {"operator": "and", "operands": parts}}


def _with_state(document: Any) -> Any:
    """Return a document of a search, which says nothing of its state: what can be found is done."""
    system = document.system
    state = SimpleNamespace(status="done", created_at=system.created_at, updated_at=system.updated_at)
    named = {name: getattr(document, name, None) for name in ("id", "title", "type", "summary", "metadata")}
    return SimpleNamespace(**named, system=state)


def _new_id(user_id: str) -> str:
    millis = int(datetime.now(UTC).timestamp() * 1000)
    return new_memory_id(user_id, millis=millis, entropy=secrets.token_bytes(ENTROPY_BYTES))
