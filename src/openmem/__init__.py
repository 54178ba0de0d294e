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
    from openmem._async.server_store.store import AsyncServerStore
    from openmem._config.registry import ProviderSpec
    from openmem._config.server_store_url import server_store_url
    from openmem._embedding.choices import Embedder, FastEmbed, OpenAIEmbedder
    from openmem._model.access import Access, Seed
    from openmem._model.arguments import MemoryItem, ProviderName
    from openmem._model.keys import KeyInfo, NewKey, Remembered, StoredReply
    from openmem._model.results import HistoryPage, SearchResults
    from openmem._model.retention import MaintenanceReport, Retention
    from openmem._model.scopes import Grant, parse_grant
    from openmem._model.urls import redacted_url
    from openmem._sql.postgres.schema import migration_script
    from openmem._sync.memory import Memory
    from openmem._sync.provider import Provider
    from openmem._sync.server_store.store import ServerStore
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
    "Access": "openmem._model.access",
    "HistoryPage": "openmem._model.results",
    "MaintenanceReport": "openmem._model.retention",
    "Retention": "openmem._model.retention",
    "SearchResults": "openmem._model.results",
    "AsyncMemory": "openmem._async.memory",
    "AsyncProvider": "openmem._async.provider",
    "AsyncServerStore": "openmem._async.server_store.store",
    "Memory": "openmem._sync.memory",
    "Provider": "openmem._sync.provider",
    "ProviderSpec": "openmem._config.registry",
    "ServerStore": "openmem._sync.server_store.store",
    "server_store_url": "openmem._config.server_store_url",
    **dict.fromkeys(("KeyInfo", "NewKey", "Remembered", "StoredReply"), "openmem._model.keys"),
    "migration_script": "openmem._sql.postgres.schema",
    "Grant": "openmem._model.scopes",
    "Seed": "openmem._model.access",
    "parse_grant": "openmem._model.scopes",
    "redacted_url": "openmem._model.urls",
    "Embedder": "openmem._embedding.choices",
    "FastEmbed": "openmem._embedding.choices",
    "OpenAIEmbedder": "openmem._embedding.choices",
    **dict.fromkeys(("MemoryItem", "ProviderName"), "openmem._model.arguments"),
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
