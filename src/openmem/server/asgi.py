"""The words of ASGI, and the few things that every middleware does with a request."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from openmem import OMPError

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

OPERATIONS: Final = frozenset({"/healthz", "/health/live", "/health/ready", "/version", "/metrics"})
UNMATCHED: Final = "unmatched"

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PATHS: Final = OPERATIONS | {
    *("/capabilities", "/memories", "/memories/batch", "/memories/search", "/memories/wait", "/context", "/audit"),
    *("/export", "/import", "/reembed", "/openapi.json", "/docs"),
}
_BY_ID: Final = re.compile(rb"/memories/[^/]+(/history)?")
_VERBS: Final = {
    ("POST", "/memories"): "add",
    ("POST", "/memories/batch"): "add_many",
    ("GET", "/memories"): "list",
    ("DELETE", "/memories"): "delete_all",
    ("GET", "/memories/search"): "search",
    ("POST", "/memories/search"): "search",
    ("GET", "/memories/{id}"): "get",
    ("PATCH", "/memories/{id}"): "update",
    ("DELETE", "/memories/{id}"): "delete",
    ("GET", "/memories/{id}/history"): "history",
    ("POST", "/memories/wait"): "wait_for_ingest",
    ("POST", "/context"): "context",
    ("GET", "/audit"): "audit",
    ("GET", "/export"): "export",
    ("POST", "/import"): "import",
    ("POST", "/reembed"): "reembed",
    ("GET", "/capabilities"): "capabilities",
}


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of a name, which must be in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def method_of(scope: Scope) -> str:
    """Return the method, or `OTHER` for one that no route has: its text is the client's."""
    method: str = scope["method"]
    return method if method in _METHODS else "OTHER"


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request goes to: never an id, never what a client made up."""
    path: str = scope["path"]
    if path in _PATHS:
        return path
    found = _BY_ID.fullmatch(scope.get("raw_path") or path.encode())
    if found:
        return "/memories/{id}/history" if found[1] else "/memories/{id}"
    template = getattr(scope.get("route"), "path", None)
    return template if isinstance(template, str) and template else UNMATCHED


def verb_of(method: str, route: str) -> str | None:
    """Return the verb of the protocol that a route is for."""
    return _VERBS.get((method, route))


def request_id_of(scope: Scope) -> str | None:
    """Return the id of a request, once it has one."""
    found = scope.get("state", {}).get("request_id")
    return found if isinstance(found, str) else None


def envelope(error: OMPError, request_id: str | None) -> bytes:
    """Return the body that an error is sent as."""
    error.request_id = error.request_id or request_id
    return json.dumps(error.to_envelope(), separators=(",", ":"), ensure_ascii=False).encode()


def error_headers(error: OMPError, length: int) -> Headers:
    """Return the headers that belong to an envelope."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, -int(-error.retry_after // 1))).encode()))
    return headers
