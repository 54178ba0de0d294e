"""The route of the feed of changes: a page, or a stream of server-sent events that goes on until its client leaves.

A stream asks for the next page again and again, with pauses in which it does not count among the requests that run, and
holds no more than a page: while a client does not read, nothing is asked for. It ends

1. when the client leaves: the request is cancelled;
2. when the server is told to stop, at the next pause: the client comes again, to another process, with `Last-Event-ID`;
3. when its key does not work any more, or the memory fails: the client comes again, and is told so as an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Final

from openmem import OMPError
from openmem._protocol.event_stream import EVENT_STREAM, beat, events, opening, wants_events
from openmem._protocol.refusals import OverloadedError
from openmem.server.middleware.admission import RETRY_SECONDS
from openmem.server.routes.request import RequestContext
from openmem.server.routes.responses import Reply, Stream, changes_reply
from openmem.server.services.timing import clock, pause
from openmem.types import ChangePage

PAUSE: Final = 0.5
"""Seconds between two looks for something new."""
BEAT: Final = 15.0
"""Seconds after which a stream without a change says that it is still there."""
KEY_SECONDS: Final = 2.0
"""Seconds for which a key is taken to work still."""

_HEADERS: Final = ((b"x-accel-buffering", b"no"),)  # a proxy would keep events back until it has enough of them


async def get_changes(request: RequestContext) -> Reply | Stream:
    """Answer GET /changes: a page, or events if the client accepts these."""
    query = request.query
    user_id, limit = request.user_or_any(query.text("user_id")), query.whole("limit", 100)
    streams = wants_events(request.header("accept")) and request.scope["method"] == "GET"
    cursor = query.text("cursor")
    if streams:
        cursor = request.header("last-event-id") or cursor  # it is what the client has seen since it asked first
    # The first page is read before the reply begins: what is wrong is still answered as an error.
    page = await request.memory().changes(user_id, cursor=cursor, limit=limit)
    if not streams:
        return changes_reply(page)
    if request.service.streams.are_full:
        raise OverloadedError("the server has too many streams at once", retry_after=RETRY_SECONDS)
    return Stream(EVENT_STREAM, _events(request, user_id, page, limit), _HEADERS)


async def _events(
    request: RequestContext, user_id: str | None, page: ChangePage, limit: int
) -> AsyncGenerator[bytes, None]:
    admission, rest = request.service.admission, partial(pause, PAUSE)
    with request.service.streams, suppress(OMPError):  # the client comes again, and is told why
        # The id is that of the last event sent: it must not be beyond those of this page.
        yield opening(None if page.items else page.next_cursor)
        spoke = checked = clock()
        while True:
            if page.items:
                yield events(page.items)
                spoke = clock()
            elif clock() - spoke >= BEAT:
                yield beat(page.next_cursor)
                spoke = clock()
            if not page.has_more:
                await admission.released_during(rest)()
            if not admission.is_open:
                return
            request.begin_again()
            if clock() - checked >= KEY_SECONDS:
                await request.check_key()
                checked = clock()
            page = await request.memory().changes(user_id, cursor=page.next_cursor, limit=limit)
