"""Facts of a request that every middleware needs: a header, its id, its route and its operation."""

from __future__ import annotations

import secrets
from typing import Any, Final

from starlette.types import Scope

from openmem._model.ids import REQUEST_ID
from openmem._protocol.routes import ROUTES, UNMATCHED, Operation, template_of

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of a name, which must be in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def has_body(scope: Scope) -> bool:
    """Return whether a request announces a body."""
    return header(scope, b"content-length") not in (None, b"0") or header(scope, b"transfer-encoding") is not None


def method_of(scope: Scope) -> str:
    """Return the method, or `OTHER` for one that no route has: its text is the client's."""
    method: str = scope["method"]
    return method if method in _METHODS else "OTHER"


def route_of(scope: Scope) -> str:
    """Return the template of the route that a request goes to: never an id, never what a client made up."""
    path: str = scope["path"]
    return template_of(path, scope.get("raw_path") or path.encode()) or UNMATCHED


def operation_of(method: str, route: str) -> Operation | None:
    """Return what a method of a route does."""
    return ROUTES.get(route, {}).get(method)


def verb_of(method: str, route: str) -> str | None:
    """Return the verb of the protocol that a route is for."""
    operation = operation_of(method, route)
    return None if operation is None else operation.verb


def request_id_of(scope: Scope) -> str:
    """Return the id of a request: that of the client if it is a proper one, else a new one.

    Once asked for, it stays the same.
    """
    state: dict[str, Any] = scope.setdefault("state", {})
    given = state.get("request_id")
    if not isinstance(given, str):
        said = (header(scope, b"x-request-id") or b"").decode("latin-1")
        given = state["request_id"] = said if REQUEST_ID.fullmatch(said) else new_request_id()
    return given


def new_request_id() -> str:
    """Return an id for what has none."""
    return secrets.token_hex(16)
