"""A stand-in for supermemory: it takes texts in by and by, and holds each request and reply against the contract."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from openmem._config.extras import install_extra
from openmem.testing import HashEmbedder
from tests.vendor.loopback import Loopback, Reply
from tests.vendor.openapi import Contract
from tests.vendor.sdk_methods import Every
from tests.vendor.sdk_operations import supermemory_methods

KEY = "sm-not-a-real-key"
FILE = "supermemory-v5.json"
NEEDED = f"supermemory is not installed: {install_extra('supermemory')}"
STEPS = ["queued", "extracting", "chunking", "embedding", "indexing", "done"]
PASSAGE = 400
"""The longest passage that is indexed as one, in characters."""


@dataclass
class Document:
    """One document: what was sent, what is published of it, and how many looks are left until it is."""

    id: str
    own_id: str
    namespace: str
    number: int
    sent: str
    metadata: dict[str, Any]
    looks: int
    dreams: int
    unseen: int
    how: dict[str, Any]
    made: str
    changed: str
    content: str | None = None
    failed: bool = False
    passages: list[str] = field(default_factory=list)


class SupermemoryService:
    """The service on a loopback socket.

    Attributes:
        faults: What the next requests get instead of an answer.
        after: What the next requests get although they were done.
        broken: Requests and replies that break the contract.
        looks: How often a document is looked at before it is done.
        dreams: How often after that, before its memories are derived (`task_type="memory"` only).
        unseen: How often a new document is not found.
        fails: Whether what is sent next fails to be taken in.
        undeletable: How many deletions are refused, each in a reply that is a success.
        refused: Places of documents that a batch does not take, in a reply that is a success.
        own_ids: Whether replies name documents by ids of the service.
        gate: While it is clear, requests wait.
        unpaid: Requests with this text are refused for want of money.
        untold: What requests with this text do is done, and no reply is ever sent.
        fetched: Addresses that the service was told to fetch.
        requests: Method and path of each request.
    """

    def __init__(self) -> None:
        self._contract = Every(supermemory_methods(), Contract.find(FILE))
        self._lock = threading.RLock()
        self._embedder = HashEmbedder()
        self.documents: dict[str, Document] = {}
        self.faults: list[Reply] = []
        self.after: list[Reply] = []
        self.broken: list[str] = []
        self.fetched: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.unpaid: str | None = None
        self.untold: str | None = None
        self.closing = threading.Event()
        self.gate = threading.Event()
        self._server = Loopback(self._answer)
        self.url = self._server.url
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        kept: list[Any] = [self.faults, self.after, self.broken, self.fetched, self.requests, self.bodies]
        for each in [*kept, self.documents]:
            each.clear()
        self.looks, self.dreams, self.unseen, self.undeletable = 2, 1, 0, 0
        self.fails = self.own_ids = False
        self.refused: set[int] = set()
        self._numbers = itertools.count()
        self.gate.set()

    def close(self) -> None:
        """Stop serving."""
        self.gate.set()
        self.closing.set()
        self._server.close()

    def _answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Reply:
        with self._lock:
            if path == "/capabilities":
                return 404, {"error": "not found"}, {}
            self.requests.append((method, path))
            self.bodies.append(body)
            if headers.get("authorization") != f"Bearer {KEY}":
                return 401, {"error": "Unauthorized"}, {}
            if self.faults:
                return self.faults.pop(0)
            if self.unpaid is not None and self.unpaid in json.dumps(body):
                return 402, {}, {}
            faults = self._contract.faults_of_request(method, path, query, body)
            if faults:
                self.broken += faults
                return 400, {"error": "; ".join(faults)}, {}
        self.gate.wait(30)
        with self._lock:
            status, reply = self._do(method, unquote(path).strip("/").split("/"), query, body)
            faults = self._contract.faults_of_reply(method, path, status, reply)
            self.broken += faults
            if faults:
                return 500, {"error": "; ".join(faults)}, {}
        if self.untold is not None and self.untold in json.dumps(body):
            self.closing.wait(30)
        return self.after.pop(0) if self.after else (status, reply, {})

    def _do(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        page, size = int(query.get("page", 1)), int(query.get("limit", 10))
        match method, *parts:
            case "GET", "organization":
                names = {each.namespace for each in self.documents.values()}
                return 200, {"organizationalContext": None, "namespaceCount": len(names)}
            case "GET", "ns":
                return 200, self._namespaces(page, size)
            case "POST", "ns", namespace, "document":
                return self._add(namespace, body)
            case "POST", "ns", namespace, "document", "batch":
                return 200, self._add_all(namespace, body)
            case "DELETE", "ns", namespace, "document":
                return 200, self._delete(namespace, body["ids"])
            case "GET", "ns", namespace, "document", id_:
                return self._get(namespace, id_)
            case "PATCH", "ns", namespace, "document", id_:
                return self._change(namespace, id_, body)
            case "POST", "ns", namespace, "list", "documents":
                return 200, self._list(namespace, query.get("order", "desc"), page, size, body or {})
            case "POST", "ns", namespace, "search":
                return 200, self._search(namespace, body)
        return 404, {"error": "no such place"}

    def _add(self, namespace: str, body: dict[str, Any]) -> tuple[int, Any]:
        known = self._find(namespace, body.get("id", ""))
        if known is not None:  # not a replacement: what is sent is appended, unless it is there already
            known.metadata = body.get("metadata", known.metadata)
            if body["content"] in known.sent:
                return 200, self._ref(known)
            known.sent += "\n" + body["content"]
            self._queue(known)
            return 200, self._ref(known)
        own_id = uuid.uuid4().hex[:22]
        document = Document(
            id=body.get("id", own_id),
            own_id=own_id,
            namespace=namespace,
            number=next(self._numbers),
            sent=body["content"],
            metadata=dict(body.get("metadata") or {}),
            looks=0,
            dreams=0,
            unseen=self.unseen,
            how={name: body[name] for name in ("taskType", "dreaming", "date") if name in body},
            made=_now(),
            changed=_now(),
        )
        self.documents[own_id] = document
        self._queue(document)
        return 200, self._ref(document)

    def _add_all(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        taken, failed = [], []
        how = {name: body[name] for name in ("taskType", "dreaming") if name in body}
        for number, document in enumerate(body["documents"]):
            if number in self.refused:
                failed.append({"id": document["id"], "status": "error", "error": "Document refused"})
            else:
                taken.append(self._add(namespace, document | how)[1])
        return {"results": taken + failed, "count": len(taken), "failed": len(failed)}

    def _change(self, namespace: str, id_: str, body: dict[str, Any]) -> tuple[int, Any]:
        document = self._find(namespace, id_)
        if document is None:
            return 404, {"error": "Document not found"}
        document.metadata = body.get("metadata", document.metadata)
        document.changed = _now()
        if body.get("content", document.sent) != document.sent:
            document.sent = body["content"]
            self._queue(document)
        return 200, self._ref(document)

    def _queue(self, document: Document) -> None:
        document.looks, document.failed = self.looks, self.fails
        document.dreams = self.dreams if document.how.get("taskType", "memory") == "memory" else 0
        if document.sent.startswith(("http://", "https://")) and len(document.sent.split()) == 1:
            self.fetched.append(document.sent)
        self._settle(document)

    def _look(self, document: Document) -> None:
        if document.looks > 0:
            document.looks -= 1
        elif document.dreams > 0:
            document.dreams -= 1
        self._settle(document)

    def _settle(self, document: Document) -> None:
        if document.looks > 0 or document.failed or document.content == document.sent:
            return
        document.content = text = document.sent
        document.passages = [text[start : start + PASSAGE] for start in range(0, len(text), PASSAGE)]

    def _delete(self, namespace: str, ids: list[str]) -> dict[str, Any]:
        count, errors = 0, []
        for id_ in ids:
            document = self._find(namespace, id_)
            if document is None:
                errors.append({"id": id_, "error": "Document not found"})
            elif self.undeletable > 0:
                self.undeletable -= 1
                errors.append({"id": id_, "error": "Document is being processed"})
            else:
                del self.documents[document.own_id]
                count += 1
        return {"count": count, "errors": errors}

    def _get(self, namespace: str, id_: str) -> tuple[int, Any]:
        document = self._find(namespace, id_)
        if document is not None and document.unseen > 0:
            document.unseen -= 1
            document = None
        if document is None:
            return 404, {"error": "Document not found"}
        reply = {**self._shown(document), "content": document.content}
        self._look(document)
        return 200, reply

    def _list(self, namespace: str, order: str, page: int, size: int, body: dict[str, Any]) -> dict[str, Any]:
        found = [each for each in self._of(namespace) if _fits(each.metadata, body.get("filter"))]
        found.sort(key=lambda each: each.number, reverse=order == "desc")
        documents = []
        for each in found[(page - 1) * size : page * size]:
            shown = {**self._shown(each), "url": None}
            if body.get("include", {}).get("content"):
                shown["content"] = each.content
            documents.append(shown)
            self._look(each)
        return {"documents": documents, "chunks": [], "memories": [], "pagination": _pagination(page, size, len(found))}

    def _search(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        scored = [
            (max(0.0, self._embedder.similarity(body["query"], passage)), each, number)
            for each in self._of(namespace)
            if _fits(each.metadata, body.get("filter"))
            for number, passage in enumerate(each.passages)
        ]
        scored.sort(key=lambda found: (-found[0], found[1].number, found[2]))
        results = []
        for score, each, number in scored[: body.get("limit", 10)]:
            if score < body.get("threshold", 0.3):
                continue
            shown = self._shown(each)
            result = {
                "id": f"{each.own_id}_{number}",
                "chunk": each.passages[number],
                "metadata": each.metadata,
                "similarity": score,
                "isLatest": True,
                "isInference": False,
                "system": {"createdAt": each.made, "updatedAt": each.changed},
            }
            if body.get("include", {}).get("documents"):
                times = {name: shown["system"][name] for name in ("createdAt", "updatedAt")}
                result["included"] = {"document": {**shown, "system": times}}
            results.append(result)
        return {"results": results, "searchTime": 1.5}

    def _namespaces(self, page: int, size: int) -> dict[str, Any]:
        names = sorted({each.namespace for each in self.documents.values()}, reverse=True)
        rows = [
            {
                "id": f"ns_{name}",
                "namespace": name,
                "documentCount": len([*self._of(name)]),
                "memoryCount": 0,
                "description": None,
                "system": {"createdAt": _now(), "updatedAt": _now()},
            }
            for name in names[(page - 1) * size : page * size]
        ]
        return {"namespaces": rows, "pagination": _pagination(page, size, len(names))}

    def _find(self, namespace: str, id_: str) -> Document | None:
        return next((each for each in self._of(namespace) if id_ in (each.id, each.own_id)), None)

    def _of(self, namespace: str) -> Iterator[Document]:
        return (each for each in [*self.documents.values()] if each.namespace == namespace)

    def _ref(self, document: Document) -> dict[str, Any]:
        return {"id": document.own_id if self.own_ids else document.id, "status": self._status(document)}

    def _shown(self, document: Document) -> dict[str, Any]:
        state = {
            "status": self._status(document),
            "dreamingStatus": "dreaming" if document.dreams > 0 else "done",
            "createdAt": document.made,
            "updatedAt": document.changed,
        }
        return {
            "id": self._ref(document)["id"],
            "title": None,
            "type": "text",
            "summary": None,
            "metadata": document.metadata,
            "system": state,
        }

    def _status(self, document: Document) -> str:
        if document.looks > 0:
            return "queued" if document.looks == self.looks else STEPS[max(1, len(STEPS) - 1 - document.looks)]
        return "failed" if document.failed else "done"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _pagination(page: int, size: int, total: int) -> dict[str, int]:
    return {"currentPage": page, "limit": size, "totalItems": total, "totalPages": -(-total // size)}


def _fits(metadata: dict[str, Any], condition: dict[str, Any] | None) -> bool:
    if condition is None:
        return True
    if condition["operator"] == "and":
        return all(_fits(metadata, part) for part in condition["operands"])
    if condition["operator"] == "or":
        return any(_fits(metadata, part) for part in condition["operands"])
    if condition["operator"] != "eq":
        raise AssertionError(f"a filter that is no plain equality: {condition['operator']}")
    found = metadata.get(condition["field"])
    return type(found) is type(condition["value"]) and found == condition["value"]
