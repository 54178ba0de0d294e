"""The routes of single memories, and of many at once."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final

from openmem import UNSET, AsyncMemory, InvalidRequestError, OMPError, ProviderError, Seed, VersionConflictError
from openmem.server.routes.bodies import refuse_unknown
from openmem.server.routes.request import Exchange
from openmem.server.routes.responses import (
    Reply,
    empty_reply,
    etag,
    history_reply,
    location,
    model_reply,
    record_reply,
    records_reply,
)
from openmem.server.services.audit import Touched

MAX_BATCH: Final = 10_000

_NEW: Final = frozenset(
    ["content", "user_id", "scope", "tags", "source", "confidence", "valid_from", "valid_to", "supersedes", "key"]
)
_CHANGES: Final = ("content", "scope", "tags", "confidence", "valid_to", "supersedes")
_BATCH: Final = frozenset(("items", "user_id"))
_WAIT: Final = frozenset(("ids", "user_id"))
_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


async def add_memory(exchange: Exchange) -> Reply:
    """Answer POST /memories."""
    fields = exchange.json()
    given = {"content": None, **{name: fields.pop(name) for name in _NEW & fields.keys()}}
    given["user_id"] = user_id = exchange.user(_text_or_none(given, "user_id"))

    async def act(seed: Seed | None) -> Reply:
        memory, journal = exchange.memory(seed), exchange.service.journal
        async with journal.writing(exchange, "add", Touched(user_id, None, given.get("scope"))):
            record = await memory.add(**given, extra=fields)
        await journal.enter_records(exchange, "add", [record])
        reply = record_reply(record, 201)
        return reply.with_header("location", location(exchange.scope.get("root_path", ""), record.id))

    return await exchange.service.replies.once(exchange, user_id, act)


async def add_memories(exchange: Exchange) -> Reply:
    """Answer POST /memories/batch."""
    fields = exchange.json()
    refuse_unknown(fields, _BATCH)
    items = fields.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        raise InvalidRequestError(f"items must be a list of 1 to {MAX_BATCH} memories")
    user_id = exchange.user_or_any(_text_or_none(fields, "user_id"))

    async def act(seed: Seed | None) -> Reply:
        memory, journal = exchange.memory(seed), exchange.service.journal
        async with journal.writing(exchange, "add", *_targets(items, user_id)):
            records = await memory.add_many(items, user_id=user_id)
        await journal.enter_records(exchange, "add", records)
        return records_reply(records, 201)

    return await exchange.service.replies.once(exchange, _only_user(items, user_id), act)


async def get_memory(exchange: Exchange) -> Reply:
    """Answer GET /memories/{id}."""
    record = await exchange.memory().get(exchange.id(), user_id=exchange.owner())
    await exchange.service.journal.enter_records(exchange, "get", [record])
    if _is_known(exchange.header("if-none-match"), record.version):
        return empty_reply(304).with_header("etag", etag(record.version))
    return record_reply(record)


async def update_memory(exchange: Exchange) -> Reply:
    """Answer PATCH /memories/{id}."""
    fields = exchange.json()
    changes = {name: fields.pop(name, UNSET) for name in _CHANGES}
    owner = exchange.owner(_text_or_none(fields, "user_id"))
    fields.pop("user_id", None)
    version = _expected_version(exchange.header("if-match"))
    id, memory, journal = exchange.id(), exchange.memory(), exchange.service.journal
    owner, touched = await _touched(exchange, memory, id, owner)
    async with journal.writing(exchange, "update", *touched):
        record = await memory.update(id, user_id=owner, if_version=version, **changes, extra=fields)
    await journal.enter_records(exchange, "update", [record])
    return record_reply(record)


async def delete_memory(exchange: Exchange) -> Reply:
    """Answer DELETE /memories/{id}."""
    id, owner, memory = exchange.id(), exchange.owner(), exchange.memory()
    if exchange.header("if-match") is not None:
        raise InvalidRequestError("If-Match cannot be used with DELETE")
    journal = exchange.service.journal
    owner, touched = await _touched(exchange, memory, id, owner)
    try:
        async with journal.writing(exchange, "delete", *touched):
            await memory.delete(id, user_id=owner)
    except ProviderError:
        if exchange.caller.access.patterns("delete") is None:  # else it may be a memory that was none of theirs
            with suppress(OMPError):
                await exchange.service.replies.erase(exchange, id, owner)
        raise
    await journal.enter(exchange, "delete", *touched)
    await exchange.service.replies.erase(exchange, id, owner)
    return empty_reply()


async def delete_memories(exchange: Exchange) -> Reply:
    """Answer DELETE /memories, which erases all memories of a user."""
    user_id, scope = exchange.query.text("user_id"), exchange.query.text("scope")
    if user_id is None:
        raise InvalidRequestError("user_id is required: an erasure names its user in the query string")
    memory, journal, touched = exchange.memory(), exchange.service.journal, Touched(user_id, None, scope)
    async with journal.writing(exchange, "delete", touched):
        receipt = await memory.delete_all(user_id, scope=scope)
        await exchange.service.replies.forget(user_id)
        for name, (erased, left) in (await journal.forget(user_id, scope)).items():
            receipt.erased[name], receipt.remaining[name] = erased, left
    await journal.enter(exchange, "delete", touched)
    return model_reply(receipt)


async def get_history(exchange: Exchange) -> Reply:
    """Answer GET /memories/{id}/history."""
    id = exchange.id()
    query = exchange.query
    page = await exchange.memory().history(
        id, user_id=exchange.owner(), limit=query.whole("limit", 100), cursor=query.text("cursor")
    )
    if page:
        await exchange.service.journal.enter(exchange, "get", Touched(page[0].user_id, id))
    return history_reply(page)


async def wait_for_memories(exchange: Exchange) -> Reply:
    """Answer POST /memories/wait."""
    fields = exchange.json()
    refuse_unknown(fields, _WAIT)
    user_id = exchange.user(_text_or_none(fields, "user_id"))
    ids: Any = fields.get("ids")
    await exchange.memory().wait_for_ingest(ids, user_id)
    return empty_reply()


def _text_or_none(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string, not {type(value).__name__}")
    return value


def _targets(items: list[Any], default: str | None) -> list[Touched]:
    """Return what a batch is about to touch, as far as its items say so: which of them are wrong comes later."""
    named = [(item.get("user_id") or default, item.get("scope")) for item in items if isinstance(item, dict)]
    return [Touched(user_id, None, scope) for user_id, scope in named if isinstance(user_id, str)]


async def _touched(
    exchange: Exchange, memory: AsyncMemory, id: str, owner: str | None
) -> tuple[str | None, tuple[Touched, ...]]:
    """Return whose a memory is, if the server's journal must know it, and what to enter there."""
    if owner is None and await exchange.service.journal.needed():
        owner = (await memory.get(id)).user_id
    return owner, () if owner is None else (Touched(owner, id),)


def _only_user(items: list[Any], default: str | None) -> str | None:
    users = [item.get("user_id") or default for item in items if isinstance(item, dict)]
    only = users[0] if users else None
    return only if isinstance(only, str) and all(user == only for user in users) else None


def _is_known(header: str | None, version: int) -> bool:
    if header is None:
        return False
    return header.strip() == "*" or any(tag == str(version) for _, tag in _TAG.findall(header))


def _expected_version(header: str | None) -> int | None:
    if header is None or header.strip() == "*":
        return None
    found = _TAG.fullmatch(header.strip())
    if found is None:
        raise InvalidRequestError('If-Match must be one version in quotes, such as "3", or *')
    weak, tag = found.groups()
    if weak or not _VERSION.fullmatch(tag):
        raise VersionConflictError("If-Match names no version of this memory")
    return int(tag)
