"""An `add` that may be repeated: how it is known that it was done before, and what is answered then."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from openmem._model.access import Access
from openmem._model.requests import Draft
from openmem._rules.writing import changed
from openmem.types import MemoryRecord


def made_at(states: Iterable[MemoryRecord], draft: Draft, at: datetime) -> MemoryRecord | None:
    """Return the state of a memory that storing a draft at a time made, or `None`.

    Two `add` of the same draft at the same microsecond leave the same, so this proves that it was done.
    """
    wanted = _marks(draft)
    return next((one for one in states if one.updated_at == at and _marks(changed(one, {})) == wanted), None)


def answer_again(access: Access | None, stored: MemoryRecord, first: MemoryRecord) -> MemoryRecord:
    """Return the answer to an `add` that was done before: what is stored, or if the caller may not see that, what
    was answered first."""
    return stored if access is None or access.may("read", stored.scope) else first


def _marks(draft: Draft) -> tuple[Any, ...]:
    extensions = {name: value for name, value in draft.extensions.items() if value is not None}
    parts = (draft.content, draft.scope, draft.tags or (), draft.source or {}, draft.confidence)
    own = (draft.key, extensions, draft.metadata, draft.searchable)
    return (*parts, draft.valid_from, draft.valid_to, draft.supersedes or (), *own)
