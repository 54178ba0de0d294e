"""A stand-in for mem0's hosted service: it keeps memories, and holds each request and reply against the contract."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from openmem.testing import HashEmbedder
from tests.vendor.loopback import Loopback, Reply
from tests.vendor.openapi import Contract

KEY = "m0-not-a-real-key"
FILE = "mem0-hosted.json"


@dataclass
class Event:
    """Something that is taken in later: after some looks at it, or never."""

    body: dict[str, Any]
    looks: int
    results: list[dict[str, str]] = field(default_factory=list)


class Mem0Service:
    """The service on a loopback socket.

    Attributes:
        faults: What the next requests get instead of an answer.
        broken: Requests and replies that break the contract.
        looks: How often an event is looked at before it is done.
        outcome: What becomes of an event: SUCCEEDED or FAILED.
        extracted: What the language model makes of a text.
        gate: While it is clear, requests wait.
        unpaid: Requests with this text are refused for want of money.
        untold: What requests with this text do is done, and no reply is ever sent.
        requests: Method and path of each request.
    """

    def __init__(self) -> None:
        self._contract = Contract.load(FILE)
        self._lock = threading.RLock()
        self._embedder = HashEmbedder()
        self.memories: dict[str, dict[str, Any]] = {}
        self.events: dict[str, Event] = {}
        self.faults: list[Reply] = []
        self.broken: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.looks, self.outcome = 2, "SUCCEEDED"
        self.extracted = ["User likes tea"]
        self.unpaid: str | None = None
        self.untold: str | None = None
        self.closing = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._server = Loopback(self._answer)
        self.url = self._server.url

    def reset(self) -> None:
        """Forget everything."""
        for kept in (self.memories, self.events, self.faults, self.broken, self.requests, self.bodies):
            kept.clear()
        self.looks, self.outcome = 2, "SUCCEEDED"
        self.extracted = ["User likes tea"]
        self.gate.set()

    def close(self) -> None:
        """Stop serving."""
        self.gate.set()
        self.closing.set()
        self._server.close()

    def _answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Reply:
        with self._lock:
            self.requests.append((method, path))
            self.bodies.append(body)
            if path == "/capabilities":
                return 404, {"detail": "not found"}, {}
            if headers.get("authorization") != f"Token {KEY}":
                return 401, {"detail": "Invalid API key."}, {}
            if self.faults and path != "/v1/ping/":
                return self.faults.pop(0)
            if self.unpaid is not None and self.unpaid in json.dumps(body):
                return 402, {}, {}
            if path.startswith("/v1/entities/"):
                query = {name: value for name, value in query.items() if name not in ("page", "page_size")}
            faults = self._contract.faults_of_request(method, path, query, body)
            if faults:
                self.broken += faults
                return 400, {"error": "; ".join(faults)}, {}
        self.gate.wait(30)
        with self._lock:
            status, reply = self._do(method, path, query, body)
            faults = self._contract.faults_of_reply(method, path, status, reply)
            self.broken += faults
            if faults:
                return 500, {"error": "; ".join(faults)}, {}
        if self.untold is not None and self.untold in json.dumps(body):
            self.closing.wait(30)
        return status, reply, {}

    def _do(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if path == "/v1/ping/":
            return 200, {"status": "ok", "org_id": "o", "project_id": "p", "user_email": "a@example.com"}
        if path == "/v3/memories/add/":
            return self._add(body)
        if path == "/v3/memories/search/":
            return self._search(body)
        if path == "/v3/memories/":
            return self._page(body, int(query.get("page", 1)), int(query.get("page_size", 100)))
        if path == "/v1/entities/":
            return 200, self._entities()
        if parts[1] == "event":
            return self._event(parts[2])
        if parts[1] == "memories" and len(parts) == 3:
            return self._by_id(method, parts[2], body)
        return 404, {"error": "no such place"}

    def _add(self, body: dict[str, Any]) -> tuple[int, Any]:
        if not any(body.get(name) for name in ("user_id", "agent_id", "run_id")):
            return 400, {"error": "an entity id is needed"}
        event_id = str(uuid.uuid4())
        if body.get("infer", True):
            self.events[event_id] = Event(body, self.looks)
            return 200, {"event_id": event_id, "status": "PENDING"}
        results = []
        for message in body["messages"]:
            memory = self._store(message["content"], body)
            results.append({"id": memory["id"], "data": {"memory": memory["memory"]}, "event": "ADD"})
        return 200, {"message": "stored", "status": "SUCCEEDED", "event_id": event_id, "results": results}

    def _store(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        made = datetime.fromtimestamp(body["timestamp"], UTC) if "timestamp" in body else datetime.now(UTC)
        memory: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "memory": text,
            "user_id": body.get("user_id"),
            "agent_id": body.get("agent_id"),
            "app_id": body.get("app_id"),
            "session_id": body.get("run_id"),
            "metadata": dict(body.get("metadata") or {}),
            "created_at": made.isoformat(),
            "updated_at": made.isoformat(),
        }
        self.memories[memory["id"]] = memory
        return memory

    def _search(self, body: dict[str, Any]) -> tuple[int, Any]:
        scored = [
            (max(0.0, self._embedder.similarity(body["query"], memory["memory"])), memory)
            for memory in self._matching(body["filters"])
        ]
        scored.sort(key=lambda pair: (-pair[0], pair[1]["id"]))
        results = []
        for score, memory in scored[: body.get("top_k", 10)]:
            if score < body.get("threshold", 0.1):
                continue
            found = {**memory, "run_id": memory["session_id"], "score": score}
            del found["session_id"]
            results.append({**found, "score_breakdown": {"semantic": score, "bm25": 0.0, "entity": 0.0}})
        return 200, {"results": results}

    def _page(self, body: dict[str, Any], number: int, size: int) -> tuple[int, Any]:
        found = sorted(self._matching(body["filters"]), key=lambda memory: (memory["created_at"], memory["id"]))
        found.reverse()
        rows = found[(number - 1) * size : number * size]
        more = f"{self.url}/v3/memories/?page={number + 1}" if number * size < len(found) else None
        return 200, {"count": len(found), "next": more, "previous": None, "results": rows}

    def _entities(self) -> dict[str, Any]:
        names = sorted({memory["user_id"] for memory in self.memories.values() if memory["user_id"]})
        moment = datetime.now(UTC).isoformat()
        rows = [
            {"id": name, "name": name, "created_at": moment, "updated_at": moment, "owner": "o", "type": "user"}
            for name in names
        ]
        return {"count": len(rows), "next": None, "previous": None, "results": rows}

    def _event(self, event_id: str) -> tuple[int, Any]:
        event = self.events.get(event_id)
        if event is None:
            return 404, {"error": "Event not found or you don't have permission to access it."}
        event.looks -= 1
        status = "RUNNING" if event.looks > 0 else self.outcome
        if status == "SUCCEEDED" and not event.results:
            event.results = [
                {"id": self._store(text, event.body)["id"], "memory": text, "event": "ADD"} for text in self.extracted
            ]
        return 200, {"id": event_id, "event_type": "ADD", "status": status, "results": event.results}

    def _by_id(self, method: str, id_: str, body: Any) -> tuple[int, Any]:
        try:
            uuid.UUID(id_)
        except ValueError:
            return 400, {"error": "memory_id should be a valid UUID"}
        memory = self.memories.get(id_)
        if memory is None:
            return 404, {"error": "Memory not found!"}
        if method == "DELETE":
            del self.memories[id_]
            return 200, {"message": "Memory deleted successfully!"}
        if method == "PUT":
            memory["memory"] = body.get("text", memory["memory"])
            memory["metadata"] = {**memory["metadata"], **(body.get("metadata") or {})}
            memory["updated_at"] = datetime.now(UTC).isoformat()
        return 200, memory

    def _matching(self, filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
        return (memory for memory in self.memories.values() if _fits(memory, filters))


def _fits(memory: dict[str, Any], filters: dict[str, Any]) -> bool:
    for name, value in filters.items():
        if name == "AND":
            fits = all(_fits(memory, part) for part in value)
        elif name == "metadata":
            fits = all(memory["metadata"].get(key) == wanted for key, wanted in value.items())
        elif name == "user_id":
            fits = value == "*" or memory["user_id"] == value
        else:
            raise AssertionError(f"a filter that is no plain equality: {name}")
        if not fits:
            return False
    return True
