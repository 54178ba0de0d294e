"""Reads answers of an OMP server as the types of the protocol. One that is not as it must be is a `ProviderError`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from openmem._model.checks import MAX_NAME, MAX_VERSION
from openmem._model.finite import is_finite
from openmem._model.results import HistoryPage, SearchResults
from openmem._protocol.http_errors import TOO_MUCH, Endpoint, decode_json
from openmem._protocol.http_messages import HttpReply
from openmem._protocol.json_size import MOST_OF_A_PAGE, MOST_OF_A_REPLY, is_larger_than
from openmem._protocol.slices import Sliced, read_in_slices
from openmem.errors import ProviderError
from openmem.types import (
    AuditEntry,
    Capabilities,
    ChangePage,
    Citation,
    ContextBlock,
    ErasureReceipt,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    OMPModel,
    Overview,
    ReembedReport,
    ScopeInfo,
    SearchResult,
    TagInfo,
    UserInfo,
    UserPage,
)

T = TypeVar("T")

READ_AT_ONCE: Final = 32 * 1024
"""Bytes of a reply that an event loop can read itself, in a millisecond or so."""


class _Line(TypedDict):
    memory: MemoryRecord


class _Items(TypedDict):
    items: list[MemoryRecord]


class _Entries(TypedDict):
    entries: list[AuditEntry]


class Found(OMPModel):
    """The results of a search, and whether some were left off."""

    results: list[SearchResult]
    truncated: bool = False


class _Scopes(OMPModel):
    scopes: list[ScopeInfo]
    truncated: bool = False


class _Tags(OMPModel):
    tags: list[TagInfo]
    truncated: bool = False


BLOCK: Final = TypeAdapter(ContextBlock)
CHANGES: Final = TypeAdapter(ChangePage)
CAPABILITIES: Final = TypeAdapter(Capabilities)
ENTRIES: Final = TypeAdapter(list[AuditEntry])
PAGE: Final = TypeAdapter(MemoryPage)
RECEIPT: Final = TypeAdapter(ErasureReceipt)
RECORD: Final = TypeAdapter(MemoryRecord)
LINE: Final = TypeAdapter(_Line)
RECORDS: Final = TypeAdapter(list[MemoryRecord])
REEMBEDDED: Final = TypeAdapter(ReembedReport)
REPORT: Final = TypeAdapter(ImportReport)
RESULTS: Final = TypeAdapter(list[SearchResult])
FOUND: Final = TypeAdapter(Found)
_USERS: Final = TypeAdapter(UserPage)
_SCOPES: Final = TypeAdapter(_Scopes)
_TAGS: Final = TypeAdapter(_Tags)

_MEMBERS: Final[Mapping[tuple[int, str], TypeAdapter[Any]]] = {
    (id(RECORDS), "items"): TypeAdapter(_Items),
    (id(ENTRIES), "entries"): TypeAdapter(_Entries),
}


_SLICED: Final[Mapping[int, Sliced]] = {
    id(PAGE): Sliced(RECORDS, "items"),
    id(FOUND): Sliced(RESULTS, "results"),
    id(RECORDS): Sliced(RECORDS),
    id(RESULTS): Sliced(RESULTS),
    id(ENTRIES): Sliced(ENTRIES),
    id(_SCOPES): Sliced(TypeAdapter(list[ScopeInfo]), "scopes"),
    id(_TAGS): Sliced(TypeAdapter(list[TagInfo]), "tags"),
    id(_USERS): Sliced(TypeAdapter(list[UserInfo]), "items"),
}


def read(endpoint: Endpoint, reply: HttpReply, kind: TypeAdapter[T], member: str | None = None) -> T:
    """Return what a reply says. Types are those of the protocol: a number is no text, and a flag is no number.

    Args:
        endpoint: Who answered.
        reply: The reply.
        kind: What it must be.
        member: The member of the reply's object that is meant; older servers send its value alone.

    Raises:
        ProviderError: The reply is empty, no JSON, or something else than it must be.
    """
    body = reply.body.strip()
    if not body:
        raise _wrong(endpoint, "with an empty response")
    pages = id(kind) in _SLICED
    if is_larger_than(body, MOST_OF_A_PAGE if pages else MOST_OF_A_REPLY):
        raise _wrong(endpoint, TOO_MUCH)
    inside = _MEMBERS[id(kind), member] if member is not None and body[:1] == b"{" else None
    try:
        value: T = _read(body, kind) if inside is None else _read(body, inside, Sliced(kind, member))[member]
    except ValidationError as error:
        # The library's own text quotes what was received.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    else:
        _check_numbers(endpoint, value)
        if not is_finite(value):
            raise _wrong(endpoint, "a number that is not finite")
        return value
    if first["type"] == "json_invalid":
        raise _wrong(endpoint, "something that is not JSON")
    place = ".".join(str(part) for part in first["loc"][:6])[:80]
    named = "".join(c if c.isprintable() else " " for c in place) or "the reply"
    raise _wrong(endpoint, f"something unexpected: {named}: {first['msg'][:120]}")


def _read(body: bytes, kind: TypeAdapter[T], how: Sliced | None = None) -> T:
    how = how or _SLICED.get(id(kind))
    if how is not None and len(body) > READ_AT_ONCE:
        with suppress(ValidationError):  # the whole, read once more, says where in it something is wrong
            value = read_in_slices(body, kind, how)
            if value is not None:
                return value
    return kind.validate_json(body, strict=True)


def read_found(endpoint: Endpoint, reply: HttpReply) -> SearchResults:
    """Return what a search found; older servers send the results alone."""
    if reply.body.lstrip()[:1] == b"[":
        results = read(endpoint, reply, RESULTS)
        return SearchResults(results)
    found = read(endpoint, reply, FOUND)
    return SearchResults(found.results, truncated=found.truncated)


def read_scopes(endpoint: Endpoint, reply: HttpReply) -> Overview[ScopeInfo]:
    """Return the scopes of a user."""
    found = read(endpoint, reply, _SCOPES)
    _check_counts(endpoint, found.scopes)
    return Overview(found.scopes, truncated=found.truncated)


def read_tags(endpoint: Endpoint, reply: HttpReply) -> Overview[TagInfo]:
    """Return the tags of a user."""
    found = read(endpoint, reply, _TAGS)
    _check_counts(endpoint, found.tags)
    return Overview(found.tags, truncated=found.truncated)


def read_users(endpoint: Endpoint, reply: HttpReply) -> UserPage:
    """Return a page of users."""
    page = read(endpoint, reply, _USERS)
    _check_counts(endpoint, page.items)
    return page


def read_history(endpoint: Endpoint, reply: HttpReply) -> HistoryPage:
    """Return a page of a history; older servers send all records, and some send them alone."""
    if reply.body.lstrip()[:1] == b"[":
        records = read(endpoint, reply, RECORDS)
        return HistoryPage(records)
    page = read(endpoint, reply, PAGE)
    return HistoryPage(page.items, page.next_cursor)


def read_capabilities(endpoint: Endpoint, reply: HttpReply) -> Capabilities | None:
    """Return what a server can do, or `None` if it does not speak the protocol."""
    try:
        payload = decode_json(endpoint, reply.body)
    except ProviderError:
        return None
    if not isinstance(payload, dict) or not isinstance(payload.get("omp_version"), str):
        return None
    try:
        return CAPABILITIES.validate_python(payload, strict=True)
    except ValidationError as error:
        places = [one["loc"] for one in error.errors(include_url=False, include_context=False, include_input=False)]
    try:
        # A later version of the protocol may know other values of what this one knows.
        return CAPABILITIES.validate_python(_without(payload, places), strict=True)
    except ValidationError:
        return None


def read_export(endpoint: Endpoint, reply: HttpReply) -> tuple[list[MemoryRecord], str | None]:
    """Return the records of a page of an export, and the cursor of the next page.

    Raises:
        ProviderError: A line is not what it must be.
    """
    if is_larger_than(reply.body, MOST_OF_A_PAGE):
        raise _wrong(endpoint, TOO_MUCH)
    records = []
    for line in reply.body.split(b"\n"):
        parsed = decode_json(endpoint, line)
        if parsed is not None and not isinstance(parsed, dict):
            raise _wrong(endpoint, "something unexpected instead of an export")
        if parsed and "format" not in parsed:
            records.append(read(endpoint, HttpReply(reply.status, {}, line), LINE)["memory"])
    return records, reply.headers.get("x-next-cursor") or None


def _check_numbers(endpoint: Endpoint, value: object) -> None:
    """Refuse numbers that JSON or a type can hold and the protocol cannot."""
    for part in value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]:
        if isinstance(part, MemoryPage):
            _check_numbers(endpoint, part.items)
        elif isinstance(part, Found):
            _check_numbers(endpoint, part.results)
        elif isinstance(part, ContextBlock):
            _check_numbers(endpoint, part.citations)
        elif isinstance(part, SearchResult | Citation) and not 0.0 <= part.score <= 1.0:
            raise _wrong(endpoint, "a score that is not between 0 and 1")
        record = part.memory if isinstance(part, SearchResult) else part
        if isinstance(record, MemoryRecord) and not 1 <= record.version <= MAX_VERSION:
            raise _wrong(endpoint, "a version that is none")
        if isinstance(record, MemoryRecord) and not (record.id.strip() and record.user_id.strip()):
            raise _wrong(endpoint, "a memory without its id or its user")


def _check_counts(endpoint: Endpoint, infos: Iterable[ScopeInfo | TagInfo | UserInfo]) -> None:
    for info in infos:
        counts = [info.count] if isinstance(info, TagInfo) else [info.current, info.superseded, info.expired]
        if min(counts) < 0:
            raise _wrong(endpoint, "a count below 0")


def _without(payload: dict[str, Any], places: list[tuple[int | str, ...]]) -> dict[str, Any]:
    kept = dict(payload)
    for part in ("features", "limits"):
        dropped = {place[1] for place in places if len(place) > 1 and place[0] == part}
        if isinstance(payload.get(part), dict):
            kept[part] = {name: value for name, value in payload[part].items() if name not in dropped}
    return kept


def _wrong(endpoint: Endpoint, what: str) -> ProviderError:
    return ProviderError(f"{endpoint.server} answered {what}", provider=endpoint.provider)


def read_place(reply: HttpReply) -> str | None:
    """Return the id of the memory that a reply says it is about, in `Content-Location`; `None` if it says nothing."""
    place = reply.headers.get("content-location")
    id = "" if place is None else unquote(place.rpartition("/")[2])
    return id if 0 < len(id) <= MAX_NAME else None
