"""The capabilities of providers that keep memories themselves, without a service behind them."""

from __future__ import annotations

from typing import Any, Final

from openmem._model.checks import MAX_CONTENT
from openmem._rules.validation import MAX_SEARCH
from openmem.types import Capabilities

OMP_VERSION: Final = "0.1"
VERBS: Final = (
    "add",
    "add_many",
    "get",
    "update",
    "delete",
    "delete_all",
    "list",
    "scopes",
    "tags",
    "users",
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
