"""Replies: bytes that are ready to be sent, and the headers of the protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic import TypeAdapter

from openmem import HistoryPage, MemoryPage, MemoryRecord, SearchResult, SearchResults
from openmem._protocol.etags import etag
from openmem._protocol.request_heads import Headers
from openmem.server.services.timing import off_loop
from openmem.types import (
    AuditEntry,
    ChangePage,
    Overview,
    ScopeInfo,
    TagInfo,
    UserInfo,
    UserPage,
)

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.types import Send

_JSON = (b"content-type", b"application/json")
_records = TypeAdapter(list[MemoryRecord])
_results = TypeAdapter(list[SearchResult])
_entries = TypeAdapter(list[AuditEntry])
_scopes = TypeAdapter(list[ScopeInfo])
_tags = TypeAdapter(list[TagInfo])
_users = TypeAdapter(list[UserInfo])

MANY_RECORDS: Final = 100
MANY_CHARACTERS: Final = 64 * 1024
MANY_PARTS: Final = 2_000
"""From how many records on, characters of contents, or values in extensions, a body is made off the event loop."""
_AT_ONCE: Final = 16  # records that pydantic writes in one go, for which no other thread runs


class Reply:
    """A whole reply: a status, headers and a body of known length.

    Args:
        status: The HTTP status.
        body: What is sent after the headers, or what makes it, so that HEAD makes none; `None` for a reply that has
            no body at all.
        headers: Headers in lower case, without the length.
        memory_ids: The memories that the body holds.
        large: Making the body takes more than a few milliseconds.
    """

    __slots__ = ("_make", "body", "headers", "large", "memory_ids", "status")

    def __init__(
        self,
        status: int,
        body: bytes | Callable[[], bytes] | None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        memory_ids: Sequence[str] = (),
        *,
        large: bool = False,
    ) -> None:
        self.status = status
        self._make = body if callable(body) else None
        self.body = None if callable(body) else body
        self.large = large
        self.memory_ids = memory_ids
        self.headers: Headers = [*headers]

    async def complete(self) -> Reply:
        """Make the body, off the event loop if that takes long, and return the reply."""
        make, self._make = self._make, None
        if make is not None:
            self.body = await off_loop(make) if self.large else make()
        return self

    def with_header(self, name: str, value: str) -> Reply:
        """Add a header and return the reply."""
        self.headers.append((name.encode("ascii"), value.encode("latin-1", "replace")))
        return self

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it; to HEAD, the length of a body that would have to be made is not said."""
        headers = self.headers
        if not head:
            await self.complete()
        if self.body is not None:
            headers = [*headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body or b""})


