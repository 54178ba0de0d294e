"""Reads bodies: as a whole, or line by line as they arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from openmem import InvalidRequestError
from openmem.server.routes.disconnects import ClientGoneError

if TYPE_CHECKING:
    from starlette.types import Receive

    from openmem.server.middleware.body_budget import Reading

MAX_LINE_BYTES: Final = 16 * 1024 * 1024


async def read_body(receive: Receive, reading: Reading) -> bytes:
    """Return the whole body.

    Args:
        receive: Where it comes from.
        reading: Counts it.

    Raises:
        OverloadedError: All that are on their way take too much, and this one has been for the longest time.
    """
    body = bytearray()
    async for part in parts_of(receive):
        body += part
        reading.grow(len(part))
    reading.complete()
    return bytes(body)


async def skip_body(receive: Receive) -> None:
    """Take a body and drop it."""
    async for _ in parts_of(receive):
        pass


async def parts_of(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises:
        ClientGoneError: The connection ended before the body did.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def lines_of(receive: Receive) -> AsyncIterator[str]:
    """Yield the lines of a body as they arrive; only a line feed ends one.

    Raises:
        InvalidRequestError: A line is not UTF-8 or too long; `details["line"]` holds its number.
    """
    pending, number = bytearray(), 0
    async for part in parts_of(receive):
        pending += part
        *lines, rest = pending.split(b"\n") if b"\n" in part else (pending,)
        for line in lines:
            number += 1
            yield _text_of(line, number)
        pending = rest
        if len(pending) > MAX_LINE_BYTES:
            raise _wrong_line(number + 1, f"must have at most {MAX_LINE_BYTES} bytes")
    if pending:
        yield _text_of(pending, number + 1)


def _text_of(line: bytes | bytearray, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise _wrong_line(number, "is not UTF-8") from None


def _wrong_line(number: int, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"line {number}: {what}", details={"line": number})
