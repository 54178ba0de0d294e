"""The capabilities of the providers that keep memories themselves."""

from __future__ import annotations

import pytest

from openmem._rules.capabilities import VERBS, native_capabilities


def test_native_store_can_do_everything_but_graphs_and_vectors_only_with_a_model() -> None:
    said = native_capabilities("acme", "mini")
    assert (said.omp_version, said.provider) == ("0.1", "acme")
    assert sorted(said.all_verbs) == sorted(VERBS)
    features = said.features.model_dump(exclude_none=True)
    assert features == {
        "vector_search": True,
        "keyword_search": True,
        "graph_queries": False,
        "temporal": True,
        "scopes": "native",
        "max_content_length": 100_000,
        "supports_e2e": False,
        "supports_audit": True,
        "supports_supersession": True,
        "status_field": False,
        "async_ingestion": False,
        "auto_chunking": False,
        "embedding_model": "mini",
    }
    assert said.limits is not None
    assert said.limits.max_search_results == 1000
    without = native_capabilities("acme", None, ["changes"])
    features = without.features.model_dump(exclude_none=True)
    assert (features["vector_search"], "embedding_model" in features) == (False, False)
    assert sorted(without.all_verbs) == sorted({*VERBS} - {"reembed", "changes"})


@pytest.mark.parametrize("verb", ["add", "search", "get", "update", "delete", "list", "context", "audit"])
def test_verbs_of_the_protocol_are_all_there(verb: str) -> None:
    assert verb in native_capabilities("acme", None).verbs
