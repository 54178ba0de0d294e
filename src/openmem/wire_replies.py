"""What an OMP server answers, as the types of the protocol. Whatever is not as it must be is a `ProviderError`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from openmem.errors import ProviderError
from openmem.http_errors import Endpoint, decode_json
from openmem.http_messages import HttpReply
from openmem.types import (
    AuditEntry,
    Capabilities,
    ContextBlock,
    ErasureReceipt,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    ReembedReport,
    SearchResult,
)

T = TypeVar("T")

BLOCK: Final = TypeAdapter(ContextBlock)
CAPABILITIES: Final = TypeAdapter(Capabilities)
ENTRIES: Final = TypeAdapter(list[AuditEntry])
PAGE: Final = TypeAdapter(MemoryPage)
RECEIPT: Final = TypeAdapter(ErasureReceipt)
RECORD: Final = TypeAdapter(MemoryRecord)
RECORDS: Final = TypeAdapter(list[MemoryRecord])
REEMBEDDED: Final = TypeAdapter(ReembedReport)
REPORT: Final = TypeAdapter(ImportReport)
RESULTS: Final = TypeAdapter(list[SearchResult])


def read(endpoint: Endpoint, reply: HttpReply, kind: TypeAdapter[T], member: str | None = None) -> T:
    """Return what a reply says.

    Args:
        endpoint: Who answered.
        reply: The reply.
        kind: What it must be.
        member: The member of the reply's object that is meant; older servers send its value alone.

    Raises:
        ProviderError: The reply is empty, no JSON, or something else than it must be.
    """
    payload = decode_json(endpoint, reply.body)
    if payload is None:
        raise _wrong(endpoint, "with an empty response")
    if member is not None and isinstance(payload, Mapping):
        payload = payload.get(member)
    return _validated(endpoint, payload, kind)


def read_capabilities(endpoint: Endpoint, reply: HttpReply) -> Capabilities | None:
    """Return what a server can do, or `None` if it does not speak the protocol."""
    try:
        payload = decode_json(endpoint, reply.body)
    except ProviderError:
        return None
    if not isinstance(payload, dict) or not isinstance(payload.get("omp_version"), str):
        return None
    try:
        return CAPABILITIES.validate_python(payload)
    except ValidationError as error:
        places = [one["loc"] for one in error.errors(include_url=False, include_context=False, include_input=False)]
    try:
        # A later version of the protocol may know other values of what this one knows.
        return CAPABILITIES.validate_python(_without(payload, places))
    except ValidationError:
        return None


def read_export(endpoint: Endpoint, reply: HttpReply) -> tuple[list[MemoryRecord], str | None]:
    """Return the records of a page of an export, and the cursor of the next page."""
    lines = [decode_json(endpoint, line) for line in reply.body.split(b"\n") if line.strip()]
    if not all(isinstance(line, Mapping) for line in lines):
        raise _wrong(endpoint, "something unexpected instead of an export")
    records = [line.get("memory") for line in lines if "format" not in line]
    return _validated(endpoint, records, RECORDS), reply.headers.get("x-next-cursor") or None


def _validated(endpoint: Endpoint, payload: Any, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_python(payload)
    except ValidationError as error:
        # The library's own text quotes what was received.
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"][:6])[:80]
    raise _wrong(endpoint, f"something unexpected: {place or 'the reply'}: {first['msg'][:120]}")


def _without(payload: dict[str, Any], places: list[tuple[int | str, ...]]) -> dict[str, Any]:
    kept = dict(payload)
    for part in ("features", "limits"):
        dropped = {place[1] for place in places if len(place) > 1 and place[0] == part}
        if isinstance(payload.get(part), dict):
            kept[part] = {name: value for name, value in payload[part].items() if name not in dropped}
    return kept


def _wrong(endpoint: Endpoint, what: str) -> ProviderError:
    return ProviderError(f"{endpoint.server} answered {what}", provider=endpoint.provider)
