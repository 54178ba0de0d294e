"""The routes of single memories by the caller's own name of them."""

from __future__ import annotations

from contextlib import suppress

from openmem import UNSET, InvalidRequestError, OMPError, ProviderError
from openmem._protocol.etags import etag, expected_version, is_known
from openmem._protocol.json_bodies import text_member
from openmem.server.routes.memories import CHANGES
from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import Reply, empty_reply, history_reply, record_reply, with_place
from openmem.server.services.audit import Touched


async def get_memory(request: RequestContext) -> Reply:
    """Answer GET /memories/by-key/{key}."""
    record = await request.memory().get(key=request.key(), user_id=request.owner())
    await request.service.audit.enter_records(request, "get", [record])
    if is_known(request.header("if-none-match"), record.version):
        return _placed(request, record.id, empty_reply(304).with_header("etag", etag(record.version)))
    return _placed(request, record.id, record_reply(record))


async def update_memory(request: RequestContext) -> Reply:
    """Answer PATCH /memories/by-key/{key}."""
    fields = request.json()
    changes = {name: fields.pop(name, UNSET) for name in CHANGES}
    owner = request.owner(text_member(fields, "user_id"))
    fields.pop("user_id", None)
    version = expected_version(request.header("if-match"))
    memory, audit = request.memory(), request.service.audit
    async with audit.writing(request, "update", *_touched(owner)):
        record = await memory.update(key=request.key(), user_id=owner, if_version=version, **changes, extra=fields)
    await audit.enter_records(request, "update", [record])
    return _placed(request, record.id, record_reply(record))


async def delete_memory(request: RequestContext) -> Reply:
    """Answer DELETE /memories/by-key/{key}."""
    key, owner, memory = request.key(), request.owner(), request.memory()
    if request.header("if-match") is not None:
        raise InvalidRequestError("If-Match cannot be used with DELETE")
    audit = request.service.audit
    try:
        async with audit.writing(request, "delete", *_touched(owner)):
            id = await memory._delete_by_key(key, owner)
    except ProviderError:
        if owner is not None and request.caller.access.patterns("delete") is None:
            with suppress(OMPError):
                await _erase_replies(request, None, owner)
        raise
    assert owner is not None, "a key without a user was refused"
    await audit.enter(request, "delete", Touched(owner, id))
    await _erase_replies(request, id, owner)
    return empty_reply() if id is None else _placed(request, id, empty_reply())


async def get_history(request: RequestContext) -> Reply:
    """Answer GET /memories/by-key/{key}/history."""
    key, query = request.key(), request.query
    page = await request.memory().history(
        key=key, user_id=request.owner(), limit=query.whole("limit", 100), cursor=query.text("cursor")
    )
    if page:
        own = next((state.id for state in page if state.key == key), None)
        await request.service.audit.enter(request, "get", Touched(page[0].user_id, own))
    return history_reply(page)


async def _erase_replies(request: RequestContext, id: str | None, owner: str) -> None:
    """Erase the kept replies that hold a memory which was deleted, or if its id is not known, all of its user's."""
    if id is None:
        await request.service.replies.forget(owner)
    else:
        await request.service.replies.erase(request, id, owner)


def _touched(owner: str | None) -> tuple[Touched, ...]:
    return () if owner is None else (Touched(owner),)


def _placed(request: RequestContext, id: str, reply: Reply) -> Reply:
    """Return a reply that says where the memory is by its id."""
    return with_place(reply, request.scope.get("root_path", ""), id)
