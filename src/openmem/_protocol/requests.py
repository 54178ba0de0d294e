"""The verbs as requests of the OMP protocol over HTTP. Pure; the replies are read in `responses`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from openmem._model.access import IdempotencySeed
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, Named
from openmem._model.requests import (
    DEFAULT_HISTORY,
    AuditQuery,
    Change,
    Draft,
    GivenVector,
    HistoryQuery,
    ListQuery,
    ScopesQuery,
    SearchQuery,
    TagsQuery,
    UsersQuery,
    View,
)
from openmem._model.scopes import ScopePattern
from openmem._model.where import Where
from openmem._protocol.http_messages import HttpRequest, Params, json_body, query_of
from openmem.types import ImportConflict

MAX_BATCH: Final = 10_000
MAX_QUERY_BYTES: Final = 6_000
"""Longest query string; what is longer goes into a body, because servers and proxies refuse long addresses."""

_JSON: Final = {"Content-Type": "application/json"}
_LINES: Final = {"Content-Type": "application/x-ndjson"}
_STEPS: Final = frozenset({".", ".."})
_ROUTES: Final = _STEPS | {"search", "batch", "wait", "by-key"}
_DRAFT: Final = (
    *("content", "user_id", "scope", "tags", "source", "confidence", "valid_from", "valid_to"),
    *("supersedes", "key", "metadata", "id", "created_at", "updated_at", "if_version"),
)


def capabilities() -> HttpRequest:
    """Return the question what a server can do, which needs no key and gives none away."""
    return HttpRequest("GET", "/capabilities", retry_safe=True, anonymous=True)


def add(drafts: Sequence[Draft], once: str | None) -> HttpRequest:
    """Return the request that stores one memory, or several at once.

    Args:
        drafts: The memories.
        once: A name that no other request has: sent again under it, nothing is stored twice. `None` if the server
            does not know of such names.
    """
    headers = _JSON if once is None else {**_JSON, "Idempotency-Key": once}
    safe = once is not None
    if len(drafts) == 1:
        return HttpRequest("POST", "/memories", None, headers, json_body(_fields(drafts[0])), safe)
    body = json_body({"items": [_fields(draft) for draft in drafts]})
    return HttpRequest("POST", "/memories/batch", None, headers, body, safe)


def once_name(request_id: str, seed: IdempotencySeed | None) -> str:
    """Return the name under which an `add` is done once: its request id, or a hash of its seed."""
    if seed is None:
        return request_id
    return hashlib.sha256(f"{seed.at.timestamp()!r} {seed.entropy}".encode()).hexdigest()


def get(named: Named, user_id: str | None) -> HttpRequest:
    """Return the request for one memory."""
    return HttpRequest("GET", _place(named), headers=_owner(user_id), retry_safe=True)


def update(named: Named, user_id: str | None, change: Change) -> HttpRequest:
    """Return the request that changes a memory; a null clears a field."""
    headers = {**_JSON, **_owner(user_id)}
    if change.if_version is not None:
        headers["If-Match"] = f'"{change.if_version}"'
    fields = {name: _plain(value) for name, value in change.fields.items() if name != "extensions"}
    if "embedding" in fields:
        fields["embedding"] = _vector(change.fields["embedding"])
    body = json_body({**fields, **change.fields.get("extensions", {})})
    return HttpRequest("PATCH", _place(named), headers=headers, body=body)


def delete(named: Named, user_id: str | None) -> HttpRequest:
    """Return the request that erases a memory."""
    return HttpRequest("DELETE", _place(named), headers=_owner(user_id))


def delete_all(user_id: str, scope: ScopePattern | None, where: Where | None = None) -> HttpRequest:
    """Return the request that erases a user's memories."""
    filtered = None if where is None else where.text
    return HttpRequest("DELETE", "/memories", _params(user_id=user_id, scope=scope, where=filtered))


def list_(query: ListQuery) -> HttpRequest:
    """Return the request for a page of memories."""
    params = _params(
        **_view(query.view),
        tag=next(iter(query.view.tags), None),
        since=query.since,
        until=query.until,
        limit=query.limit,
        cursor=query.cursor,
        order=None if query.order == "created" else query.order,
        descending=None if query.descending else "false",
    )
    return HttpRequest("GET", "/memories", params, retry_safe=True)


def scopes(query: ScopesQuery) -> HttpRequest:
    """Return the request for a user's scopes. None tells fewer segments apart than one."""
    view = query.view
    prefix = None if view.scope is None else view.scope.path
    depth = None if query.depth is None else max(1, query.depth)
    return HttpRequest("GET", "/scopes", _params(user_id=view.user_id, prefix=prefix, depth=depth), retry_safe=True)


def tags(query: TagsQuery) -> HttpRequest:
    """Return the request for a user's tags."""
    params = _params(user_id=query.view.user_id, scope=query.view.scope)
    return HttpRequest("GET", "/tags", params, retry_safe=True)


def users(query: UsersQuery) -> HttpRequest:
    """Return the request for a page of users."""
    params = _params(prefix=query.prefix, limit=query.limit, cursor=query.cursor)
    return HttpRequest("GET", "/users", params, retry_safe=True)


