"""Reads bodies: one JSON object, or lines of JSON as they arrive. Whatever is wrong with them is a 400."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from openmem import InvalidRequestError
from openmem._text.misspellings import closest, did_you_mean, shown
from openmem.server.middleware.errors import UnsupportedMediaError
from openmem.server.routes.disconnects import ClientGoneError

if TYPE_CHECKING:
    from starlette.types import Receive

    from openmem.server.middleware.body_budget import Reading

MAX_LINE_BYTES: Final = 16 * 1024 * 1024

_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"})


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


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body holds.

    Raises:
        InvalidRequestError: It is no JSON object in UTF-8, names a member twice, is nested too deeply, or holds
            NaN, Infinity, or a number that is too long.
    """
    try:
        value = json.loads(body.decode(), object_pairs_hook=_object_of, parse_constant=_refuse)
    except InvalidRequestError:
        raise
    except UnicodeDecodeError:
        raise InvalidRequestError("the body must be UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequestError("the body is nested too deeply") from None
    except ValueError:
        raise InvalidRequestError("the body holds a number that is too long") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return value


def check_json_type(content_type: str | None, encoding: str | None) -> None:
    """Check that a body is said to be JSON, or is not said to be anything.

    Raises:
        UnsupportedMediaError: It is something else, compressed, or in another character set.
    """
    kind = _kind_of(content_type, encoding)
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaError("the body must be application/json")


def check_lines_type(content_type: str | None, encoding: str | None) -> None:
    """Check that a body is said to be lines of JSON, or is not said to be anything."""
    kind = _kind_of(content_type, encoding)
    if kind and kind not in _LINES:
        raise UnsupportedMediaError("the body must be application/x-ndjson")


def refuse_unknown(body: Mapping[str, Any], known: frozenset[str]) -> None:
    """Check that a body has no members but those known.

    Raises:
        InvalidRequestError: Names the first unknown member, and the one that may be meant.
    """
    for name in body.keys() - known:
        meant = did_you_mean(closest(name, sorted(known))) or f": the body may hold {', '.join(sorted(known))}"
        raise InvalidRequestError(f"{shown(name)} is unknown{meant}")


def text_member(body: Mapping[str, Any], name: str) -> str | None:
    """Return a member that is a text, or `None` if it is missing or null.

    Raises:
        InvalidRequestError: It is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a string, not {type(value).__name__}")
    return value


def as_whole(value: Any) -> Any:
    """Return 1 for 1.0, which is the same number to JSON, and anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _kind_of(content_type: str | None, encoding: str | None) -> str:
    if encoding and encoding.strip().lower() != "identity":
        raise UnsupportedMediaError("the body must not be compressed")
    kind, _, rest = (content_type or "").partition(";")
    charset = rest.lower().partition("charset=")[2].partition(";")[0].strip(' "')
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaError("the body must be UTF-8")
    return kind.strip().lower()


def _text_of(line: bytes | bytearray, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise _wrong_line(number, "is not UTF-8") from None


def _wrong_line(number: int, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"line {number}: {what}", details={"line": number})


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidRequestError("the body names a member of an object twice")
    return value


def _refuse(constant: str) -> NoReturn:
    raise InvalidRequestError(f"the body is not JSON: {constant} is no JSON value")
