"""Validated requests: what the facade hands to a provider after every rule of the protocol was checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from openmem._model.access import Patterns
from openmem._model.ids import Key, Named
from openmem._model.scopes import ScopePattern
from openmem._model.where import Where
from openmem.types import Action, ListOrder, SearchMode

DEFAULT_HISTORY: Final = 100
LATER: Final = "later"
"""Marks a field that came later than the contract of providers, as `field(default=…, metadata={LATER: argument})`.

The argument is what a caller knows it by. A provider that does not name it in `understands` gets no request that
makes use of it.
"""


@dataclass(frozen=True, slots=True, eq=False)
class GivenVector:
    """A vector that the caller brings, instead of one that the embedder makes.

    Attributes:
        model: The model that made it.
        values: Its numbers, a numpy array of float32 of length 1.
    """

    model: str
    values: Any

    @property
    def dim(self) -> int:
        """The length of its list of numbers."""
        return len(self.values)


@dataclass(slots=True)  # never changed, but a frozen one takes eight times as long to make, and many are made
class Draft:
    """A memory to be stored. `id`, `created_at`, `updated_at` and `version` are set by imports only.

    `if_absent` and `if_version` are the terms on which it is stored under its key: where no memory has that, or one at
    this version. Then `index` is its position among those of the call, if there are several.
    """

    content: str
    user_id: str
    scope: str | None = None
    tags: tuple[str, ...] | None = None
    source: Mapping[str, Any] | None = None
    confidence: float | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    supersedes: tuple[str, ...] | None = None
    key: str | None = None
    extensions: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 1
    metadata: Mapping[str, Any] | None = field(default=None, metadata={LATER: "metadata"})
    if_absent: bool = field(default=False, metadata={LATER: "if_absent"})
    if_version: int | None = field(default=None, metadata={LATER: "if_version"})
    index: int | None = None
    searchable: bool = field(default=True, metadata={LATER: "searchable"})
    embedding: GivenVector | None = field(default=None, metadata={LATER: "embedding"})


@dataclass(frozen=True, slots=True)
class Change:
    """An update: only the fields in `fields` change, and a `None` there clears the field.

    What it holds under `extensions` are new values of single extension fields, `None` again to clear one, and under
    `metadata_patch` members of the metadata that are merged with what there is (RFC 7396). `cut` says
    whether the vector of a new content stands for its beginning only.
    """

    fields: Mapping[str, Any]
    if_version: int | None = None
    cut: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """The part of one user's memories that a read may see. It is part of the query, never applied after it.

    `visible` are the scopes that the caller may read, beside those that it asks for; `None` is all of them. `where` is
    a filter on the metadata.
    """

    user_id: str
    scope: ScopePattern | None = None
    tags: tuple[str, ...] = ()
    as_of: datetime | None = None
    include_superseded: bool = False
    include_expired: bool = False
    visible: Patterns | None = None
    where: Where | None = field(default=None, metadata={LATER: "where"})


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A page of the memories that `view` allows, by the date that `order` names, and by their ids where it is equal.

    A memory that was never changed counts as changed when it was stored, and one without `valid_from` holds since then.
    """

    view: View
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50
    cursor: str | None = None
    order: ListOrder = field(default="created", metadata={LATER: "order"})
    descending: bool = field(default=True, metadata={LATER: "descending"})

    @property
    def binding(self) -> tuple[object, ...]:
        """The values that a cursor of this query is bound to: everything but the size of the page."""
        view = self.view
        hidden = (view.as_of, view.include_superseded, view.include_expired)
        plain: tuple[object, ...] = (view.user_id, str(view.scope), *view.tags, self.since, self.until, *hidden)
        if self.order != "created" or not self.descending:  # cursors of before go on
            plain = (*plain, self.order, self.descending)
        if view.where is not None:
            plain = (*plain, f"where {view.where.text}")
        return plain if view.visible is None else (*plain, [str(pattern) for pattern in view.visible])


@dataclass(frozen=True, slots=True)
class Erasure:
    """Memories to be erased for good, hidden ones too: those of a user, of a scope, and that a filter is true of."""

    user_id: str
    scope: ScopePattern | None = None
    where: Where | None = field(default=None, metadata={LATER: "where"})


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A page of the earlier states of a memory and of what it supersedes, newest first.

    Where a `key` says which memory, the `id` is empty.
    """

    id: str
    user_id: str | None = None
    limit: int = DEFAULT_HISTORY
    cursor: str | None = None
    key: str | None = None

    @property
    def named(self) -> Named:
        """The memory, by its id or by its key."""
        return self.id if self.key is None else Key(self.key)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """The best matches for `text` among the memories that `view` allows.

    `action` is the verb to put into the audit log: a context is a search with another name. Of all matches, the first
    `offset` are left off.
    """

    text: str
    view: View
    limit: int = 10
    min_score: float | None = None
    mode: SearchMode = "hybrid"
    explain: bool = False
    action: Action = "search"
    offset: int = field(default=0, metadata={LATER: "offset"})
    embedding: GivenVector | None = field(default=None, metadata={LATER: "embedding"})


@dataclass(frozen=True, slots=True)
class ScopesQuery:
    """The scopes of the memories that `view` allows, hidden ones too: of it, user, scope and grants count.

    `depth` is how many segments of a path are told apart: what lies deeper counts as part of what is above it.
    """

    view: View
    depth: int | None = None


@dataclass(frozen=True, slots=True)
class TagsQuery:
    """The tags of the memories that `view` shows."""

    view: View


@dataclass(frozen=True, slots=True)
class UsersQuery:
    """A page of the users who have memories, and whose ids begin with `prefix`, in an order of the store's own."""

    prefix: str | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The newest entries of a user's audit log."""

    user_id: str
    app: str | None = None
    since: datetime | None = None
    limit: int = 100
