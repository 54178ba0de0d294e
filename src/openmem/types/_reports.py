"""The models of what was done and how it went: erasures, exports, imports, transfers, health, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

from pydantic import Field

from openmem.types._base import OMPModel, UtcDatetime, field, field_names

ErrorType = Literal["auth", "not_found", "invalid", "rate_limited", "provider_error"]
TransferStage = Literal["survey", "copy", "verify"]


class ErasureReceipt(OMPModel):
    """The counts of `delete_all`: what it erased, and what a search for leftovers found.

    `scope` and `where` say which of the user's memories were meant. `erased` and `remaining` count items by store
    (memories, vectors, index, history, audit). The erasure is proved when every count in `remaining`, taken in the
    transaction that erased, is zero. `purged` says whether the bytes are gone from the files too; `False` if other
    readers or the deadline did not allow it yet, `None` if the provider cannot tell.
    """

    user_id: str
    scope: str | None = None
    erased_at: UtcDatetime
    erased: dict[str, int]
    remaining: dict[str, int]
    purged: bool | None = None
    request_id: str | None = None
    where: dict[str, Any] | None = None

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
        return field(self, index) if isinstance(index, str) else self.lines[index]

    def keys(self) -> list[str]:
        """Return the names of the fields, for `dict`."""
        return field_names(self)


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
