"""The models of overviews: scopes, tags and users, with counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, overload

from openmem.types._base import OMPModel, UtcDatetime, field, field_names

T = TypeVar("T")


class Overview(list[T]):
    """A list of what there is, with counts. `truncated` says that some were left off, as there are too many."""

    truncated: bool

    def __init__(self, items: Iterable[T] = (), *, truncated: bool = False) -> None:
        super().__init__(items)
        self.truncated = truncated


class ScopeInfo(OMPModel):
    """The memories of a scope, counted by how they stand now; `scope` is `None` for those that have none.

    A memory that another one hides counts as superseded, any other outside of its time of validity as expired, and the
    rest as current. `last_change` is when one of them was stored or changed last; an erasure leaves no trace in it.
    """

    scope: str | None = None
    current: int
    superseded: int
    expired: int
    last_change: UtcDatetime | None = None


class TagInfo(OMPModel):
    """A tag, and how many current memories have it."""

    tag: str
    count: int


class UserInfo(OMPModel):
    """The memories of a user, counted as those of a scope are in `ScopeInfo`."""

    user_id: str
    current: int
    superseded: int
    expired: int
    last_change: UtcDatetime | None = None


class UserPage(OMPModel):
    """A page of users; `next_cursor` is `None` on the last one.

    It is used like the list of its `items`, as a `MemoryPage` is.
    """

    items: list[UserInfo]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[UserInfo]:  # type: ignore[override]
        """Return an iterator over the users."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return how many users are on this page."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> UserInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[UserInfo]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a user, some of them, or for `dict` the field of a name."""
        return field(self, index) if isinstance(index, str) else self.items[index]

    def keys(self) -> list[str]:
        """Return the names of the fields, for `dict`."""
        return field_names(self)
