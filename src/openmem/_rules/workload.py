"""The requests that take so long to compute that they must not be computed on an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openmem._model.requests import Change, Draft
from openmem._rules.drafting import is_large

MANY_DRAFTS: Final = 100
LONG_TEXT: Final = 4_000
"""Characters of a text whose words are found beside the event loop: in some scripts it takes ten milliseconds."""


def take_long(drafts: Sequence[Draft], *, singly: bool = False) -> bool:
    """Return whether storing drafts takes more than a few milliseconds of computing, besides the waiting.

    Args:
        drafts: The drafts.
        singly: They may be stored one by one, with little to compute for each.
    """
    return (len(drafts) > MANY_DRAFTS and not singly) or any(map(is_large_draft, drafts))


def is_large_draft(draft: Draft) -> bool:
    """Return whether finding the words of a draft, or writing its extensions as JSON, takes milliseconds."""
    if len(draft.content) > LONG_TEXT:
        return True
    return bool(draft.extensions or draft.metadata) and is_large(draft.extensions, draft.metadata)


def is_large_change(change: Change) -> bool:
    """Return whether the new values of a change take long in the same way."""
    fields = change.fields
    objects = [value for name in ("extensions", "metadata", "metadata_patch") if (value := fields.get(name))]
    return len(fields.get("content") or "") > LONG_TEXT or (bool(objects) and is_large(*objects))
