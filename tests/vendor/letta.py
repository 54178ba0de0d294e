"""A stand-in for a Letta server: it keeps archives and passages, and holds requests and replies against the contract.

It has the quirks of release 0.16.8: scores are 0, tags filter after the limit, at most a hundred results, vectors of
4,096 numbers, no passage by id, archive names that are not unique, nothing behind a passage that is gone.
"""

from __future__ import annotations

import functools
import heapq
import json
import re
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

from openmem._config.extras import install_extra
from openmem.testing import HashEmbedder
from tests.vendor.loopback import Loopback, Reply
from tests.vendor.openapi import Contract
from tests.vendor.sdk_methods import Every
from tests.vendor.sdk_operations import letta_methods

KEY = "letta-not-a-real-key"
FILE = "letta-0.16.8.json"
NEEDED = f"letta-client is not installed: {install_extra('letta')}"

_ID = r"{}-[0-9a-f]{{8}}-[0-9a-f]{{4}}-4[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}"
_CONFIG = {"embedding_endpoint_type": "openai", "embedding_model": "text-embedding-3-small", "embedding_dim": 1536}
_CHECKED = 10
"""The rows of a reply that are held against the contract: all are made by one function."""
_FAR = (("start_date", "0001-01-01T00:00:00+00:00"), ("end_date", "9999-12-31T00:00:00+00:00"))

Item = dict[str, Any]


