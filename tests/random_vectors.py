"""Vectors that mean nothing: the hard case for an approximate index, and easy to search exactly beside the database."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from openmem import Memory

Floats = npt.NDArray[np.float32]


class RandomEmbedder:
    """Gives each text a random direction of its own, always the same."""

    def __init__(self, dim: int, model: str = "random") -> None:
        self.dim = dim
        self.model = model

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one row for each text, of length 1."""
        rows = np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=self.dim) for text in texts])
        unit: Floats = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return unit


def contents(user: int, rows: int) -> list[str]:
    """Return what a user remembers."""
    return [f"row {number} of user{user}" for number in range(rows)]


def fill(url: str, users: int, rows: int, dim: int) -> None:
    """Store as many memories of as many users, every tenth with a tag, every twentieth with a scope."""
    with Memory(url=url, embedder=RandomEmbedder(dim), timeout=60) as memory:
        for user in range(users):
            texts = enumerate(contents(user, rows))
            memory.add_many(
                [
                    {
                        "content": text,
                        "tags": ["tenth"] if number % 10 == 0 else [],
                        "scope": "twentieth" if number % 20 == 0 else "others",
                    }
                    for number, text in texts
                ],
                user_id=f"user{user}",
            )


def nearest(embedder: RandomEmbedder, query: str, texts: Sequence[str], count: int) -> list[str]:
    """Return the texts nearest to the query, best first, found without a database."""
    scores = embedder.embed(texts) @ embedder.embed([query])[0]
    return [texts[position] for position in np.argsort(-scores)[:count]]
