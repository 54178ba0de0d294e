"""The words of the protocol: pydantic models whose names and fields are those of the OMP specification.

Every model keeps fields it does not know (`extra="allow"`), so `x-<provider>` keys and fields of later
versions survive a round trip. All times are timezone-aware and normalised to UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC as UTC
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, TypeGuard, get_args, overload

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from openmem._text.shortened import shortened

# fmt: off
__all__ = [
    "OWN_MEMBER", "PROTOCOL_VERBS", "UNSET", "Action", "AuditEntry", "Capabilities", "CapabilityFeatures",
    "CapabilityLimits", "Citation", "Confidence", "ContextBlock", "ErasureReceipt", "Error", "ErrorDetail",
    "ErrorType", "ExportPage", "Health", "ImportConflict", "ImportReport", "Memory", "MemoryInput", "MemoryPage",
    "MemoryRecord", "MemorySource", "MemoryUpdate", "OMPModel", "ReembedReport", "ScopeSupport", "SearchMode",
    "SearchPurpose", "SearchResult", "SourceType", "Status", "TokenCounter", "TransferConflict", "TransferLoss",
    "TransferProgress", "TransferReport", "TransferStage", "Unset", "UtcDatetime", "Verb",
]
# fmt: on

Verb = Literal["add", "search", "get", "update", "delete", "list", "context", "audit"]
Status = Literal["queued", "indexing", "done", "failed"]
SourceType = Literal["extracted", "explicit", "imported"]
ScopeSupport = Literal["native", "tags", "none"]
Action = Literal["add", "search", "get", "update", "delete", "list", "context"]
SearchMode = Literal["hybrid", "vector", "keyword"]
SearchPurpose = Literal["search", "context"]
ImportConflict = Literal["skip", "overwrite", "duplicate"]
TransferConflict = Literal["skip", "overwrite"]
ErrorType = Literal["auth", "not_found", "invalid", "rate_limited", "provider_error"]
TransferStage = Literal["survey", "copy", "verify"]
TokenCounter = Callable[[str], int]
"""A function that counts the tokens of a text in the way of a model."""

PROTOCOL_VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
_INTERRUPTED: Final = re.compile(r"Error calling function `_keep_null_members`: KeyboardInterrupt: ?\Z")
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


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie between the years 1 and 9999 in UTC") from None


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
Confidence = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


def _raise_interrupt(error: PydanticSerializationError) -> None:
    # Pydantic makes an error of its own of all that ends a serializer, of a Ctrl-C too. As JSON, only its text is left.
    if isinstance(error.__cause__, KeyboardInterrupt) or _INTERRUPTED.search(str(error)):
        raise KeyboardInterrupt from None


class OMPModel(BaseModel):
    """Base of every model: unknown fields are kept, aliases and names are both accepted.

    What `repr` shows is what is set, and not too much of it.
    """

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    @model_serializer(mode="wrap")
    def _keep_null_members(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        # `exclude_none` leaves out a field that is not given. A null in an unknown member is a value: it was given.
        fields: dict[str, Any] = serialize(self)
        extra = self.__pydantic_extra__
        if extra and info.exclude_none and info.include is None and info.exclude is None:
            fields.update((name, None) for name, value in extra.items() if value is None)
        return fields

    if not TYPE_CHECKING:  # a type checker sees the signatures of pydantic

        def model_dump(self, **options):
            """Return a dictionary, as pydantic does; a Ctrl-C meanwhile is a `KeyboardInterrupt`."""
            try:
                return super().model_dump(**options)
            except PydanticSerializationError as error:
                _raise_interrupt(error)
                raise

        def model_dump_json(self, **options):
            """Return JSON, as pydantic does; a Ctrl-C meanwhile is a `KeyboardInterrupt`."""
            try:
                return super().model_dump_json(**options)
            except PydanticSerializationError as error:
                _raise_interrupt(error)
                raise

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the fields that have a value, long texts and lists cut short."""
        for name, value in super().__repr_args__():
            if value is not None:
                yield name, shortened(value)


def _field_names(model: OMPModel) -> list[str]:
    return [*type(model).model_fields, *(model.model_extra or ())]


def _field(model: OMPModel, name: str) -> Any:
    if name not in _field_names(model):
        raise KeyError(name)
    return getattr(model, name)


class MemorySource(OMPModel):
    """The origin of a memory: the app, how it was made, and an opaque pointer back."""

    app: str | None = None
    type: SourceType | None = None
    ref: str | None = None


