"""What goes back to the client: bytes that are ready to be sent, and the headers of the protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter

from openmem import AuditEntry, HistoryPage, MemoryPage, MemoryRecord, SearchResult, SearchResults

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.types import Send

Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_records = TypeAdapter(list[MemoryRecord])
_results = TypeAdapter(list[SearchResult])
_entries = TypeAdapter(list[AuditEntry])


class Reply:
    """A whole reply: a status, headers and a body of known length.

    Args:
        status: The HTTP status.
        body: What is sent after the headers, or what makes it, so that HEAD makes none; `None` for a reply that has
            no body at all.
        headers: Headers in lower case, without the length.
        memory_ids: The memories that the body holds.
    """

    __slots__ = ("_body", "headers", "memory_ids", "status")

    def __init__(
        self,
        status: int,
        body: bytes | Callable[[], bytes] | None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        memory_ids: Sequence[str] = (),
    ) -> None:
        self.status = status
        self._body = body
        self.memory_ids = memory_ids
        self.headers: Headers = [*headers]

    @property
    def body(self) -> bytes | None:
        """What is sent after the headers."""
        if self._body is not None and not isinstance(self._body, bytes):
            self._body = self._body()
        return self._body

    def with_header(self, name: str, value: str) -> Reply:
        """Add a header and return the reply."""
        self.headers.append((name.encode("ascii"), value.encode("latin-1", "replace")))
        return self

    async def send(self, send: Send, *, head: bool = False) -> None:
        """Send it; to HEAD, the length of a body that would have to be made is not said."""
        headers = self.headers
        if head and callable(self._body):
            self._body = None
        if self.body is not None:
            headers = [*headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body or b""})


class Stream:
    """A reply whose length nobody knows yet.

    Args:
        media_type: The type of its content.
        parts: The content, made while it is sent.
    """

    __slots__ = ("headers", "parts")

    def __init__(self, media_type: str, parts: AsyncGenerator[bytes, None]) -> None:
        self.parts = parts
        self.headers: Headers = [(b"content-type", media_type.encode("ascii"))]

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
    body = record.model_dump_json(exclude_none=True).encode()
    return Reply(status, body, (_JSON,), [record.id]).with_header("etag", etag(record.version))


def page_reply(page: MemoryPage) -> Reply:
    """Return `{"items": […], "next_cursor": …}`."""
    return Reply(200, lambda: page.model_dump_json(exclude_none=True).encode(), (_JSON,))


def history_reply(page: HistoryPage) -> Reply:
    """Return `{"items": […], "next_cursor": …}`, with the cursor as `X-Next-Cursor`, too."""

    def body() -> bytes:
        more = b"" if page.next_cursor is None else b',"next_cursor":' + json.dumps(page.next_cursor).encode()
        return b'{"items":' + _records.dump_json([*page], exclude_none=True) + more + b"}"

    reply = Reply(200, body, (_JSON,))
    return reply if page.next_cursor is None else reply.with_header("x-next-cursor", page.next_cursor)


def records_reply(records: Sequence[MemoryRecord], status: int = 200) -> Reply:
    """Return `{"items": […]}`."""
    body = b'{"items":' + _records.dump_json([*records], exclude_none=True) + b"}"
    return Reply(status, body, (_JSON,), [record.id for record in records])


def results_reply(results: SearchResults) -> Reply:
    """Return `{"results": […]}`, and whether some were left off."""
    more = b',"truncated":true' if results.truncated else b""
    return Reply(
        200, lambda: b'{"results":' + _results.dump_json([*results], exclude_none=True) + more + b"}", (_JSON,)
    )


def entries_reply(entries: Sequence[AuditEntry]) -> Reply:
    """Return `{"entries": […]}`."""
    return json_reply(b'{"entries":' + _entries.dump_json([*entries], exclude_none=True) + b"}")


def empty_reply(status: int = 204) -> Reply:
    """Return a reply without a body."""
    return Reply(status, None)


def etag(version: int) -> str:
    """Return the `ETag` of a version."""
    return f'"{version}"'


def location(root: str, id: str) -> str:
    """Return the address of a memory, for the `Location` header."""
    return f"{root}/memories/{quote(id, safe='')}"
