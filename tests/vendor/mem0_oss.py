"""mem0 in process for tests: real stores, no network, no language model, and vectors without a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from openmem._config.extras import install_extra
from openmem.testing import HashEmbedder

# mem0 reads these when it is imported.
os.environ["MEM0_TELEMETRY"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

DIM = HashEmbedder().dim
NEEDED = f"mem0ai is not installed: {install_extra('mem0')}"


def qdrant_config(folder: Path, collection: str = "kit") -> dict[str, Any]:
    """Return a configuration over a folder of Qdrant's embedded form."""
    store = {"collection_name": collection, "path": str(folder / "qdrant"), "embedding_model_dims": DIM}
    return {"vector_store": {"provider": "qdrant", "config": store}, **_rest(folder)}


def pgvector_config(folder: Path, url: str, collection: str) -> dict[str, Any]:
    """Return a configuration over a Postgres with pgvector."""
    store = {
        "collection_name": collection,
        "connection_string": url,
        "embedding_model_dims": DIM,
        "hnsw": False,
        "maxconn": 2,
    }
    return {"vector_store": {"provider": "pgvector", "config": store}, **_rest(folder)}


def make_memory(config: dict[str, Any], folder: Path) -> Any:
    """Return a `mem0.Memory` whose vectors come from `HashEmbedder`."""
    os.environ["MEM0_DIR"] = str(folder / "mem0")
    mem0 = pytest.importorskip("mem0", reason=NEEDED)
    base = pytest.importorskip("mem0.embeddings.base", reason=NEEDED)
    made = mem0.Memory.from_config(config)
    made.embedding_model = embedding_of(base.EmbeddingBase)
    if hasattr(made.vector_store, "_bm25_encoder"):
        made.vector_store._bm25_encoder = False  # its keyword model would have to be downloaded
    return made


def close_memory(memory: Any) -> None:
    """Close what `mem0.Memory.close` leaves open, too."""
    memory.close()
    for each in (getattr(memory.vector_store, "client", None), getattr(memory.vector_store, "connection_pool", None)):
        if each is not None:
            each.close()


def empty(memory: Any) -> None:
    """Drop everything that a memory on Qdrant or Postgres holds."""
    store = memory.vector_store
    store.delete_col()
    if hasattr(store, "is_local"):
        store.create_col(DIM, on_disk=False)
    else:
        store.create_col()


def embedding_of(base: type[Any]) -> Any:
    """Return mem0's kind of embedder over `HashEmbedder`."""

    class Embedding(base):  # type: ignore[misc]
        hashed = HashEmbedder()

        def embed(self, text: str, memory_action: str | None = None) -> list[float]:
            return self.hashed.embed([text])[0]

    return Embedding()


def _rest(folder: Path) -> dict[str, Any]:
    return {
        "embedder": {"provider": "openai", "config": {"api_key": "unused", "embedding_dims": DIM}},
        "llm": {"provider": "openai", "config": {"api_key": "unused"}},
        "history_db_path": ":memory:",
    }


def hash_embedding(config: Any) -> Any:
    """Return the embedder for mem0's own factory, which imports it by name."""
    base = pytest.importorskip("mem0.embeddings.base", reason=NEEDED)
    return embedding_of(base.EmbeddingBase)
