"""openmem: one stable set of verbs over every AI memory backend.

`AsyncMemory` for programs that run an event loop, `Memory` for everything else. Importing this package loads
nothing else; each name is loaded on first use. Further names: `openmem.types`, `openmem.errors`, `openmem.providers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openmem._config.lazy import homes_of, load_lazily
from openmem._config.moved import find_moved_modules

if TYPE_CHECKING:
    from openmem._async.memory import AsyncMemory
    from openmem._async.server_store.store import AsyncServerStore
    from openmem._embedding.choices import Embedder, FastEmbed, OpenAIEmbedder
    from openmem._io.server_store_url import server_store_url
    from openmem._model.access import Access, IdempotencySeed
    from openmem._model.arguments import MemoryItem
    from openmem._model.results import HistoryPage, SearchResults
    from openmem._model.scopes import Grant, parse_grant
    from openmem._model.urls import redacted_url
    from openmem._sql.postgres.schema import migration_script
    from openmem._sync.memory import Memory
    from openmem._sync.server_store.store import ServerStore
    from openmem.errors import (
        DeadlineExceededError,
        InvalidRequestError,
        NotFoundError,
        OMPError,
        ProviderError,
        UnsupportedCapabilityError,
        VersionConflictError,
    )
    from openmem.types import UNSET, ContextBlock, MemoryPage, MemoryRecord, SearchResult

__version__ = "0.1.0"

__all__ = [
    "UNSET",
    "Access",
    "AsyncMemory",
    "AsyncServerStore",
    "ContextBlock",
    "DeadlineExceededError",
    "Embedder",
    "FastEmbed",
    "Grant",
    "HistoryPage",
    "IdempotencySeed",
    "InvalidRequestError",
    "Memory",
    "MemoryItem",
    "MemoryPage",
    "MemoryRecord",
    "NotFoundError",
    "OMPError",
    "OpenAIEmbedder",
    "ProviderError",
    "SearchResult",
    "SearchResults",
    "ServerStore",
    "UnsupportedCapabilityError",
    "VersionConflictError",
    "__version__",
    "migration_script",
    "parse_grant",
    "redacted_url",
    "server_store_url",
]

_HOMES = homes_of(
    {
        "openmem._async.memory": "AsyncMemory",
        "openmem._async.server_store.store": "AsyncServerStore",
        "openmem._io.server_store_url": "server_store_url",
        "openmem._embedding.choices": "Embedder FastEmbed OpenAIEmbedder",
        "openmem._model.access": "Access IdempotencySeed",
        "openmem._model.arguments": "MemoryItem",
        "openmem._model.results": "HistoryPage SearchResults",
        "openmem._model.scopes": "Grant parse_grant",
        "openmem._model.urls": "redacted_url",
        "openmem._sql.postgres.schema": "migration_script",
        "openmem._sync.memory": "Memory",
        "openmem._sync.server_store.store": "ServerStore",
        "openmem.errors": (
            "DeadlineExceededError InvalidRequestError NotFoundError OMPError ProviderError UnsupportedCapabilityError "
            "VersionConflictError"
        ),
        "openmem.types": "UNSET ContextBlock MemoryPage MemoryRecord SearchResult",
    }
)
_MOVED = homes_of(
    {
        "openmem.errors": (
            "IdempotencyConflictError IngestionTimeoutError ProviderUnavailableError RateLimitedError ScopeDeniedError "
            "UnauthorizedError UnsupportedProviderError"
        ),
        "openmem.providers": "AsyncProvider MaintenanceReport Provider ProviderName ProviderSpec Retention",
        "openmem.server": "KeyInfo NewKey Remembered StoredReply",
        "openmem.types": (
            "AuditEntry Capabilities CapabilityFeatures CapabilityLimits Citation ErasureReceipt ExportPage Health "
            "ImportReport MemoryInput MemorySource MemoryUpdate ReembedReport TransferLoss TransferProgress "
            "TransferReport"
        ),
    }
)
_RENAMED = {"Seed": "IdempotencySeed"}
__getattr__, __dir__ = load_lazily(__name__, _HOMES, _MOVED, _RENAMED)
find_moved_modules()