class Stream:
    """A reply whose length is not known yet.

    Args:
        media_type: The type of its content.
        parts: The content, made while it is sent.
        headers: Further headers in lower case.
    """

    __slots__ = ("headers", "parts")

    def __init__(
        self, media_type: str, parts: AsyncGenerator[bytes, None], headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self.parts = parts
        self.headers: Headers = [(b"content-type", media_type.encode("ascii")), *headers]

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it part by part; the next one is made when the connection has taken the last."""
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        async with aclosing(self.parts):
            async for part in self.parts:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def json_reply(body: bytes, status: int = 200) -> Reply:
    """Return a reply whose body is JSON already."""
    return Reply(status, body, (_JSON,))


def model_reply(model: BaseModel, status: int = 200) -> Reply:
    """Return a model as JSON, without what it leaves open."""
    return json_reply(model.model_dump_json(exclude_none=True).encode(), status)


def record_reply(record: MemoryRecord, status: int = 200) -> Reply:
    """Return one memory, with its version as the `ETag`."""

    kept = [record]

    def body() -> bytes:
        return kept.pop().model_dump_json(exclude_none=True).encode()  # and frees it here, as below

    large = _are_large(kept)
    reply = Reply(status, body if large else body(), (_JSON,), [record.id], large=large)
    return reply.with_header("etag", etag(record.version))


def page_reply(page: MemoryPage) -> Reply:
    """Return `{"items": […], "next_cursor": …}`."""
    rest = page.model_dump_json(exclude={"items"}, exclude_none=True).encode()[1:-1]
    return _list_reply(b"items", _records, page.items, rest and b"," + rest, large=_are_large(page.items))


def history_reply(page: HistoryPage) -> Reply:
    """Return `{"items": […], "next_cursor": …}`, with the cursor as `X-Next-Cursor`, too."""
    more = b"" if page.next_cursor is None else b',"next_cursor":' + json.dumps(page.next_cursor).encode()
    reply = _list_reply(b"items", _records, page, more, large=_are_large(page))
    return reply if page.next_cursor is None else reply.with_header("x-next-cursor", page.next_cursor)


def records_reply(records: Sequence[MemoryRecord], status: int = 200) -> Reply:
    """Return `{"items": […]}`."""
    reply = _list_reply(b"items", _records, records, large=_are_large(records))
    reply.status, reply.memory_ids = status, [record.id for record in records]
    return reply


def results_reply(results: SearchResults) -> Reply:
    """Return `{"results": […]}`, and whether some were left off."""
    more = b',"truncated":true' if results.truncated else b""
    return _list_reply(b"results", _results, results, more, large=_are_large([result.memory for result in results]))


def scopes_reply(found: Overview[ScopeInfo]) -> Reply:
    """Return `{"scopes": […]}`, and whether some were left off."""
    return _list_reply(b"scopes", _scopes, found, _cut_short(found), large=len(found) > MANY_RECORDS)


def tags_reply(found: Overview[TagInfo]) -> Reply:
    """Return `{"tags": […]}`, and whether some were left off."""
    return _list_reply(b"tags", _tags, found, _cut_short(found), large=len(found) > MANY_RECORDS)


def users_reply(page: UserPage) -> Reply:
    """Return `{"items": […], "next_cursor": …}`."""
    more = b"" if page.next_cursor is None else b',"next_cursor":' + json.dumps(page.next_cursor).encode()
    return _list_reply(b"items", _users, page.items, more, large=len(page) > MANY_RECORDS)


def entries_reply(entries: Sequence[AuditEntry]) -> Reply:
    """Return `{"entries": […]}`."""
    return _list_reply(b"entries", _entries, entries, large=len(entries) > MANY_RECORDS)


def changes_reply(page: ChangePage) -> Reply:
    """Return `{"items": […], "next_cursor": …, "has_more": …}`."""
    return Reply(
        200, lambda: page.model_dump_json(exclude_none=True).encode(), (_JSON,), large=len(page) > MANY_RECORDS
    )


def empty_reply(status: int = 204) -> Reply:
    """Return a reply without a body."""
    return Reply(status, None)


def location(root: str, id: str) -> str:
    """Return the address of a memory, for the `Location` header."""
    return f"{root}/memories/{quote(id, safe='')}"


def _cut_short(found: Overview[Any]) -> bytes:
    return b',"truncated":true' if found.truncated else b""


def with_place(reply: Reply, root: str, id: str) -> Reply:
    """Return a reply that says where the memory is by its id."""
    return reply.with_header("content-location", location(root, id))


def _are_large(records: Sequence[MemoryRecord]) -> bool:
    """Return whether it takes long to write records as JSON."""
    if len(records) > MANY_RECORDS or sum(len(record.content) for record in records) > MANY_CHARACTERS:
        return True
    own = [part for record in records for part in (record.model_extra, record.metadata) if part]
    return bool(own) and _have_many_parts(own)


def _have_many_parts(values: Sequence[Any]) -> bool:
    parts, count = [*values], 0
    while parts:
        below: list[Any] = []
        for part in parts:
            inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
            count += len(inner)
            if count > MANY_PARTS:
                return True
            below += inner
        parts = below
    return False


def _list_reply(
    name: bytes, adapter: TypeAdapter[Any], items: Sequence[Any], more: bytes = b"", *, large: bool
) -> Reply:
    """Return a list as the member of an object, with what comes after it."""
    kept = [*items]

    def parts() -> Iterator[bytes]:
        for start in range(0, len(kept), _AT_ONCE):
            yield adapter.dump_json(kept[start : start + _AT_ONCE], exclude_none=True)[1:-1]

    def body() -> bytes:
        text = b'{"' + name + b'":[' + b",".join(parts()) + b"]" + more + b"}"
        kept.clear()  # here, off the event loop: to free millions of values takes long, too
        return text

    return Reply(200, body, (_JSON,), large=large)