def search(query: SearchQuery) -> HttpRequest:
    """Return the request for the best matches; a long one is posted."""
    fields = dict(
        _view(query.view),
        q=query.text,
        limit=query.limit,
        offset=query.offset or None,
        min_score=query.min_score,
        tags=query.view.tags or None,
        mode=None if query.mode == "hybrid" else query.mode,
        explain=query.explain or None,
        purpose=None if query.action == "search" else query.action,
    )
    params = _params(**fields)
    if query.embedding is None and len(query_of(params)) <= MAX_QUERY_BYTES:
        return HttpRequest("GET", "/memories/search", params, retry_safe=True)
    if query.embedding is not None:
        fields["embedding"] = _vector(query.embedding)
    body = json_body({name: _plain(value) for name, value in fields.items() if value is not None})
    return HttpRequest("POST", "/memories/search", None, _JSON, body, retry_safe=True)


def context(query: SearchQuery, token_budget: int) -> HttpRequest:
    """Return the request for a block of text."""
    view = query.view
    fields = {
        "query": query.text,
        "user_id": view.user_id,
        "scope": view.scope,
        "token_budget": token_budget,
        "tags": view.tags or None,
        "as_of": view.as_of,
        "where": view.where,
    }
    body = json_body({name: _plain(value) for name, value in fields.items() if value is not None})
    return HttpRequest("POST", "/context", headers=_JSON, body=body, retry_safe=True)


def history(query: HistoryQuery) -> HttpRequest:
    """Return the request for a memory's earlier versions."""
    limit = None if query.limit == DEFAULT_HISTORY else query.limit
    place, params = f"{_place(query.named)}/history", _params(limit=limit, cursor=query.cursor)
    return HttpRequest("GET", place, params or None, headers=_owner(query.user_id), retry_safe=True)


def audit(query: AuditQuery) -> HttpRequest:
    """Return the request for audit entries."""
    params = _params(user_id=query.user_id, app=query.app, since=query.since, limit=query.limit)
    return HttpRequest("GET", "/audit", params, retry_safe=True)


def changes(query: FeedQuery) -> HttpRequest:
    """Return the request for a page of changes."""
    params = _params(user_id=query.user_id, cursor=query.cursor, limit=query.limit)
    return HttpRequest("GET", "/changes", params, retry_safe=True)


def wait(ids: Sequence[str], user_id: str) -> HttpRequest:
    """Return the request that is answered once memories can be found."""
    body = json_body({"ids": [*ids], "user_id": user_id})
    return HttpRequest("POST", "/memories/wait", None, _JSON, body, retry_safe=True)


def export(user_id: str | None, cursor: str | None, limit: int) -> HttpRequest:
    """Return the request for a page of an export."""
    params = _params(user_id=user_id, cursor=cursor, limit=limit)
    return HttpRequest("GET", "/export", params, {"Accept": "application/x-ndjson"}, retry_safe=True)


def import_(drafts: Sequence[Draft], conflict: ImportConflict) -> HttpRequest:
    """Return the request that stores records of another store, a line each."""
    lines = (json_body({"memory": {**_fields(draft), "version": draft.version}}) for draft in drafts)
    return HttpRequest("POST", "/import", {"conflict": conflict}, _LINES, b"\n".join(lines) + b"\n")


def reembed() -> HttpRequest:
    """Return the request that moves every memory to the server's model."""
    return HttpRequest("POST", "/reembed", headers=_JSON, body=b"{}")


def health() -> HttpRequest:
    """Return the question whether the server's backend answers; it is asked once."""
    return HttpRequest("GET", "/healthz")


def text_header(value: str) -> bytes:
    """Return a text as the value of a header: in UTF-8."""
    return value.encode()


def _fields(draft: Draft) -> dict[str, Any]:
    given = {name: getattr(draft, name) for name in _DRAFT}
    if draft.if_absent:
        given["if_absent"] = True
    if not draft.searchable:
        given["searchable"] = False
    if draft.embedding is not None:
        given["embedding"] = _vector(draft.embedding)
    return {name: _plain(value) for name, value in given.items() if value is not None} | {**draft.extensions}


def _vector(given: GivenVector) -> dict[str, Any]:
    return {"model": given.model, "vector": given.values.tolist()}


def _view(view: View) -> dict[str, Any]:
    return {
        "user_id": view.user_id,
        "scope": view.scope,
        "as_of": view.as_of,
        "include_superseded": view.include_superseded or None,
        "include_expired": view.include_expired or None,
        "where": view.where,
    }


def _params(**fields: Any) -> Params:
    return {name: _text(value) for name, value in fields.items() if value is not None}


def _text(value: Any) -> str | list[str]:
    if isinstance(value, tuple):
        return [*value]
    plain = value.text if isinstance(value, Where) else _plain(value)
    return "true" if plain is True else str(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ScopePattern):
        return str(value)
    if isinstance(value, Where):
        return value.json
    return dict(value) if isinstance(value, Mapping) else value


def _place(named: Named) -> str:
    if isinstance(named, Key):
        return f"/memories/by-key/{_segment(named.name, _STEPS)}"
    return f"/memories/{_segment(named, _ROUTES)}"


def _segment(name: str, taken: frozenset[str]) -> str:
    # A name may be that of a route, or of a step in a path.
    written = quote(name, safe="")
    return f"%{ord(name[0]):02X}{written[1:]}" if name in taken else written


def _owner(user_id: str | None) -> dict[str, str | bytes]:
    return {} if user_id is None else {"X-User-Id": text_header(user_id)}
