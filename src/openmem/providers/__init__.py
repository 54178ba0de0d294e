"""All that a provider of a third party is written with; `docs/write-a-provider.md` leads through it.

A provider subclasses `AsyncProvider` (or `Provider`). It gets its requests validated, with a `Call` that knows the
deadline and the caller, raises errors of `openmem.errors` and returns models of `openmem.types`. `openmem.testing`
proves it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openmem._config.lazy import homes_of, load_lazily

if TYPE_CHECKING:
    from openmem._async.embedders import AsyncEmbedder as AsyncEmbedder
    from openmem._async.provider import AsyncProvider as AsyncProvider
    from openmem._config.registry import ProviderSpec as ProviderSpec
    from openmem._config.settings import Settings as Settings
    from openmem._io.concurrency.call import Call as Call
    from openmem._io.concurrency.call import Deadline as Deadline
    from openmem._model.access import Access as Access
    from openmem._model.arguments import ProviderName as ProviderName
    from openmem._model.candidates import Candidate as Candidate
    from openmem._model.cursors import CursorTrail as CursorTrail
    from openmem._model.cursors import decode_cursor as decode_cursor
    from openmem._model.cursors import encode_cursor as encode_cursor
    from openmem._model.feed import FeedQuery as FeedQuery
    from openmem._model.ids import new_memory_ids as new_memory_ids
    from openmem._model.requests import AuditQuery as AuditQuery
    from openmem._model.requests import Change as Change
    from openmem._model.requests import Draft as Draft
    from openmem._model.requests import Erasure as Erasure
    from openmem._model.requests import HistoryQuery as HistoryQuery
    from openmem._model.requests import ListQuery as ListQuery
    from openmem._model.requests import ScopesQuery as ScopesQuery
    from openmem._model.requests import SearchQuery as SearchQuery
    from openmem._model.requests import TagsQuery as TagsQuery
    from openmem._model.requests import UsersQuery as UsersQuery
    from openmem._model.requests import View as View
    from openmem._model.results import HistoryPage as HistoryPage
    from openmem._model.retention import MaintenanceReport as MaintenanceReport
    from openmem._model.retention import Retention as Retention
    from openmem._model.retry import FailedAttempt as FailedAttempt
    from openmem._model.retry import Retry as Retry
    from openmem._model.scopes import ScopePattern as ScopePattern
    from openmem._model.where import Where as Where
    from openmem._retrieval.analysis import terms_of as terms_of
    from openmem._sync.embedders import Embedder as Embedder
    from openmem._sync.provider import Provider as Provider

__all__ = [
    "Access",
    "AsyncEmbedder",
    "AsyncProvider",
    "AuditQuery",
    "Call",
    "Candidate",
    "Change",
    "CursorTrail",
    "Deadline",
    "Draft",
    "Embedder",
    "Erasure",
    "FailedAttempt",
    "FeedQuery",
    "HistoryPage",
    "HistoryQuery",
    "ListQuery",
    "MaintenanceReport",
    "Provider",
    "ProviderName",
    "ProviderSpec",
    "Retention",
    "Retry",
    "ScopePattern",
    "ScopesQuery",
    "SearchQuery",
    "Settings",
    "TagsQuery",
    "UsersQuery",
    "View",
    "Where",
    "decode_cursor",
    "encode_cursor",
    "new_memory_ids",
    "terms_of",
]

_HOMES = homes_of(
    {
        "openmem._async.embedders": "AsyncEmbedder",
        "openmem._async.provider": "AsyncProvider",
        "openmem._config.registry": "ProviderSpec",
        "openmem._config.settings": "Settings",
        "openmem._io.concurrency.call": "Call Deadline",
        "openmem._model.access": "Access",
        "openmem._model.arguments": "ProviderName",
        "openmem._model.candidates": "Candidate",
        "openmem._model.cursors": "CursorTrail decode_cursor encode_cursor",
        "openmem._model.feed": "FeedQuery",
        "openmem._model.ids": "new_memory_ids",
        "openmem._model.requests": (
            "AuditQuery Change Draft Erasure HistoryQuery ListQuery ScopesQuery SearchQuery TagsQuery UsersQuery View"
        ),
        "openmem._model.results": "HistoryPage",
        "openmem._model.retention": "MaintenanceReport Retention",
        "openmem._model.retry": "FailedAttempt Retry",
        "openmem._model.scopes": "ScopePattern",
        "openmem._model.where": "Where",
        "openmem._retrieval.analysis": "terms_of",
        "openmem._sync.embedders": "Embedder",
        "openmem._sync.provider": "Provider",
    }
)
__getattr__, __dir__ = load_lazily(__name__, _HOMES)
