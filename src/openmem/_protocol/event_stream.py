"""Changes as server-sent events (the type `text/event-stream`). Pure.

Each change is an event whose data is its JSON and whose id is its cursor. A client that comes again says with
`Last-Event-ID` which one it has seen. An event without data moves the id on and is not shown to the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem.types import Change

EVENT_STREAM: Final = "text/event-stream"
RETRY_MILLISECONDS: Final = 1_000
"""Milliseconds after which a client whose stream ended comes again."""


def wants_events(accept: str | None) -> bool:
    """Return whether a client asks for events, given its header `Accept`."""
    kinds = [[part.strip() for part in kind.split(";")] for kind in (accept or "").lower().split(",")]
    return any(kind == EVENT_STREAM and "q=0" not in more for kind, *more in kinds)


def opening(cursor: str | None) -> bytes:
    """Return the begin of a stream, and from where a client goes on that sees no event of it."""
    return (
        b"retry: %d\n\n" % RETRY_MILLISECONDS if cursor is None else b"retry: %d\n" % RETRY_MILLISECONDS + beat(cursor)
    )


def events(changes: Sequence[Change]) -> bytes:
    """Return changes as events."""
    return b"".join(_event(change) for change in changes)


def beat(cursor: str) -> bytes:
    """Return a sign of life, which says how far the feed was read."""
    return f":\nid: {cursor}\n\n".encode("ascii")


def _event(change: Change) -> bytes:
    # JSON has no line break outside of its texts, and in them it is escaped: the data is one line.
    data = change.model_dump_json(exclude_none=True, exclude={"cursor"}).encode()
    return b"id: %s\ndata: %s\n\n" % ((change.cursor or "").encode("ascii"), data)
