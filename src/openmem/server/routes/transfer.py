"""The routes that move memories as lines of JSON, neither of which ever holds them all."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, Final, cast

from openmem import AsyncMemory, ProviderError
from openmem._protocol.json_bodies import check_lines_type
from openmem.server.routes.bodies import lines_of
from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import Reply, Stream, model_reply
from openmem.server.services.audit import Touched
from openmem.server.services.import_audit import ImportAudit
from openmem.server.services.timing import off_loop
from openmem.types import ExportPage

LINES_PER_PAGE: Final = 200

_NDJSON: Final = "application/x-ndjson"


async def export_memories(request: RequestContext) -> Reply | Stream:
    """Answer GET /export: one page if a limit is given, else everything as it is read."""
    query = request.query
    user_id, cursor = request.user_or_any(query.text("user_id")), query.text("cursor")
    limit = None if query.text("limit") is None else query.whole("limit", LINES_PER_PAGE)
    memory = request.memory()
    # The first page is read before the reply begins: what is wrong is still answered as an error.
    page = await memory.export(user_id, cursor=cursor, limit=LINES_PER_PAGE if limit is None else limit)
    await _enter(request, user_id, page)
    if limit is None and request.scope["method"] == "GET":
        return Stream(_NDJSON, _rest(request, memory, user_id, page))
    reply = Reply(200, partial(_bytes_of, page), large=True).with_header("content-type", _NDJSON)
    return reply if page.next_cursor is None else reply.with_header("x-next-cursor", page.next_cursor)


async def import_memories(request: RequestContext) -> Reply:
    """Answer POST /import: lines are stored in batches while the rest is still on its way."""
    check_lines_type(request.header("content-type"), request.header("content-encoding"))
    request.caller.access.need("write", None)  # before a long body is read for nothing
    conflict = cast("Any", request.query.word("conflict", "skip"))
    memory, lines = request.memory(), lines_of(request.receive_while_allowed)
    if not await request.service.audit.needed():
        return model_reply(await memory.import_(lines, conflict=conflict))
    audit = ImportAudit(request, lines)
    try:
        report = await memory.import_(audit.lines(), conflict=conflict, on_progress=audit.note)
    except BaseException as error:
        await audit.enter(error)
        raise
    await audit.enter()
    return model_reply(report)


async def _rest(
    request: RequestContext, memory: AsyncMemory, user_id: str | None, page: ExportPage
) -> AsyncGenerator[bytes, None]:
    yield await off_loop(_bytes_of, page)
    seen: set[str] = set()
    while page.next_cursor is not None:
        if page.next_cursor in seen:
            raise ProviderError("the provider gave a cursor again that has led to a page already")
        seen.add(page.next_cursor)
        await request.check_key()
        page = await memory.export(user_id, cursor=page.next_cursor, limit=LINES_PER_PAGE)
        await _enter(request, user_id, page)
        yield await off_loop(_bytes_of, page)


async def _enter(request: RequestContext, user_id: str | None, page: ExportPage) -> None:
    """Enter a page for each user on it, or for the user asked for if it is empty."""
    if await request.service.audit.needed():
        whose = await off_loop(_users_of, page) or ([] if user_id is None else [user_id])
        await request.service.audit.enter(request, "list", *map(Touched, whose))


def _users_of(page: ExportPage) -> list[str]:
    memories = [json.loads(line).get("memory") for line in page.lines]
    return [*dict.fromkeys(memory["user_id"] for memory in memories if memory is not None)]


def _bytes_of(page: ExportPage) -> bytes:
    return "".join(f"{line}\n" for line in page.lines).encode()
