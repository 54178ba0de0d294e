"""The routes of single memories, and of many at once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from openmem import UNSET, AsyncMemory, IdempotencySeed, InvalidRequestError, OMPError, ProviderError
from openmem._protocol.etags import etag, expected_version, is_known, replaced_version, wants_absent
from openmem._protocol.json_bodies import as_whole, refuse_unknown, text_member
from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import (
    Reply,
    empty_reply,
    history_reply,
    location,
    model_reply,
    record_reply,
    records_reply,
)
from openmem.server.services.audit import Touched

MAX_BATCH: Final = 10_000

_NEW: Final = frozenset(
    [
        *("content", "user_id", "scope", "tags", "source", "confidence", "valid_from", "valid_to"),
        *("supersedes", "key", "metadata", "if_absent", "if_version", "searchable", "embedding"),
    ]
)
CHANGES: Final = (
    *("content", "scope", "tags", "confidence", "valid_to", "supersedes"),
    *("metadata", "metadata_patch", "searchable", "embedding"),
)
_BATCH: Final = frozenset(("items", "user_id"))
_WAIT: Final = frozenset(("ids", "user_id"))


async def add_memory(request: RequestContext) -> Reply:
    """Answer POST /memories."""
    fields = request.json()
    given = {"content": None, **{name: fields.pop(name) for name in _NEW & fields.keys()}}
    given["user_id"] = user_id = request.user(text_member(given, "user_id"))
    _take_terms(given, wants_absent(request.header("if-none-match")), replaced_version(request.header("if-match")))

    async def act(seed: IdempotencySeed | None) -> Reply:
        memory, audit = request.memory(seed), request.service.audit
        async with audit.writing(request, "add", Touched(user_id, None, given.get("scope"))):
            record = await memory.add(**given, extra=fields)
        await audit.enter_records(request, "add", [record])
        reply = record_reply(record, 201)
        return reply.with_header("location", location(request.scope.get("root_path", ""), record.id))

    return await request.service.replies.once(request, user_id, act)


async def add_memories(request: RequestContext) -> Reply:
    """Answer POST /memories/batch."""
    fields = request.json()
    refuse_unknown(fields, _BATCH)
    items = fields.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise InvalidRequestError(f"items must be a list of 1 to {MAX_BATCH} memories")
    for item in items:
        if isinstance(item, dict) and "if_version" in item:
            item["if_version"] = as_whole(item["if_version"])
    user_id = request.user_or_any(text_member(fields, "user_id"))

    async def act(seed: IdempotencySeed | None) -> Reply:
        memory, audit = request.memory(seed), request.service.audit
        async with audit.writing(request, "add", *_targets(items, user_id)):
            records = await memory.add_many(items, user_id=user_id)
        await audit.enter_records(request, "add", records)
        return records_reply(records, 201)

    return await request.service.replies.once(request, _only_user(items, user_id), act)


async def get_memory(request: RequestContext) -> Reply:
    """Answer GET /memories/{id}."""
    record = await request.memory().get(request.id(), user_id=request.owner())
    await request.service.audit.enter_records(request, "get", [record])
    if is_known(request.header("if-none-match"), record.version):
        return empty_reply(304).with_header("etag", etag(record.version))
    return record_reply(record)


async def update_memory(request: RequestContext) -> Reply:
    """Answer PATCH /memories/{id}."""
    fields = request.json()
    changes = {name: fields.pop(name, UNSET) for name in CHANGES}
    owner = request.owner(text_member(fields, "user_id"))
    fields.pop("user_id", None)
    version = expected_version(request.header("if-match"))
    id, memory, audit = request.id(), request.memory(), request.service.audit
    owner, touched = await _touched(request, memory, id, owner)
    async with audit.writing(request, "update", *touched):
        record = await memory.update(id, user_id=owner, if_version=version, **changes, extra=fields)
    await audit.enter_records(request, "update", [record])
    return record_reply(record)


async def delete_memory(request: RequestContext) -> Reply:
    """Answer DELETE /memories/{id}."""
    id, owner, memory = request.id(), request.owner(), request.memory()
    if request.header("if-match") is not None:
        raise InvalidRequestError("If-Match cannot be used with DELETE")
    audit = request.service.audit
    owner, touched = await _touched(request, memory, id, owner)
    try:
        async with audit.writing(request, "delete", *touched):
            await memory.delete(id, user_id=owner)
    except ProviderError:
        if request.caller.access.patterns("delete") is None:  # else it may be a memory that was none of theirs
            with suppress(OMPError):
                await request.service.replies.erase(request, id, owner)
        raise
    await audit.enter(request, "delete", *touched)
    await request.service.replies.erase(request, id, owner)
    return empty_reply()


async def delete_memories(request: RequestContext) -> Reply:
    """Answer DELETE /memories, which erases all memories of a user."""
    user_id, scope = request.query.text("user_id"), request.query.text("scope")
    if user_id is None:
        raise InvalidRequestError("user_id is required: an erasure names its user in the query string")
    memory, audit, touched = request.memory(), request.service.audit, Touched(user_id, None, scope)
    async with audit.writing(request, "delete", touched):
        receipt = await memory.delete_all(user_id, scope=scope, where=request.query.json("where"))
        await request.service.replies.forget(user_id)
        for name, (erased, left) in (await audit.forget(user_id, scope)).items():
            receipt.erased[name], receipt.remaining[name] = erased, left
    await audit.enter(request, "delete", touched)
    return model_reply(receipt)


async def get_history(request: RequestContext) -> Reply:
    """Answer GET /memories/{id}/history."""
    id = request.id()
    query = request.query
    page = await request.memory().history(
        id, user_id=request.owner(), limit=query.whole("limit", 100), cursor=query.text("cursor")
    )
    if page:
        await request.service.audit.enter(request, "get", Touched(page[0].user_id, id))
    return history_reply(page)


async def wait_for_memories(request: RequestContext) -> Reply:
    """Answer POST /memories/wait."""
    fields = request.json()
    refuse_unknown(fields, _WAIT)
    user_id = request.user(text_member(fields, "user_id"))
    ids: Any = fields.get("ids")
    await request.memory().wait_for_ingest(ids, user_id)
    return empty_reply()


def _take_terms(given: dict[str, Any], absent: bool, version: int | None) -> None:
    """Put what the headers of a request say about what may be there to what its body says."""
    if given.get("if_absent") is None:
        given["if_absent"] = False
    given["if_version"] = as_whole(given.get("if_version"))
    for name, header, said in (("if_absent", "If-None-Match", absent or None), ("if_version", "If-Match", version)):
        if said is not None:
            if given.get(name) not in (None, False):
                raise InvalidRequestError(f"give {name} or {header}, not both: they are the same")
            given[name] = said


def _targets(items: list[Any], default: str | None) -> list[Touched]:
    """Return what a batch is about to touch, as far as its items say so: which of them are wrong comes later."""
    named = [(item.get("user_id") or default, item.get("scope")) for item in items if isinstance(item, dict)]
    return [Touched(user_id, None, scope) for user_id, scope in named if isinstance(user_id, str)]


async def _touched(
    request: RequestContext, memory: AsyncMemory, id: str, owner: str | None
) -> tuple[str | None, tuple[Touched, ...]]:
    """Return whose a memory is, if the server's audit log must know it, and what to enter there."""
    if owner is None and await request.service.audit.needed():
        owner = (await memory.get(id)).user_id
    return owner, () if owner is None else (Touched(owner, id),)


def _only_user(items: list[Any], default: str | None) -> str | None:
    users = [item.get("user_id") or default for item in items if isinstance(item, dict)]
    only = users[0] if users else None
    return only if isinstance(only, str) and all(user == only for user in users) else None
