"""Good replies of each service, what to ask so that they come, and every way to spoil one node of one of them."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.providers import ProviderName
from tests._async.hostile_clients import CAPABILITIES, KEY
from tests.hostile_peer import Exchange, Script, ok

HOLE = "@@hole@@"
SPOILS = [
    *("null", "true", "0", "-1", "1.5", "1e400", "NaN", "1" + "0" * 30, "1" * 5_000, '""', '"x"', '" "', '"\\ud800"'),
    *("[]", "{}", "[[]]", '{"a": 1}', '[null, 1, "a"]', "[" * 150 + "]" * 150, "[" * 900 + "]" * 900),
    *('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"2026-01-31"', '"2026-01-31T12:00:00"'),
    *('"' + "x" * 100_000 + '"', '{"id": {"id": {}}, "type": {}, "code": []}'),
]
"""The replacement of a node, as JSON or nearly."""

RECORD: dict[str, Any] = {
    "id": "mem_1",
    "content": "prefers tea",
    "user_id": "ann",
    "created_at": "2026-01-31T12:00:00Z",
    "updated_at": "2026-02-01T12:00:00Z",
    "scope": "a/b",
    "tags": ["t"],
    "source": {"app": "x", "type": "explicit", "ref": "r"},
    "confidence": 0.5,
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_to": "2027-01-01T00:00:00Z",
    "supersedes": ["mem_0"],
    "embedding_model": "m",
    "status": "done",
    "version": 1,
    "key": "k",
    "metadata": {"n": 1, "deep": {"a": [None]}},
    "x-a": {"n": 1},
}
RESULT = {"memory": RECORD, "score": 0.5, "explain": {"a": {"value": 1.0}}}
ENTRY = {
    "timestamp": "2026-01-31T12:00:00Z",
    "app": "a",
    "action": "get",
    "memory_id": "mem_1",
    "scope": "a/b",
    "request_id": "r",
}
CHANGE = {
    "action": "add",
    "user_id": "ann",
    "memory_id": "mem_1",
    "scope": "a/b",
    "version": 1,
    "timestamp": "2026-01-31T12:00:00Z",
}
COUNTS = {"current": 1, "superseded": 2, "expired": 0, "last_change": "2026-01-31T12:00:00Z"}
RECEIPT = {
    "user_id": "ann",
    "scope": None,
    "erased_at": "2026-01-31T12:00:00Z",
    "erased": {"memories": 1},
    "remaining": {"memories": 0},
    "purged": True,
    "request_id": "r",
}
BLOCK = {"text": "[1] tea", "citations": [{"memory_id": "mem_1", "score": 0.5}], "token_count": 4}
REPORT = {"imported": 1, "skipped": 0, "overwritten": 0, "duplicated": 0}
ERROR = {
    "error": {
        "code": "not_found",
        "message": "no",
        "type": "not_found",
        "provider": "p",
        "request_id": "r",
        "details": {"index": 1},
    }
}
LINE = json.dumps({"memory": {name: value for name, value in RECORD.items() if name != "metadata"}})
TRUTH = json.dumps(
    {
        "v": 1,
        "version": 1,
        "scope": "a/b",
        "tags": ["t"],
        "confidence": 0.5,
        "key": "k",
        "supersedes": ["m0"],
        "created_at": "2026-01-31T12:00:00+00:00",
        "updated_at": "2026-01-31T12:00:00+00:00",
        "valid_from": "2024-01-01T00:00:00+00:00",
        "valid_to": "2100-01-01T00:00:00+00:00",
        "source": {"app": "x"},
        "x": {"x-a": {"n": 1}},
        "facts": {"content_rewritten": True},
    }
)
METADATA = {
    "omp": TRUTH,
    "omp_id": "mem_1",
    "omp_key": "k",
    "omp_scope": "a/b",
    "omp_links": False,
    "omp_outdated": False,
    "omp_tags": ["t"],
    "else": "y",
}
OWN = {"omp_user": "ann", "omp_text": "prefers tea", "omp_link": False}
SYSTEM = {
    "status": "done",
    "dreamingStatus": "done",
    "createdAt": "2026-01-31T12:00:00.000Z",
    "updatedAt": "2026-01-31T12:00:00.000Z",
}
DOCUMENT = {
    "id": "mem_1",
    "title": "t",
    "type": "text",
    "summary": "s",
    "metadata": METADATA | OWN,
    "system": SYSTEM,
    "url": None,
    "content": "prefers tea",
}
PAGINATION = {"currentPage": 1, "limit": 100, "totalItems": 1, "totalPages": 1}
DOCUMENTS = {"documents": [DOCUMENT], "chunks": [], "memories": [], "pagination": PAGINATION}
FOUND = {
    "results": [
        {
            "id": "c_0",
            "chunk": "prefers tea",
            "metadata": METADATA | OWN,
            "similarity": 0.65,
            "isLatest": True,
            "isInference": False,
            "system": {"createdAt": "2026-01-31T12:00:00.000Z", "updatedAt": "2026-01-31T12:00:00.000Z"},
            "included": {"document": {name: DOCUMENT[name] for name in DOCUMENT if name not in ("content", "url")}},
        }
    ]
}
ARCHIVE_ID = "archive-1627adb5-a24f-49a1-ab8b-6a909972dc47"
ARCHIVE = {
    "id": ARCHIVE_ID,
    "name": "openmem-user:ann",
    "description": "openmem is changing the memory m9",
    "created_at": "2026-01-31T12:00:00+00:00",
    "embedding_config": {"embedding_dim": 3},
    "metadata": None,
}
PASSAGE = {
    "id": "passage-87e11c95-c019-43e9-bd33-4b8e2d71cbaa",
    "text": "prefers tea",
    "archive_id": ARCHIVE_ID,
    "created_at": "2026-01-31T12:00:00+00:00",
    "updated_at": "2026-01-31T12:00:00+00:00",
    "metadata": METADATA,
    "tags": ["t"],
    "is_deleted": False,
    "embedding": [0.0],
    "embedding_config": {},
}
PASSAGES = [{"passage": PASSAGE, "score": 0.0, "metadata": {}}]
MEM0_ID = "4e33697d-bb7d-4c2e-b901-46e4cafc4a9e"
ITEM = {
    "id": MEM0_ID,
    "memory": "prefers tea",
    "user_id": "ann",
    "agent_id": "a",
    "app_id": None,
    "session_id": None,
    "metadata": METADATA | {"omp_id": MEM0_ID},
    "created_at": "2026-01-31T12:00:00+00:00",
    "updated_at": "2026-01-31T12:00:00+00:00",
    "categories": ["c"],
}
ITEMS = {"count": 1, "next": None, "previous": None, "results": [ITEM]}
HITS = {"results": [{**ITEM, "run_id": None, "score": 0.65, "score_breakdown": {"semantic": 0.65, "bm25": 0.0}}]}
MEM0_ADDED = {"status": "SUCCEEDED", "event_id": "e", "results": [{"id": MEM0_ID, "data": {}, "event": "ADD"}]}

Ask = Callable[[AsyncMemory], Any]


@dataclass(frozen=True)
class Case:
    """One reply that is spoiled.

    Attributes:
        name: Service and verb.
        provider: The provider.
        ask: The verb.
        route: Method and pattern of the path whose reply is spoiled.
        reply: The good reply.
        status: Its status.
        others: Replies to other routes.
        sdk: The module that the provider needs.
        strict: Whether a node of another type is always refused.
    """

    name: str
    provider: str
    ask: Ask
    route: str
    reply: Any
    status: int = 200
    others: dict[str, Any] = field(default_factory=dict)
    sdk: str | None = None
    strict: bool = True


def _omp(name: str, route: str, reply: Any, ask: Ask, status: int = 200, strict: bool = True) -> Case:
    return Case(f"passthrough {name}", "passthrough", ask, route, reply, status, strict=strict)


def _supermemory(name: str, route: str, reply: Any, ask: Ask) -> Case:
    others = {
        r"POST /ns/ann/list/documents": DOCUMENTS,
        r"GET /ns/ann/document/": DOCUMENT,
        r"PATCH /ns/ann/document/": {"id": "mem_1", "status": "queued"},
        r"DELETE /ns/ann/document": {"count": 1, "errors": []},
        r"GET /ns\?": {
            "namespaces": [{"id": "n", "namespace": "ann", "documentCount": 1, "memoryCount": 0, "system": SYSTEM}],
            "pagination": PAGINATION,
        },
        r"GET /organization": {"organizationalContext": None, "namespaceCount": 1},
    }
    reply = others[route] if reply is None else reply
    return Case(f"supermemory {name}", "supermemory", ask, route, reply, 200, others, "supermemory", strict=False)


def _letta(name: str, route: str, reply: Any, ask: Ask) -> Case:
    others: dict[str, Any] = {
        r"GET /v1/archives/": [ARCHIVE],
        r"POST /v1/passages/search": PASSAGES,
        r"POST /v1/archives/.*/passages/batch": [PASSAGE],
        r"POST /v1/archives/.*/passages": PASSAGE,
        r"PATCH /v1/archives/": ARCHIVE,
        r"DELETE /v1/archives/.*/passages/": None,
        r"GET /v1/health/": {"version": "0.16.8", "status": "ok"},
    }
    reply = others[route] if reply is None else reply
    return Case(f"letta {name}", "letta", ask, route, reply, 200, others, "letta_client", strict=False)


def _mem0(name: str, route: str, reply: Any, ask: Ask) -> Case:
    others: dict[str, Any] = {
        r"GET /v1/ping/": {"status": "ok", "org_id": "o", "project_id": "p", "user_email": "a@example.com"},
        r"POST /v3/memories/add/": MEM0_ADDED,
        r"POST /v3/memories/search/": HITS,
        r"POST /v3/memories/": ITEMS,
        r"GET /v1/memories/": ITEM,
        r"PUT /v1/memories/": ITEM,
        r"DELETE /v1/memories/": {"message": "deleted"},
        r"GET /v1/entities/": {"count": 1, "next": None, "results": [{"id": "ann", "name": "ann", "type": "user"}]},
    }
    reply = others[route] if reply is None else reply
    return Case(f"mem0 {name}", "mem0", ask, route, reply, 200, others, "mem0", strict=False)


def _listed(memory: AsyncMemory) -> Any:
    return memory.list("ann", include_superseded=True, include_expired=True)


TEA: Any = {"content": "prefers tea", "user_id": "ann"}
CASES = [
    _omp("add", "POST /memories", RECORD, lambda memory: memory.add(**TEA), 201),
    _omp("add_many", "POST /memories/batch", {"items": [RECORD, RECORD]}, lambda memory: memory.add_many([TEA, TEA])),
    _omp("get", "GET /memories/mem_1", RECORD, lambda memory: memory.get("mem_1", user_id="ann")),
    _omp("update", "PATCH /memories/mem_1", RECORD, lambda memory: memory.update("mem_1", content="b", user_id="ann")),
    _omp("delete_all", r"DELETE /memories", RECEIPT, lambda memory: memory.delete_all("ann")),
    _omp("list", "GET /memories", {"items": [RECORD], "next_cursor": "c"}, lambda memory: memory.list("ann")),
    _omp("search", "GET /memories/search", {"results": [RESULT]}, lambda memory: memory.search("tea", "ann")),
    _omp("context", "POST /context", BLOCK, lambda memory: memory.context("tea", "ann")),
    _omp("history", "GET /memories/.*history", {"items": [RECORD]}, lambda memory: memory.history("mem_1")),
    _omp("audit", "GET /audit", {"entries": [ENTRY]}, lambda memory: memory.audit("ann")),
    _omp(
        "changes",
        "GET /changes",
        {"items": [CHANGE], "next_cursor": "c", "has_more": True},
        lambda memory: memory.changes("ann"),
    ),
    _omp("scopes", "GET /scopes", {"scopes": [{"scope": "a", **COUNTS}]}, lambda memory: memory.scopes("ann")),
    _omp("tags", "GET /tags", {"tags": [{"tag": "t", "count": 1}]}, lambda memory: memory.tags("ann")),
    _omp(
        "users",
        "GET /users",
        {"items": [{"user_id": "ann", **COUNTS}], "next_cursor": "c"},
        lambda memory: memory.users(),
    ),
    _omp("export", "GET /export", {"memory": RECORD}, lambda memory: memory.export("ann"), strict=False),
    _omp("import_", "POST /import", REPORT, lambda memory: memory.import_([LINE])),
    _omp("reembed", "POST /reembed", {"model": "m", "done": 1, "total": 1}, lambda memory: memory.reembed()),
    _omp("errors", "GET /memories/mem_1", ERROR, lambda memory: memory.get("mem_1"), 404, strict=False),
    _omp("errors of a list", "GET /memories", ERROR, lambda memory: memory.list("ann"), 400, strict=False),
    _omp("capabilities", "GET /capabilities", CAPABILITIES, lambda memory: memory.capabilities(), strict=False),
    _supermemory(
        "list", "POST /ns/ann/list/documents", None, lambda memory: memory.list("ann", include_superseded=True)
    ),
    _supermemory("get", "GET /ns/ann/document/", None, lambda memory: memory.get("mem_1", user_id="ann")),
    _supermemory("search", "POST /ns/ann/search", FOUND, lambda memory: memory.search("tea", "ann")),
    _supermemory("users", r"GET /ns\?", None, lambda memory: memory.export()),
    _supermemory("health", "GET /organization", None, lambda memory: memory.health()),
    _supermemory(
        "add", "POST /ns/ann/document$", {"id": "mem_1", "status": "queued"}, lambda memory: memory.add(**TEA)
    ),
    _letta("archives", "GET /v1/archives/", None, lambda memory: memory.list("ann")),
    _letta("list", "POST /v1/passages/search", None, _listed),
    _letta("search", "POST /v1/passages/search", None, lambda memory: memory.search("tea", "ann")),
    _letta("export", "POST /v1/passages/search", None, lambda memory: memory.export()),
    _letta("add", "POST /v1/archives/.*/passages", None, lambda memory: memory.add(**TEA)),
    _letta("health", "GET /v1/health/", None, lambda memory: memory.health()),
    _mem0("list", "POST /v3/memories/", None, _listed),
    _mem0("get", "GET /v1/memories/", None, lambda memory: memory.get(MEM0_ID, user_id="ann")),
    _mem0("search", "POST /v3/memories/search/", None, lambda memory: memory.search("tea", "ann")),
    _mem0("users", "GET /v1/entities/", None, lambda memory: memory.export()),
    _mem0("add", "POST /v3/memories/add/", None, lambda memory: memory.add(**TEA)),
    _mem0("update", "PUT /v1/memories/", None, lambda memory: memory.update(MEM0_ID, content="b", user_id="ann")),
]


def _param(case: Case) -> Any:
    missing = case.sdk is not None and importlib.util.find_spec(case.sdk) is None
    marks = [pytest.mark.skip(reason=f"{case.sdk} is not installed")] if missing else []
    return pytest.param(case, id=case.name, marks=marks)


ALL = pytest.mark.parametrize("case", [_param(case) for case in CASES])


def connect(case: Case, url: str) -> AsyncMemory:
    """Return a memory of the service of a case at an address."""
    if case.provider != "passthrough":
        return AsyncMemory(ProviderName(case.provider), base_url=url, api_key=KEY, timeout=15)
    options: dict[str, Any] = {} if "capabilities" in case.name else {"capabilities": CAPABILITIES}
    return AsyncMemory("passthrough", base_url=url, api_key=KEY, timeout=15, **options)


def script(case: Case, body: Callable[[], bytes]) -> Script:
    """Return what answers like the service, and with a body where the case spoils one."""

    def answer(exchange: Exchange) -> None:
        method, target = exchange.request.split(b" ")[0].decode(), exchange.path
        place = f"{method} {target}"
        plain = place if r"\?" in case.route else place.partition("?")[0]
        if re.match(case.route, plain) and _closest(case, plain) == case.route:
            exchange.send(ok(body(), status=b"%d X" % case.status))
        elif target == "/capabilities":
            exchange.send(ok(b"{}", status=b"404 Not Found"))
        else:
            route = next((route for route in case.others if re.match(route, place)), None)
            exchange.send(ok(json.dumps(case.others[route]).encode() if route else b"{}"))

    return answer


def _closest(case: Case, place: str) -> str:
    """Return the longest pattern that fits: one path may begin another."""
    fitting = [route for route in {*case.others, case.route} if re.match(route, place)]
    return max(fitting, key=len)


def spoiled(value: Any, every: int = 1) -> Iterator[tuple[str, bytes, Any, str]]:
    """Yield the path of a node, the reply with a spoil there, the good value and the spoil.

    Args:
        value: The good reply.
        every: Take one of so many spoils, others at each node.
    """
    for number, path in enumerate(_paths(value)):
        whole = copy.deepcopy(value)
        good = _put(whole, path, HOLE)
        text = json.dumps(whole)
        for spoil in SPOILS[number % every :: every]:
            yield ".".join(map(str, path)), text.replace(f'"{HOLE}"', spoil).encode(), good, spoil
        inner = _json_in(good)
        for place, body, deep, spoil in spoiled(inner, every) if inner is not None else ():
            packed = json.dumps(body.decode())
            yield f"{'.'.join(map(str, path))}:{place}", text.replace(f'"{HOLE}"', packed).encode(), deep, spoil


def _json_in(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else None


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(value, dict):
        for name in value:
            yield from _paths(value[name], (*at, name))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _paths(value[index], (*at, index))


def _put(whole: Any, path: tuple[Any, ...], hole: str) -> Any:
    if not path:
        return whole
    for step in path[:-1]:
        whole = whole[step]
    good, whole[path[-1]] = whole[path[-1]], hole
    return good
