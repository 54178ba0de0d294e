"""The others: mem0 and LangGraph's store on the same Postgres, with the same vectors, each as its documentation has it.

They come with the dependency group `bench` and are imported only here, when they are to be measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
from benchmarks.corpus import DIM, Batch, Floats

POOL = 10

Asked = Sequence[tuple[str, str]]
"""Texts and whose they are."""


class Known:
    """An embedder that has seen every text before. It hands out lists to those who want lists."""

    model = "given"
    dim = DIM

    def __init__(self) -> None:
        self._vectors: dict[str, Floats] = {}
        self._lists: dict[str, list[float]] = {}

    def learn(self, batch: Batch) -> None:
        """Take texts and their vectors."""
        for text, vector in zip(batch.texts, batch.vectors, strict=True):
            self._vectors[text] = vector
            self._lists[text] = vector.tolist()

    def lists(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the vectors as lists."""
        return [self._lists[text] for text in texts]

    def embed(self, texts: list[str]) -> Floats:
        """Return the vectors as a matrix."""
        return np.stack([self._vectors[text] for text in texts])


class KnownAsync(Known):
    """The same for an event loop."""

    async def embed(self, texts: list[str]) -> Floats:  # type: ignore[override]
        """Return the vectors as a matrix."""
        return super().embed(texts)


class Rival(Protocol):
    """The measurements of a store. `search` and `add` are in the form that is quickest for one call at a time."""

    name: str

    async def fill(self, asked: Asked) -> None: ...
    async def make_index(self) -> None: ...
    def search(self, text: str, user_id: str) -> Any: ...
    def add(self, text: str, user_id: str) -> Any: ...
    def search_all(self, asked: Asked) -> Awaitable[Any]: ...
    def ingest(self, texts: Sequence[str], user_id: str) -> Any: ...
    def found(self, answer: Any) -> list[str]: ...
    async def close(self) -> None: ...


class Mem0:
    """mem0's `Memory(infer=False)` for one call at a time, its `AsyncMemory` for many."""

    name = "mem0"

    def __init__(self, url: str, vectors: Known, folder: Path) -> None:
        os.environ |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": str(folder), "OPENAI_API_KEY": "none"}
        mem0 = importlib.import_module("mem0")
        notices: Any = importlib.import_module("mem0.memory.notices")
        notices._fetch_remote_config = lambda: None  # it asks a web server in the middle of a call
        self._lemmatize = importlib.import_module("mem0.utils.lemmatization").lemmatize_for_bm25
        config = {
            "vector_store": {"provider": "pgvector", "config": _mem0_config(url)},
            "history_db_path": str(folder / "history.db"),
        }
        self._memory = mem0.Memory.from_config(config)
        self._awaited = mem0.AsyncMemory.from_config(config)
        self._memory.embedding_model = self._awaited.embedding_model = _Mem0Embedder(vectors)
        self._vectors = vectors

    async def fill(self, asked: Asked) -> None:
        """Store rows as `add` would, through its own store."""
        now = datetime.now(UTC).isoformat()
        self._memory.vector_store.insert(
            vectors=self._vectors.lists([text for text, _ in asked]),
            ids=[str(uuid4()) for _ in asked],
            payloads=[
                {
                    "user_id": user_id,
                    "role": "user",
                    "data": text,
                    "hash": hashlib.md5(text.encode()).hexdigest(),
                    "created_at": now,
                    "updated_at": now,
                    "text_lemmatized": self._lemmatize(text),
                }
                for text, user_id in asked
            ],
        )

    async def make_index(self) -> None:
        """Make the index that mem0 makes unless it is told otherwise."""
        _run(self._memory.vector_store, "create index mem0_hnsw_idx on mem0 using hnsw (vector vector_cosine_ops)")

    def search(self, text: str, user_id: str) -> Any:
        """Search."""
        return self._memory.search(text, filters={"user_id": user_id}, top_k=10, threshold=0.0)

    def add(self, text: str, user_id: str) -> Any:
        """Store one memory."""
        return self._memory.add(text, user_id=user_id, infer=False)

    def search_all(self, asked: Asked) -> Awaitable[Any]:
        """Search at the same time."""
        search = self._awaited.search
        return asyncio.gather(*(search(t, filters={"user_id": u}, top_k=10, threshold=0.0) for t, u in asked))

    def ingest(self, texts: Sequence[str], user_id: str) -> Any:
        """Store many memories with one call."""
        messages = [{"role": "user", "content": text} for text in texts]
        return self._memory.add(messages, user_id=user_id, infer=False)

    def found(self, answer: Any) -> list[str]:
        """Return the texts in an answer."""
        return [item["memory"] for item in answer["results"]]

    async def close(self) -> None:
        """Close the connections."""
        for memory in (self._memory, self._awaited):
            memory.vector_store.connection_pool.close()
            memory.close()


