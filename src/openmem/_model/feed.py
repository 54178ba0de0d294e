"""The request for a page of the feed of changes, and what of it a caller may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from openmem._model.access import Patterns, matches_any
from openmem._model.scopes import EVERYTHING, parse_pattern
from openmem.errors import InvalidRequestError

DEFAULT_CHANGES: Final = 100
ERASURE: Final = 0
"""The version that the audit log notes for an erasure of many: no memory has it."""
ERASURE_OF_MOVED: Final = -1
"""The same, where some of the erased memories were in other scopes before."""


@dataclass(frozen=True, slots=True)
class FeedQuery:
    """The changes behind a cursor, oldest first: of one user, or with `None` of all.

    `visible` are the scopes whose changes the caller may see; `None` is all of them.
    """

    user_id: str | None
    cursor: str | None = None
    limit: int = DEFAULT_CHANGES
    visible: Patterns | None = None

    @property
    def binding(self) -> tuple[object, ...]:
        """The values that a cursor is bound to. The grants are none: a feed outlives the key that began it."""
        return (self.user_id,)

    def shows(self, memory_id: str | None, scope: str | None) -> bool:
        """Return whether the caller may see a change; an erasure of many is seen if it may be of what they may read."""
        if self.visible is None:
            return True
        if memory_id is not None:
            return matches_any(self.visible, scope)
        erased = EVERYTHING if scope is None else parse_pattern(scope)
        return any(erased.covers(one) or one.covers(erased) for one in self.visible)


def expired_cursor() -> InvalidRequestError:
    """Return the error for a cursor behind which entries were removed before they were read."""
    return InvalidRequestError(
        "cursor: changes behind it were removed from the audit log, which keeps them for a time only; read everything "
        "anew, and go on without a cursor",
        details={"reason": "cursor_expired"},
    )


def foreign_cursor() -> InvalidRequestError:
    """Return the error for a cursor that is ahead of the store: it is of another one, or of a later state of it."""
    return InvalidRequestError(
        "cursor: the store has not come so far: it is another one, or was restored; read everything anew, and go on "
        "without a cursor",
        details={"reason": "cursor_ahead"},
    )
