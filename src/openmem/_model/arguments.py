"""The types of arguments, as a type checker sees them: at run time everything is checked anyway.

A misspelt argument, option, field or provider is an error of the type checker. So there are no open `**names: Any`
here: what has no name of its own goes into `extra=`, and a provider of a third party is named with `ProviderName`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from typing import Any, Literal, NewType, Protocol, Required, TypeAlias, TypedDict, TypeVar, overload

from openmem.types import Capabilities, MemorySource, ReadyVector

T_co = TypeVar("T_co", covariant=True)

BuiltInProvider: TypeAlias = Literal["sqlite", "postgres", "passthrough", "mem0", "supermemory", "letta"]
ProviderName = NewType("ProviderName", str)
"""The name of a provider that another package brings: `Memory(ProviderName("acme"), endpoint="…")`."""

Time: TypeAlias = datetime | str
"""A timezone-aware datetime, or ISO 8601 text with an offset."""
Source: TypeAlias = MemorySource | Mapping[str, Any]
"""A `MemorySource`, or a mapping with `app`, `type`, `ref` and members of your own."""

Filter: TypeAlias = Mapping[str, Any]
"""A filter on metadata: `{"lang": "py", "pages": {"$gt": 9}, "a.b": {"$in": [1, 2]}}`."""


class ListOf(Protocol[T_co]):
    """A list, a tuple or another sequence, but no text: `str` is a sequence of `str`, and never what is meant.

    A text is told from the others by what it may be asked whether it contains.
    """

    @overload
    def __getitem__(self, index: int, /) -> T_co: ...
    @overload
    def __getitem__(self, index: slice, /) -> ListOf[T_co]: ...
    def __contains__(self, value: object, /) -> bool:
        """Return whether it holds a value of any type."""
        ...

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __iter__(self) -> Iterator[T_co]:
        """Return an iterator."""
        ...


Texts: TypeAlias = ListOf[str] | Set[str]
"""Several texts."""


class NoExtensions(TypedDict):
    """Of names that begin with `x-` a type checker knows nothing: give them in `extra=`."""


class MemoryItem(TypedDict, total=False):
    """A memory as a mapping: the items of `add_many`. Items with members of your own are `MemoryInput` objects."""

    content: Required[str]
    user_id: str | None
    scope: str | None
    tags: Texts | None
    source: Source | None
    confidence: float | None
    valid_from: Time | None
    valid_to: Time | None
    supersedes: Texts | None
    key: str | None
    metadata: Mapping[str, Any] | None
    if_absent: bool | None
    if_version: int | None
    searchable: bool
    embedding: ReadyVector | None


class ProviderOptions(TypedDict, total=False):
    """The options of the built-in providers. One that the chosen provider does not have is refused at construction."""

    # sqlite, postgres
    audit_days: float | None
    versions: int | None
    # sqlite
    synchronous: Literal["normal", "full"]
    cache_mb: int
    # postgres
    schema: str
    text_search: str
    migrate: bool
    pool_min_size: int
    pool_max_size: int
    pool_timeout: float
    statement_cache: bool
    group_adds: bool
    hnsw: bool
    hnsw_from: int
    distribute: bool
    # passthrough
    capabilities: Capabilities | Mapping[str, Any]
    transport: Any
    # mem0, supermemory, letta
    client: Any
    workers: int
    mode: Literal["hosted", "oss"]
    config: Mapping[str, Any]
    infer: bool
    task_type: Literal["superrag", "memory"]
    dreaming: Literal["dynamic", "instant"]
    embedding: str
