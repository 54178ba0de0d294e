"""The arguments of verbs that came later than the contract of providers, and which of them a request makes use of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Final

from openmem._model.requests import (
    LATER,
    AuditQuery,
    Change,
    Draft,
    Erasure,
    HistoryQuery,
    ListQuery,
    SearchQuery,
    View,
)

FIRST_CHANGES: Final = frozenset(
    ("content", "scope", "tags", "confidence", "valid_to", "supersedes", "extensions"),
)
"""The fields of a memory that an update could change from the first; all others came later."""
LATER_CHANGES: Final = frozenset(("metadata", "metadata_patch", "searchable", "embedding"))
"""The fields that came later."""
BY_KEY: Final = "by_key"
"""The argument `key` of verbs that took an id only; the methods for it refuse by themselves."""


def later_fields(kind: type) -> tuple[tuple[str, str, object], ...]:
    """Return those fields of a class of requests that came later: the argument, the field, and its default."""
    found = [field for field in fields(kind) if LATER in field.metadata] if is_dataclass(kind) else []
    return tuple((field.metadata[LATER], field.name, field.default) for field in found)


_KINDS: Final[tuple[type, ...]] = (AuditQuery, Draft, Erasure, HistoryQuery, ListQuery, SearchQuery, View)
_FIRST_MAX_SEARCH: Final = 100
_LATER: Final = {kind: later_fields(kind) for kind in _KINDS}
LARGE_LIMIT: Final = "limit above 100"
"""The name of a `limit` of a search that is larger than it could be at first."""
LATER_ARGUMENTS: Final = LATER_CHANGES.union(
    {BY_KEY, LARGE_LIMIT}, (argument for found in _LATER.values() for argument, _, _ in found)
)
"""All arguments that came later: what a provider may say that it understands."""


METADATA: Final = frozenset(("metadata", "metadata_patch"))
KEYS: Final = frozenset((BY_KEY, "if_absent", "if_version"))
READY_VECTORS: Final = frozenset(("embedding",))
SEARCHABLE: Final = frozenset(("searchable",))
ORDERS: Final = frozenset(("order", "descending"))
"""Those of a list in another order."""
WHERE: Final = frozenset(("where",))


PAGES: Final = frozenset(("offset", LARGE_LIMIT))
"""Those of a search that is looked through page by page."""


def not_understood(understands: frozenset[str], request: object) -> str | None:
    """Return an argument that a request makes use of and a provider does not understand, or `None`.

    Args:
        understands: The arguments that came later and that the provider acts on.
        request: A request, or drafts.
    """
    if understands >= LATER_ARGUMENTS:
        return None
    requests: Iterable[object] = request if isinstance(request, list | tuple) else (request,)
    return next((name for one in requests for name in used_by(one) if name not in understands), None)


def used_by(request: object) -> Iterable[str]:
    """Yield the arguments that came later and of which a request makes use."""
    for argument, field, default in _LATER.get(type(request), ()):
        value = getattr(request, field)
        if value is not default and value != default:
            yield argument
    if isinstance(request, SearchQuery) and request.limit > _FIRST_MAX_SEARCH:
        yield LARGE_LIMIT
    if isinstance(request, Change):
        yield from request.fields.keys() - FIRST_CHANGES
    elif isinstance(request, ListQuery | SearchQuery):
        yield from used_by(request.view)
