"""What goes back to the client: bytes that are ready to be sent, and the headers of the protocol."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import TypeAdapter

from openmem import AuditEntry, MemoryRecord, SearchResult

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
        body: What is sent after the headers; `None` for a reply that has no body at all.
        headers: Headers in lower case, without the length.
        memory_ids: The memories that the body holds.
    """

    __slots__ = ("body", "headers", "memory_ids", "status")

    def __init__(
        self,
        status: int,
        body: bytes | None,
        headers: Iterable[tuple[bytes, bytes]] = (),
        memory_ids: Sequence[str] = (),
    ) -> None:
        self.status = status
        self.body = body
        self.memory_ids = memory_ids
        self.headers: Headers = [*headers]

    def with_header(self, name: str, value: str) -> Reply:
        """Add a header and return the reply."""
        self.headers.append((name.encode("ascii"), value.encode("latin-1", "replace")))
        return self

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = self.headers
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

    async def send(self, send: Send) -> None:
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


def records_reply(records: Sequence[MemoryRecord], status: int = 200) -> Reply:
    """Return `{"items": […]}`."""
    body = b'{"items":' + _records.dump_json([*records], exclude_none=True) + b"}"
    return Reply(status, body, (_JSON,), [record.id for record in records])


def results_reply(results: Sequence[SearchResult]) -> Reply:
    """Return `{"results": […]}`."""
    return json_reply(b'{"results":' + _results.dump_json([*results], exclude_none=True) + b"}")


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
