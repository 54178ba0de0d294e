"""The models of the feed of changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

from openmem.types._base import OMPModel, UtcDatetime, field, field_names

ChangeAction = Literal["add", "update", "delete", "delete_all"]


class Change(OMPModel):
    """One write: what was done to which memory, when, and by which app. It never holds content.

    `version` is the memory's after an `add` or `update`, and its last one for a `delete`; `None` where the store
    does not know it any more. A `delete_all` names no memory, and as its `scope` the pattern that was erased, `None`
    for everything. What was done before to memories that it erased is left out. If it is `moved`, some of them were in
    other scopes before: who keeps a copy looks which of the user's memories are still there. With `cursor` the feed
    goes on behind this change.
    """

    action: ChangeAction
    user_id: str
    memory_id: str | None = None
    scope: str | None = None
    version: int | None = None
    timestamp: UtcDatetime | None = None
    app: str | None = None
    moved: bool | None = None
    cursor: str | None = None


class ChangePage(OMPModel):
    """Some changes, oldest first. It is used like the list of its `items`, as a `MemoryPage` is.

    `next_cursor` is always there: with it the feed goes on, now if `has_more`, else as soon as something changes.
    """

    items: list[Change]
    next_cursor: str
    has_more: bool = False

    def __iter__(self) -> Iterator[Change]:  # type: ignore[override]
        """Return an iterator over the changes."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return how many changes are on this page."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> list[Change]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a change, some of them, or for `dict` the field of a name."""
        return field(self, index) if isinstance(index, str) else self.items[index]

    def keys(self) -> list[str]:
        """Return the names of the fields, for `dict`."""
        return field_names(self)
