"""The capabilities of providers that keep memories themselves, without a service behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from openmem._embedding.batches import mark_cut
from openmem._model.access import Access
from openmem._model.checks import MAX_CONTENT
from openmem._model.requests import Change, Draft
from openmem._rules.drafting import is_large
from openmem._rules.validation import MAX_SEARCH
from openmem.types import Capabilities, MemoryRecord

OMP_VERSION: Final = "0.1"
MANY_DRAFTS: Final = 100
LONG_TEXT: Final = 4_000
"""Characters of a text whose words are found beside the event loop: in some scripts it takes ten milliseconds."""
VERBS: Final = (
    "add",
    "add_many",
    "get",
    "update",
    "delete",
    "delete_all",
    "list",
    "search",
    "context",
    "history",
    "audit",
    "export",
    "import",
    "wait_for_ingest",
    "reembed",
    "health",
)


def native_capabilities(provider: str, model: str | None) -> Capabilities:
    """Return what such a provider can do; vectors depend on the embedder, whose model is given."""
    features: dict[str, Any] = {
        "vector_search": model is not None,
        "keyword_search": True,
        "graph_queries": False,
        "temporal": True,
        "scopes": "native",
        "max_content_length": MAX_CONTENT,
        "supports_e2e": False,
        "supports_audit": True,
        "supports_supersession": True,
        "status_field": False,
        "async_ingestion": False,
        "auto_chunking": False,
    }
    if model is not None:
        features["embedding_model"] = model
    return Capabilities.model_validate(
        {
            "omp_version": OMP_VERSION,
            "provider": provider,
            "verbs": VERBS,
            "features": features,
            "limits": {"max_search_results": MAX_SEARCH},
        }
    )


def updated_draft(record: MemoryRecord, change: Change) -> Draft:
    """Return the draft of a stored record after a change; it says whether the text was cut for its new vector."""
    draft = changed_draft(record, change.fields)
    return mark_cut([draft], {0} if change.cut else ())[0] if "content" in change.fields else draft


def changed_draft(record: MemoryRecord, changes: Mapping[str, Any]) -> Draft:
    """Return the draft of a stored record with some fields changed, those of its extensions one by one."""
    extensions = {**(record.model_extra or {}), **changes.get("extensions", {})}
    fields: dict[str, Any] = {
        "content": record.content,
        "scope": record.scope,
        "tags": _frozen(record.tags),
        "confidence": record.confidence,
        "valid_to": record.valid_to,
        "supersedes": _frozen(record.supersedes),
        "extensions": extensions,
    } | {name: value for name, value in changes.items() if name != "extensions"}
    cleared = [name for name, value in changes.get("extensions", {}).items() if value is None]
    for name in cleared:
        extensions.pop(name)
    return Draft(
        user_id=record.user_id,
        source=record.source.model_dump(exclude_none=True) if record.source else None,
        valid_from=record.valid_from,
        key=record.key,
        **fields,
    )


def made_at(states: Iterable[MemoryRecord], draft: Draft, at: datetime) -> MemoryRecord | None:
    """Return the state of a memory that storing a draft at a time made, or `None`.

    Two `add` of the same draft at the same microsecond leave the same, so this proves that it was done.
    """
    wanted = _marks(draft)
    return next((one for one in states if one.updated_at == at and _marks(changed_draft(one, {})) == wanted), None)


def answer_again(access: Access | None, stored: MemoryRecord, first: MemoryRecord) -> MemoryRecord:
    """Return the answer to an `add` that was done before: what is stored, or if the caller may not see that, what
    was answered first."""
    return stored if access is None or access.may("read", stored.scope) else first


def take_long(drafts: Sequence[Draft], *, singly: bool = False) -> bool:
    """Return whether storing drafts takes more than a few milliseconds of computing, besides the waiting.

    Args:
        drafts: The drafts.
        singly: They may be stored one by one, with little to compute for each.
    """
    return (len(drafts) > MANY_DRAFTS and not singly) or any(map(is_large_draft, drafts))


def is_large_draft(draft: Draft) -> bool:
    """Return whether finding the words of a draft, or writing its extensions as JSON, takes milliseconds."""
    return len(draft.content) > LONG_TEXT or (bool(draft.extensions) and is_large(draft.extensions))


def is_large_change(change: Change) -> bool:
    """Return whether the new values of a change take long in the same way."""
    content, extensions = change.fields.get("content") or "", change.fields.get("extensions")
    return len(content) > LONG_TEXT or (bool(extensions) and is_large(extensions))


def by_user(user_ids: Sequence[str]) -> dict[str, list[int]]:
    """Return the positions of each user, users in the order in which they come."""
    groups: dict[str, list[int]] = {}
    for position, user_id in enumerate(user_ids):
        groups.setdefault(user_id, []).append(position)
    return groups


def _marks(draft: Draft) -> tuple[Any, ...]:
    extensions = {name: value for name, value in draft.extensions.items() if value is not None}
    parts = (draft.content, draft.scope, draft.tags or (), draft.source or {}, draft.confidence)
    return (*parts, draft.valid_from, draft.valid_to, draft.supersedes or (), draft.key, extensions)


def _frozen(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
