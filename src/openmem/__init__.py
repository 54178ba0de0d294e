"""openmem: one stable set of verbs over every AI memory backend.

`AsyncMemory` for programs that run an event loop, `Memory` for everything else. Importing this package loads
nothing else; each name is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openmem._async.memory import AsyncMemory
    from openmem._async.provider import AsyncProvider
    from openmem._async.server_store import AsyncServerStore
    from openmem._sync.memory import Memory
    from openmem._sync.provider import Provider
    from openmem._sync.server_store import ServerStore
    from openmem.access import Access, Seed
    from openmem.arguments import MemoryItem, ProviderName
    from openmem.embedding import Embedder, FastEmbed, OpenAIEmbedder
    from openmem.errors import (
        DeadlineExceededError,
        IdempotencyConflictError,
        IngestionTimeoutError,
        InvalidRequestError,
        NotFoundError,
        OMPError,
        ProviderError,
        ProviderUnavailableError,
        RateLimitedError,
        ScopeDeniedError,
        UnauthorizedError,
        UnsupportedCapabilityError,
        UnsupportedProviderError,
        VersionConflictError,
    )
    from openmem.keys import KeyInfo, NewKey, Remembered, StoredReply
    from openmem.registry import ProviderSpec
    from openmem.results import HistoryPage, SearchResults
    from openmem.retention import MaintenanceReport, Retention
    from openmem.scopes import Grant, parse_grant
    from openmem.server_place import server_store_url
    from openmem.sql.postgres.schema import migration_script
    from openmem.types import (
        UNSET,
        AuditEntry,
        Capabilities,
        CapabilityFeatures,
        CapabilityLimits,
        Citation,
        ContextBlock,
        ErasureReceipt,
        ExportPage,
        Health,
        ImportReport,
        MemoryInput,
        MemoryPage,
        MemoryRecord,
        MemorySource,
        MemoryUpdate,
        ReembedReport,
        SearchResult,
        TransferLoss,
        TransferProgress,
        TransferReport,
    )
    from openmem.urls import redacted_url

__version__ = "0.1.0"

_ERRORS = (
    "DeadlineExceededError IdempotencyConflictError IngestionTimeoutError InvalidRequestError NotFoundError OMPError "
    "ProviderError ProviderUnavailableError RateLimitedError ScopeDeniedError UnauthorizedError "
    "UnsupportedCapabilityError UnsupportedProviderError VersionConflictError"
)
_TYPES = (
    "UNSET AuditEntry Capabilities CapabilityFeatures CapabilityLimits Citation ContextBlock ErasureReceipt "
    "ExportPage Health ImportReport MemoryInput MemoryPage MemoryRecord MemorySource MemoryUpdate "
    "ReembedReport SearchResult TransferLoss TransferProgress TransferReport"
)
_HOME_OF: dict[str, str] = {
    "Access": "openmem.access",
    "HistoryPage": "openmem.results",
    "MaintenanceReport": "openmem.retention",
    "Retention": "openmem.retention",
    "SearchResults": "openmem.results",
    "AsyncMemory": "openmem._async.memory",
    "AsyncProvider": "openmem._async.provider",
    "AsyncServerStore": "openmem._async.server_store",
    "Memory": "openmem._sync.memory",
    "Provider": "openmem._sync.provider",
    "ProviderSpec": "openmem.registry",
    "ServerStore": "openmem._sync.server_store",
    "server_store_url": "openmem.server_place",
    **dict.fromkeys(("KeyInfo", "NewKey", "Remembered", "StoredReply"), "openmem.keys"),
    "migration_script": "openmem.sql.postgres.schema",
    "Grant": "openmem.scopes",
    "Seed": "openmem.access",
    "parse_grant": "openmem.scopes",
    "redacted_url": "openmem.urls",
    "Embedder": "openmem.embedding",
    "FastEmbed": "openmem.embedding",
    "OpenAIEmbedder": "openmem.embedding",
    **dict.fromkeys(("MemoryItem", "ProviderName"), "openmem.arguments"),
    **dict.fromkeys(_ERRORS.split(), "openmem.errors"),
    **dict.fromkeys(_TYPES.split(), "openmem.types"),
}

__all__ = [
    "UNSET",
    "Access",
    "AsyncMemory",
    "AsyncProvider",
    "AsyncServerStore",
    "AuditEntry",
    "Capabilities",
    "CapabilityFeatures",
    "CapabilityLimits",
    "Citation",
    "ContextBlock",
    "DeadlineExceededError",
    "Embedder",
    "ErasureReceipt",
    "ExportPage",
    "FastEmbed",
    "Grant",
    "Health",
    "HistoryPage",
    "IdempotencyConflictError",
    "ImportReport",
    "IngestionTimeoutError",
    "InvalidRequestError",
    "KeyInfo",
    "MaintenanceReport",
    "Memory",
    "MemoryInput",
    "MemoryItem",
    "MemoryPage",
    "MemoryRecord",
    "MemorySource",
    "MemoryUpdate",
    "NewKey",
    "NotFoundError",
    "OMPError",
    "OpenAIEmbedder",
    "Provider",
    "ProviderError",
    "ProviderName",
    "ProviderSpec",
    "ProviderUnavailableError",
    "RateLimitedError",
    "ReembedReport",
    "Remembered",
    "Retention",
    "ScopeDeniedError",
    "SearchResult",
    "SearchResults",
    "Seed",
    "ServerStore",
    "StoredReply",
    "TransferLoss",
    "TransferProgress",
    "TransferReport",
    "UnauthorizedError",
    "UnsupportedCapabilityError",
    "UnsupportedProviderError",
    "VersionConflictError",
    "__version__",
    "migration_script",
    "parse_grant",
    "redacted_url",
    "server_store_url",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
