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
    from openmem._sync.memory import Memory
    from openmem._sync.provider import Provider
    from openmem.embedding import Embedder, FastEmbed, OpenAIEmbedder
    from openmem.errors import (
        DeadlineExceededError,
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
    from openmem.registry import ProviderSpec
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
    )

__version__ = "0.1.0"

_ERRORS = (
    "DeadlineExceededError IngestionTimeoutError InvalidRequestError NotFoundError OMPError ProviderError "
    "ProviderUnavailableError RateLimitedError ScopeDeniedError UnauthorizedError UnsupportedCapabilityError "
    "UnsupportedProviderError VersionConflictError"
)
_TYPES = (
    "UNSET AuditEntry Capabilities CapabilityFeatures CapabilityLimits Citation ContextBlock ErasureReceipt "
    "ExportPage Health ImportReport MemoryInput MemoryPage MemoryRecord MemorySource MemoryUpdate ReembedReport "
    "SearchResult"
)
_HOME_OF: dict[str, str] = {
    "AsyncMemory": "openmem._async.memory",
    "AsyncProvider": "openmem._async.provider",
    "Memory": "openmem._sync.memory",
    "Provider": "openmem._sync.provider",
    "ProviderSpec": "openmem.registry",
    "migration_script": "openmem.sql.postgres.schema",
    "Embedder": "openmem.embedding",
    "FastEmbed": "openmem.embedding",
    "OpenAIEmbedder": "openmem.embedding",
    **dict.fromkeys(_ERRORS.split(), "openmem.errors"),
    **dict.fromkeys(_TYPES.split(), "openmem.types"),
}

__all__ = [
    "UNSET",
    "AsyncMemory",
    "AsyncProvider",
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
    "Health",
    "ImportReport",
    "IngestionTimeoutError",
    "InvalidRequestError",
    "Memory",
    "MemoryInput",
    "MemoryPage",
    "MemoryRecord",
    "MemorySource",
    "MemoryUpdate",
    "NotFoundError",
    "OMPError",
    "OpenAIEmbedder",
    "Provider",
    "ProviderError",
    "ProviderSpec",
    "ProviderUnavailableError",
    "RateLimitedError",
    "ReembedReport",
    "ScopeDeniedError",
    "SearchResult",
    "UnauthorizedError",
    "UnsupportedCapabilityError",
    "UnsupportedProviderError",
    "VersionConflictError",
    "__version__",
    "migration_script",
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