class LangGraph:
    """LangGraph's `AsyncPostgresStore` with an index on the text."""

    name = "langgraph"

    def __init__(self, url: str, vectors: Known) -> None:
        postgres = importlib.import_module("langgraph.store.postgres.aio")
        self._put = importlib.import_module("langgraph.store.base").PutOp

        async def embed(texts: Sequence[str]) -> list[list[float]]:
            return vectors.lists(texts)

        index = {"dims": DIM, "embed": embed, "fields": ["text"]}
        self._opened = postgres.AsyncPostgresStore.from_conn_string(
            url, pool_config={"min_size": 1, "max_size": POOL}, index=index
        )
        self._store: Any = None

    async def open(self) -> LangGraph:
        """Make the tables, without the index for now: the choice of none ("flat") is refused."""
        self._store = await self._opened.__aenter__()
        await self._store.setup()
        await self._run("drop index store_vectors_embedding_idx")
        return self

    async def fill(self, asked: Asked) -> None:
        """Store rows."""
        await self._store.abatch([self._operation(text, user_id) for text, user_id in asked])

    async def make_index(self) -> None:
        """Make the index that it makes unless it is told otherwise."""
        await self._run(
            "create index store_vectors_embedding_idx on store_vectors using hnsw (embedding vector_cosine_ops)"
        )

    def search(self, text: str, user_id: str) -> Any:
        """Search."""
        return self._store.asearch(("memories", user_id), query=text, limit=10)

    def add(self, text: str, user_id: str) -> Any:
        """Store one memory."""
        return self._store.aput(("memories", user_id), str(uuid4()), {"text": text})

    def search_all(self, asked: Asked) -> Awaitable[Any]:
        """Search at the same time."""
        return asyncio.gather(*(self.search(text, user_id) for text, user_id in asked))

    def ingest(self, texts: Sequence[str], user_id: str) -> Any:
        """Store many memories with one call."""
        return self._store.abatch([self._operation(text, user_id) for text in texts])

    def found(self, answer: Any) -> list[str]:
        """Return the texts in an answer."""
        return [item.value["text"] for item in answer]

    async def close(self) -> None:
        """Close the connections."""
        await self._opened.__aexit__(None, None, None)

    async def _run(self, sql: str) -> None:
        async with self._store.conn.connection() as connection:
            await connection.execute(sql)

    def _operation(self, text: str, user_id: str) -> Any:
        return self._put(("memories", user_id), str(uuid4()), {"text": text})


class _Mem0Embedder:
    def __init__(self, vectors: Known) -> None:
        self._vectors = vectors

    def embed(self, text: str, memory_action: str | None = None) -> list[float]:
        return self._vectors.lists([text])[0]

    def embed_batch(self, texts: Sequence[str], memory_action: str = "add") -> list[list[float]]:
        return self._vectors.lists(texts)


def _mem0_config(url: str) -> dict[str, Any]:
    return {
        "connection_string": url,
        "collection_name": "mem0",
        "embedding_model_dims": DIM,
        "hnsw": False,
        "maxconn": POOL,
    }


def _run(store: Any, sql: str) -> None:
    with store.connection_pool.connection() as connection:
        connection.execute(sql)
