"""The words of the protocol: pydantic models whose names and fields are those of the OMP specification.

Every model keeps fields it does not know (`extra="allow"`), so `x-<provider>` keys and fields of later
versions survive a round trip. All times are timezone-aware and normalised to UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC as UTC
from enum import Enum
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeGuard, get_args, overload

from pydantic import model_validator

from openmem.types._base import Confidence, OMPModel, UtcDatetime, field, field_names
from openmem.types._changes import Change, ChangeAction, ChangePage
from openmem.types._overview import (
    Overview,
    ScopeInfo,
    TagInfo,
    UserInfo,
    UserPage,
)
from openmem.types._reports import (
    ErasureReceipt,
    Error,
    ErrorDetail,
    ErrorType,
    ExportPage,
    Health,
    ImportReport,
    ReembedReport,
    TransferLoss,
    TransferProgress,
    TransferReport,
    TransferStage,
)
from openmem.types._vectors import ReadyVector

# fmt: off
__all__ = [
    "OWN_MEMBER", "PROTOCOL_VERBS", "UNSET", "Action", "AuditEntry", "Capabilities", "CapabilityFeatures",
    "CapabilityLimits", "Change", "ChangeAction", "ChangePage", "Citation", "Confidence", "ContextBlock",
    "ErasureReceipt", "Error", "ErrorDetail", "ErrorType", "ExportPage", "Health", "ImportConflict", "ImportReport",
    "ListOrder", "Memory", "MemoryInput", "MemoryPage", "MemoryRecord", "MemorySource", "MemoryUpdate", "OMPModel",
    "Overview", "ReadyVector", "ReembedReport", "ScopeInfo", "ScopeSupport", "SearchMode", "SearchPurpose",
    "SearchResult", "SourceType", "Status", "TagInfo", "TokenCounter", "TransferConflict", "TransferLoss",
    "TransferProgress", "TransferReport", "TransferStage", "Unset", "UserInfo", "UserPage", "UtcDatetime", "Verb",
]
# fmt: on

Verb = Literal["add", "search", "get", "update", "delete", "list", "context", "audit"]
Status = Literal["queued", "indexing", "done", "failed"]
SourceType = Literal["extracted", "explicit", "imported"]
ScopeSupport = Literal["native", "tags", "none"]
Action = Literal["add", "search", "get", "update", "delete", "list", "context"]
SearchMode = Literal["hybrid", "vector", "keyword"]
ListOrder = Literal["created", "updated", "valid_from"]
SearchPurpose = Literal["search", "context"]
ImportConflict = Literal["skip", "overwrite", "duplicate"]
TransferConflict = Literal["skip", "overwrite"]
TokenCounter = Callable[[str], int]
"""A function that counts the tokens of a text in the way of a model."""

PROTOCOL_VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
OWN_MEMBER: Final = "x-openmem"
"""The member under which what is openmem's own stands in objects of the protocol."""


class Unset(Enum):
    """The type of `UNSET`, the default of an argument whose `None` has a meaning of its own."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


def _is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


class MemorySource(OMPModel):
    """The origin of a memory: the app, how it was made, and an opaque pointer back."""

    app: str | None = None
    type: SourceType | None = None
    ref: str | None = None


class MemoryRecord(OMPModel):
    """One stored memory. In `openmem.types` it is called `Memory`, too, as in the protocol."""

    unsaid: ClassVar[Mapping[str, object]] = MappingProxyType({"searchable": True})

    id: str
    content: str
    user_id: str
    created_at: UtcDatetime
    scope: str | None = None
    tags: list[str] | None = None
    source: MemorySource | None = None
    confidence: Confidence | None = None
    valid_from: UtcDatetime | None = None
    valid_to: UtcDatetime | None = None
    supersedes: list[str] | None = None
    embedding_model: str | None = None
    updated_at: UtcDatetime | None = None
    status: Status | None = None
    version: int = 1
    key: str | None = None
    metadata: dict[str, Any] | None = None
    searchable: bool = True


Memory: TypeAlias = MemoryRecord


class MemoryInput(OMPModel):
    """The arguments of `add`, as one object: the items of `add_many` and the body of `POST /memories`."""

    content: str
    user_id: str
    scope: str | None = None
    tags: list[str] | None = None
    source: MemorySource | None = None
    confidence: Confidence | None = None
    valid_from: UtcDatetime | None = None
    valid_to: UtcDatetime | None = None
    supersedes: list[str] | None = None
    key: str | None = None
    metadata: dict[str, Any] | None = None
    if_absent: bool | None = None
    if_version: int | None = None
    searchable: bool = True
    embedding: ReadyVector | None = None


class MemoryUpdate(OMPModel):
    """The arguments of `update`, as one object. A field that was not set is left alone; `None` clears it."""

    content: str | None = None
    scope: str | None = None
    tags: list[str] | None = None
    confidence: Confidence | None = None
    valid_to: UtcDatetime | None = None
    supersedes: list[str] | None = None
    metadata: dict[str, Any] | None = None
    metadata_patch: dict[str, Any] | None = None
    searchable: bool | None = None
    embedding: ReadyVector | None = None


class MemoryPage(OMPModel):
    """A page of memories; `next_cursor` is `None` on the last one.

    It is used like the list of its `items`: a loop, `len`, an index, a slice. It is false if it holds none, which says
    nothing about the pages after it. `dict(page)` holds the fields, as of every model.
    """

    items: list[MemoryRecord]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[MemoryRecord]:  # type: ignore[override]
        """Return an iterator over the memories."""
        return iter(self.items)

    def __len__(self) -> int:
        """Return how many memories are on this page."""
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> MemoryRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[MemoryRecord]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a memory, some of them, or for `dict` the field of a name."""
        return field(self, index) if isinstance(index, str) else self.items[index]

    def keys(self) -> list[str]:
        """Return the names of the fields, for `dict`."""
        return field_names(self)


