"""Two stores that must answer a caller alike: the whole one, and one in which the rest was never stored.

Ids and times of new memories come from seeds, so both stores can give the very same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from openmem import Access, IdempotencySeed, Memory, MemoryRecord, OMPError, parse_grant
from openmem.errors import ScopeDeniedError

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# When something was changed, and what the audit log says of it, depends on others.
_DROPPED = {"updated_at", "erased_at", "request_id", "exported_at", "audit", "latency_ms"}


@dataclass(frozen=True)
class Caller:
    """A caller with grants, and a store that holds only what the grants are about."""

    access: Access
    shadow: Memory

    def touches(self, user_id: str, scope: str | None) -> bool:
        """Return whether the caller has any grant for such a memory."""
        mine = self.access.user_id in (None, user_id)
        return mine and any(self.access.may(verb, scope) for verb in ("read", "write", "delete"))


def make_access(user_id: str | None, grants: str) -> Access:
    return Access(user_id, tuple(parse_grant(grant) for grant in grants.split()))


def seed(number: int) -> IdempotencySeed:
    """Return the seed of the number-th step of a run."""
    return IdempotencySeed(BEGIN + timedelta(seconds=number), number << 40)


def said(action: Callable[[], Any]) -> Any:
    """Return all that a verb answers, error or not, without what depends on the clock."""
    try:
        return _plain(action())
    except OMPError as error:
        return type(error).__name__, error.message, error.code, error.provider, _plain(error.details)


def records_in(answer: Any) -> list[MemoryRecord]:
    """Return the records that an answer holds."""
    if isinstance(answer, MemoryRecord):
        return [answer]
    if isinstance(answer, BaseModel):
        return [record for name in type(answer).model_fields for record in records_in(getattr(answer, name))]
    if isinstance(answer, list):
        return [record for item in answer for record in records_in(item)]
    return []


def pages(memory: Memory, user_id: str, **named: Any) -> list[MemoryRecord]:
    """Return a listing, page by page."""
    found: list[MemoryRecord] = []
    cursor = None
    while True:
        page = memory.list(user_id, cursor=cursor, **named)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def counted(infos: Iterable[BaseModel]) -> list[dict[str, Any]]:
    """Return what there is, without the times of changes, which differ between stores that were filled one by one."""
    return [info.model_dump(exclude={"last_change"}) for info in infos]


def audited(memory: Memory, user_id: str) -> str:
    """Return whether the audit log may be read; what it says, others have a part in."""
    try:
        memory.audit(user_id)
    except ScopeDeniedError as error:
        return error.message
    return "read"


def changes(memory: Memory, user_id: str) -> list[Any]:
    """Return what the feed of a user shows, but for when that was."""
    page = memory.changes(user_id, limit=1_000)
    return [(one.action, one.memory_id, one.scope, one.version, one.app) for one in page]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _plain({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name not in _DROPPED}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
