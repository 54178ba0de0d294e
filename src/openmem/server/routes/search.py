"""The routes that look for memories, and the audit log."""

from __future__ import annotations

from typing import Any, Final, cast

from openmem import InvalidRequestError
from openmem._protocol.json_bodies import as_whole, refuse_unknown, text_member
from openmem.server.routes.request import MAX_WAIT, RequestContext
from openmem.server.routes.responses import Reply, entries_reply, json_reply, model_reply, page_reply, results_reply
from openmem.server.services.audit import Touched
from openmem.types import Capabilities, ListOrder

_CONTEXT: Final = frozenset(("query", "user_id", "scope", "token_budget", "tags", "as_of", "where"))
_SEARCH: Final = (
    *("q", "user_id", "scope", "limit", "offset", "min_score", "tags", "mode", "as_of"),
    *("include_superseded", "include_expired", "explain", "purpose", "where", "embedding"),
)


async def get_capabilities(request: RequestContext) -> Reply:
    """Answer GET /capabilities."""
    said = await request.service.memory.capabilities()
    features = said.features.model_dump()
    if request.service.store is not None:
        features["idempotency_keys"] = True
    # Read again: a provider may have changed what it says without a check, and the lists of the protocol are closed.
    return model_reply(Capabilities.model_validate({**said.model_dump(), "features": features}))


async def list_memories(request: RequestContext) -> Reply:
    """Answer GET /memories."""
    query = request.query
    user_id, scope = request.user(query.text("user_id")), query.text("scope")
    page = await request.memory().list(
        user_id,
        scope=scope,
        tag=query.text("tag"),
        since=query.time("since"),
        until=query.time("until"),
        limit=query.whole("limit", 50),
        cursor=query.text("cursor"),
        as_of=query.time("as_of"),
        include_superseded=query.flag("include_superseded"),
        include_expired=query.flag("include_expired"),
        order=cast("ListOrder", query.word("order", "created")),
        descending=query.flag("descending", default=True),
        where=query.json("where"),
    )
    await request.service.audit.enter(request, "list", Touched(user_id, None, scope))
    return page_reply(page)


async def search_memories(request: RequestContext) -> Reply:
    """Answer GET /memories/search."""
    query = request.query
    given = {
        "q": query.text_named("q", elsewhere="query"),
        "user_id": query.text("user_id"),
        "scope": query.text("scope"),
        "limit": query.whole("limit", 10),
        "offset": query.whole("offset", 0),
        "min_score": query.number("min_score"),
        "tags": query.texts("tags"),
        "mode": query.word("mode", "hybrid"),
        "as_of": query.time("as_of"),
        "include_superseded": query.flag("include_superseded"),
        "include_expired": query.flag("include_expired"),
        "explain": query.flag("explain"),
        "purpose": query.word("purpose", "search"),
        "where": query.json("where"),
    }
    return await _search(request, given)


async def search_at_length(request: RequestContext) -> Reply:
    """Answer POST /memories/search: the same, for what is too long for an address."""
    fields = request.json()
    if "query" in fields:  # as the first client of the protocol calls it
        if "q" in fields:
            raise InvalidRequestError("give q or query, not both: they are the same")
        fields["q"] = fields.pop("query")
    refuse_unknown(fields, frozenset((*_SEARCH, "query")))
    given = {name: value for name, value in fields.items() if value is not None}
    for name in ("limit", "offset"):
        if name in given:
            given[name] = as_whole(given[name])
    return await _search(request, given)


async def _search(request: RequestContext, given: dict[str, Any]) -> Reply:
    user_id = request.user(text_member(given, "user_id"))
    given.pop("user_id", None)
    words, purpose = given.pop("q", None), given.pop("purpose", "search")
    if words is None:
        raise InvalidRequestError("q is required: what is looked for")
    results = await request.memory().search(words, user_id, purpose=purpose, **given)
    await request.service.audit.enter(request, purpose, Touched(user_id, None, given.get("scope")))
    return results_reply(results)


async def get_context(request: RequestContext) -> Reply:
    """Answer POST /context."""
    fields = request.json()
    refuse_unknown(fields, _CONTEXT)
    user_id = request.user(text_member(fields, "user_id"))
    budget = fields.get("token_budget")
    block = await request.memory().context(
        cast("Any", fields.get("query")),
        user_id,
        scope=fields.get("scope"),
        token_budget=500 if budget is None else as_whole(budget),
        tags=fields.get("tags"),
        as_of=fields.get("as_of"),
        where=fields.get("where"),
    )
    await request.service.audit.enter(request, "context", Touched(user_id, None, fields.get("scope")))
    return model_reply(block)


async def get_audit(request: RequestContext) -> Reply:
    """Answer GET /audit."""
    query = request.query
    user_id, app, since = request.user(query.text("user_id")), query.text("app"), query.time("since")
    limit = query.whole("limit", 100)
    if await request.service.audit.needed():
        return entries_reply(await request.service.audit.entries(request, user_id, app, since, limit))
    return entries_reply(await request.memory().audit(user_id, app=app, since=since, limit=limit))


async def reembed(request: RequestContext) -> Reply:
    """Answer POST /reembed: it takes as long as it takes, unless the client will not wait as long."""
    wanted = request.client_timeout
    report = await request.memory().reembed(timeout=None if wanted is None else min(wanted, MAX_WAIT))
    return json_reply(report.model_dump_json().encode())