class SearchResult(OMPModel):
    """A memory that matched, with its score in [0, 1]. `explain` is filled in on request."""

    memory: MemoryRecord
    score: float
    explain: dict[str, Any] | None = None


class Citation(OMPModel):
    """The memory behind a numbered line of a `ContextBlock`, and its relevance in [0, 1]."""

    memory_id: str
    score: float


class ContextBlock(OMPModel):
    """Text to put into a prompt. Line `[n]` of `text` is `citations[n - 1]`."""

    text: str
    citations: list[Citation]
    token_count: int | None = None


class CapabilityFeatures(OMPModel):
    """The abilities of a provider. `None` means that it makes no statement."""

    vector_search: bool | None = None
    keyword_search: bool | None = None
    graph_queries: bool | None = None
    temporal: bool | None = None
    scopes: ScopeSupport | None = None
    max_content_length: int | None = None
    supports_e2e: bool | None = None
    supports_audit: bool | None = None
    supports_supersession: bool | None = None
    status_field: bool | None = None
    async_ingestion: bool | None = None
    auto_chunking: bool | None = None


class CapabilityLimits(OMPModel):
    """Limits that a provider declares."""

    rate_limit_per_minute: int | None = None
    max_search_results: int | None = None


class Capabilities(OMPModel):
    """The version of the protocol, the provider's name, its verbs, features and limits.

    `verbs` are those of the protocol, a closed list of eight. The others that a provider has, such as `history`, stand
    in the extension `x-openmem`; `all_verbs` is both. Given verbs are sorted into the two by themselves.
    """

    omp_version: str
    provider: str
    verbs: list[Verb]
    features: CapabilityFeatures
    limits: CapabilityLimits | None = None

    @property
    def all_verbs(self) -> list[str]:
        """The verbs of the protocol and the others."""
        return [*self.verbs, *self._own_names("verbs")]

    @property
    def arguments(self) -> list[str]:
        """The arguments of verbs that came later than the protocol and that are taken, such as `where`."""
        return self._own_names("arguments")

    def _own_names(self, member: str) -> list[str]:
        own = (self.model_extra or {}).get(OWN_MEMBER)
        names = own.get(member) if isinstance(own, Mapping) else None
        return [name for name in names if isinstance(name, str)] if _is_list(names) else []

    @model_validator(mode="before")
    @classmethod
    def _sort_verbs(cls, value: Any) -> Any:
        # Providers, and servers of before, name all verbs in one list.
        given = value.get("verbs") if isinstance(value, Mapping) else None
        if not _is_list(given):
            return value
        others = [name for name in given if isinstance(name, str) and name not in PROTOCOL_VERBS]
        if not others:
            return value
        own = value.get(OWN_MEMBER)
        own = dict(own) if isinstance(own, Mapping) else {}
        known = own.get("verbs")
        before = [name for name in known if isinstance(name, str)] if _is_list(known) else []
        own["verbs"] = [*dict.fromkeys([*before, *others])]
        return {**value, "verbs": [name for name in given if name not in others], OWN_MEMBER: own}


class AuditEntry(OMPModel):
    """One line of the audit log: who did what to which memory, and when. It never holds content."""

    timestamp: UtcDatetime | None = None
    app: str | None = None
    action: Action | None = None
    memory_id: str | None = None
    scope: str | None = None
    request_id: str | None = None