class MemoryRecord(OMPModel):
    """One stored memory. In `openmem.types` it is called `Memory`, too, as in the protocol."""

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


class MemoryUpdate(OMPModel):
    """The arguments of `update`, as one object. A field that was not set is left alone; `None` clears it."""

    content: str | None = None
    scope: str | None = None
    tags: list[str] | None = None
    confidence: Confidence | None = None
    valid_to: UtcDatetime | None = None
    supersedes: list[str] | None = None


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
        return _field(self, index) if isinstance(index, str) else self.items[index]

    def keys(self) -> list[str]:
        """Return the names of the fields, for `dict`."""
        return _field_names(self)


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
        own = (self.model_extra or {}).get(OWN_MEMBER)
        others = own.get("verbs") if isinstance(own, Mapping) else None
        return [*self.verbs, *(name for name in others if isinstance(name, str))] if _is_list(others) else [*self.verbs]

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


class ErasureReceipt(OMPModel):
    """The counts of `delete_all`: what it erased, and what a search for leftovers found.

    `erased` and `remaining` count items by store (memories, vectors, index, history, audit). The erasure is
    proved when every count in `remaining`, taken in the transaction that erased, is zero. `purged` says whether
    the bytes are gone from the files too; `False` if other readers or the deadline did not allow it yet, `None` if
    the provider cannot tell.
    """

    user_id: str
    scope: str | None = None
    erased_at: UtcDatetime
    erased: dict[str, int]
    remaining: dict[str, int]
    purged: bool | None = None
    request_id: str | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing was left in any store."""
        return not any(self.remaining.values())


class ExportPage(OMPModel):
    """A page of an export: lines of JSON, and the cursor of the next page or `None`.

    It is used like the list of its `lines`, as a `MemoryPage` is like that of its items.
    """

    lines: list[str]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """Return an iterator over the lines."""
        return iter(self.lines)

    def __len__(self) -> int:
        """Return how many lines are on this page."""
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        """Return a line, some of them, or for `dict` the field of a name."""
        return _field(self, index) if isinstance(index, str) else self.lines[index]

    def keys(self) -> list[str]:
        """Return the names of the fields, for `dict`."""
        return _field_names(self)


class ImportReport(OMPModel):
    """The counts of an import: records written, and what became of those that were there already."""

    imported: int = 0
    skipped: int = 0
    overwritten: int = 0
    duplicated: int = 0

    def include(self, part: ImportReport) -> None:
        """Add the counts of a part."""
        self.imported += part.imported
        self.skipped += part.skipped
        self.overwritten += part.overwritten
        self.duplicated += part.duplicated


class TransferProgress(OMPModel):
    """The progress of a transfer: its stage, and memories done of those there are.

    The copy is done up to `cursor`. Kept somewhere, this lets another process go on from here.
    """

    stage: TransferStage
    done: int = 0
    total: int | None = None
    cursor: str | None = None


class TransferLoss(OMPModel):
    """Something that a target cannot hold.

    `memories` says how many memories have it. They arrive without it, or stay behind if `stays` is true.
    """

    what: str
    memories: int
    stays: bool = False


class TransferReport(ImportReport):
    """The result of a transfer, and what a comparison of both stores found afterwards.

    `memories` counts those of the source. `missing` and `different` count those that should be in the target and are
    not, or are there with another content; `examples` holds up to 20 of their ids. `imported` and its siblings
    count the work of this run only, not of those before it that were interrupted.
    """

    source: str
    target: str
    memories: int = 0
    left_behind: int = 0
    losses: list[TransferLoss] = Field(default_factory=list)
    verified: int = 0
    missing: int = 0
    different: int = 0
    examples: list[str] = Field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every memory of the source was found in the target, as it is in the source."""
        return self.verified == self.memories and not self.losses


class ReembedReport(OMPModel):
    """The progress of a move to another embedding model: memories embedded, and memories in all."""

    model: str
    done: int
    total: int


class Health(OMPModel):
    """Whether the provider answers, how long that took, and what it says of itself."""

    ok: bool
    provider: str
    latency_ms: float | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


class ErrorDetail(OMPModel):
    """The description of an error: a code for programs, a message for people, and the category of the code."""

    code: str
    message: str
    type: ErrorType
    provider: str | None = None
    request_id: str | None = None
    details: dict[str, Any] | None = None


class Error(OMPModel):
    """The body of every reply of an OMP server with a status of 400 and above; see `OMPError.from_response_dict`."""

    error: ErrorDetail
