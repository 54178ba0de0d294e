"""The capabilities of providers that keep memories themselves, without a service behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from openmem._model.checks import MAX_CONTENT
from openmem._rules.validation import MAX_SEARCH
from openmem.types import OWN_MEMBER, Capabilities

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
    "changes",
    "export",
    "import",
    "wait_for_ingest",
    "reembed",
    "health",
)


def with_arguments(said: Capabilities, understands: frozenset[str]) -> Capabilities:
    """Return what a provider says of itself, with the arguments that it understands of those that came later.

    They stand under `x-openmem`, as `arguments`. What the provider says there by itself stays, as that of a server
    which knows what is behind it.
    """
    own = (said.model_extra or {}).get(OWN_MEMBER)
    own = dict(own) if isinstance(own, Mapping) else {}
    if "arguments" in own or not understands:
        return said
    return said.model_copy(update={OWN_MEMBER: {**own, "arguments": sorted(understands)}})


def native_capabilities(provider: str, model: str | None, lacks: Collection[str] = ()) -> Capabilities:
    """Return what such a provider can do, but for some verbs.

    Vectors depend on the embedder, whose model is given: without one there are none, and nothing to move to.
    """
    missing = {*lacks, *(() if model is not None else ("reembed",))}
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
            "verbs": [verb for verb in VERBS if verb not in missing],
            "features": features,
            "limits": {"max_search_results": MAX_SEARCH},
        }
    )