class LettaService:
    """The server on a loopback socket.

    Attributes:
        faults: What the next requests to a place get instead of an answer: method, pattern of the path, reply.
        broken: Requests and replies that break the contract.
        gate: While it is clear, searches wait.
        untold: What requests with this text do is done, and no reply is ever sent.
        requests: Method and path of each request.
        dimensions: How many numbers a vector has.
    """

    def __init__(self) -> None:
        self._contract = Every(letta_methods(), Contract.find(FILE, besides=(404,)))
        self._lock = threading.RLock()
        self._embedder = HashEmbedder()
        self.archives: dict[str, Item] = {}
        self.passages: dict[str, Item] = {}
        self.agents: dict[str, set[str]] = {}
        self.faults: list[tuple[str, str, Reply]] = []
        self.broken: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.dimensions = 4_096
        self.untold: str | None = None
        self.closing = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._server = Loopback(self._answer)
        self.url = self._server.url

    def reset(self) -> None:
        """Forget everything."""
        for kept in (self.archives, self.passages, self.agents, self.faults, self.broken, self.requests, self.bodies):
            kept.clear()
        self.dimensions = 4_096
        self.gate.set()

    def close(self) -> None:
        """Stop serving."""
        self.gate.set()
        self.closing.set()
        self._server.close()

    def fail(self, method: str, place: str, *replies: Reply) -> None:
        """Have the next requests to a path answered like this."""
        self.faults += [(method, place, reply) for reply in replies]

    def store(self, archive_id: str, text: str, made: datetime, **more: Any) -> Item:
        """Keep a passage that another client wrote."""
        passage: Item = {
            "id": f"passage-{uuid.uuid4()}",
            "text": text,
            "archive_id": archive_id,
            "created_at": made.astimezone(UTC).isoformat(),
            "updated_at": datetime.now(UTC).isoformat(),
            "metadata": more.get("metadata") or {},
            "tags": more.get("tags"),
            "is_deleted": False,
            "organization_id": "org-1",
            "created_by_id": "user-1",
        }
        self.passages[passage["id"]] = passage
        return passage

    def _answer(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Any) -> Reply:
        with self._lock:
            self.requests.append((method, path))
            self.bodies.append(body)
            if path == "/capabilities":
                return 404, {"detail": "Not Found"}, {}
            if headers.get("authorization") != f"Bearer {KEY}":
                return 401, {"detail": "Unauthorized"}, {}
            for fault in self.faults:
                if fault[0] == method and re.search(fault[1], path):
                    self.faults.remove(fault)
                    return fault[2]
            if re.fullmatch(r"/v1/(archives/[^/]+/)?passages/passage-[^/]+", path) and method != "DELETE":
                return 405, {"detail": "Method Not Allowed"}, {}
            faults = self._contract.faults_of_request(method, path, query, body)
            if faults:
                self.broken += faults
                return 422, {"detail": [{"loc": ["body"], "msg": fault, "type": "value_error"} for fault in faults]}, {}
        if path == "/v1/passages/search":
            self.gate.wait(30)
        with self._lock:
            reply = self._checked(method, path, *self._do(method, path, query, body))
        if self.untold is not None and self.untold in json.dumps(body):
            self.closing.wait(30)
        return reply

    def _checked(self, method: str, path: str, status: int, reply: Any) -> Reply:
        part = reply[:_CHECKED] if isinstance(reply, list) else reply
        faults = self._contract.faults_of_reply(method, path, status, part)
        self.broken += faults
        if faults:
            return 500, {"detail": "; ".join(faults)}, {}
        if status == 204:
            return 204, b"", {}
        vector = json.dumps([0.0] * self.dimensions)
        return status, json.dumps(reply).replace('"embedding": [0.5]', f'"embedding": {vector}').encode(), {}

    def _do(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")[1:]
        if parts == ["health"]:
            return 200, {"version": "0.16.8", "status": "ok"}
        if parts == ["passages", "search"]:
            return self._search(body)
        if parts[0] == "agents":
            return self._agent(method, parts[1:], query, body)
        if len(parts) == 1:
            return (200, self._make_archive(body)) if method == "POST" else (200, self._list_archives(query))
        return self._in_archive(method, parts[1:], body)

    def _in_archive(self, method: str, parts: list[str], body: Any) -> tuple[int, Any]:
        archive_id = parts[0]
        if not re.fullmatch(_ID.format("archive"), archive_id):
            return 422, {"detail": []}
        archive = self.archives.get(archive_id)
        if archive is None:
            return 404, {"detail": "Archive not found"}
        if len(parts) == 1:
            if method == "DELETE":
                del self.archives[archive_id]
                return 204, None
            archive.update(body if method == "PATCH" else {})
            return 200, archive
        if method == "POST" and parts[2:] == ["batch"]:
            replies = [self._create(archive_id, each) for each in body["passages"]]
            bad = next((reply for reply in replies if reply[0] != 200), None)
            return bad or (200, [shown for _, shown in replies])
        if method == "POST":
            return self._create(archive_id, body)
        return self._delete(archive_id, parts[2])

    def _make_archive(self, body: Item) -> Item:
        made = {
            "id": f"archive-{uuid.uuid4()}",
            "name": body["name"],
            "description": body.get("description"),
            "created_at": datetime.now(UTC).isoformat(),
            "organization_id": "org-1",
            "vector_db_provider": "native",
            "embedding_config": {**_CONFIG, "handle": body.get("embedding")},
            "metadata": None,
        }
        self.archives[str(made["id"])] = made
        return made

    def _list_archives(self, query: dict[str, str]) -> list[Item]:
        rows = sorted(self.archives.values(), key=lambda archive: (archive["created_at"], archive["id"]))
        if query.get("order", "desc") == "desc":
            rows.reverse()
        if "name" in query:
            rows = [row for row in rows if row["name"] == query["name"]]
        ids = [row["id"] for row in rows]
        start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
        return rows[start : start + int(query.get("limit", 50))]

    def _create(self, archive_id: str, body: Item) -> tuple[int, Any]:
        try:
            made = datetime.fromisoformat(body["created_at"]) if body.get("created_at") else datetime.now(UTC)
        except ValueError:
            return 400, {"detail": "Invalid created_at"}
        return 200, _shown(
            self.store(archive_id, body["text"], made, metadata=body.get("metadata"), tags=body.get("tags"))
        )

    def _delete(self, archive_id: str, passage_id: str) -> tuple[int, Any]:
        if not re.fullmatch(_ID.format("passage"), passage_id):
            return 422, {"detail": []}
        passage = self.passages.get(passage_id)
        if passage is None:
            return 404, {"detail": "Passage not found"}
        if passage["archive_id"] != archive_id:
            return 400, {"detail": "Passage does not belong to archive"}
        del self.passages[passage_id]
        return 204, None

    def _search(self, body: Item) -> tuple[int, Any]:
        if not body.get("archive_id"):
            self.broken.append("a search of the whole organisation")
        rows = [row for row in self.passages.values() if row["archive_id"] == body.get("archive_id", row["archive_id"])]
        first, last = (datetime.fromisoformat(body.get(name) or far) for name, far in _FAR)
        rows = [row for row in rows if first <= _moment(row["created_at"]) <= last]
        if body.get("query"):
            rows.sort(key=lambda row: (-self._embedder.similarity(body["query"], row["text"]), *_place(row)))
            rows = rows[: body.get("limit", 50)]
        else:
            rows = heapq.nsmallest(body.get("limit", 50), rows, key=_place)
        tags = set(body.get("tags") or ())
        if tags:  # after the limit, as the server does
            rows = [row for row in rows if tags & set(row["tags"] or ())]
        return 200, [{"passage": _shown(row), "score": 0.0, "metadata": {}} for row in rows]

    def _agent(self, method: str, parts: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        if not parts:
            agent_id = f"agent-{uuid.uuid4()}"
            self.agents[agent_id] = set()
            return 200, _agent_of(agent_id, body)
        if parts[1:2] == ["archives"]:
            change = self.agents[parts[0]].add if parts[2] == "attach" else self.agents[parts[0]].discard
            change(parts[3])
            return 200, None
        if method == "DELETE":
            del self.agents[parts[0]]
            return 200, None
        rows = [row for row in self.passages.values() if row["archive_id"] in self.agents[parts[0]]]
        if "after" in query:
            last = self.passages.get(query["after"])
            rows = [row for row in rows if last is not None and _place(row) > _place(last)]
        return 200, [_shown(row) for row in heapq.nsmallest(int(query["limit"]), rows, key=_place)]


def _place(row: Item) -> tuple[datetime, str]:
    return _moment(row["created_at"]), row["id"]


@functools.cache
def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _shown(passage: Item) -> Item:
    return {**passage, "embedding": [0.5], "embedding_config": _CONFIG}


def _agent_of(agent_id: str, body: Item) -> Item:
    return {
        "id": agent_id,
        "name": body["name"],
        "system": "",
        "agent_type": "letta_v1_agent",
        "llm_config": body["llm_config"],
        "memory": {"blocks": []},
        **{name: [] for name in ("blocks", "tools", "sources", "tags")},
    }
