"""Made-up memories: texts whose words are as unevenly spread as in real ones, vectors, and an embedder that has them.

Words follow Zipf's law (probability 1 / (rank + 3) over 20,000 words), so that one query of five words shares a word
with about a third of the memories, as in recorded conversations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIM = 384
VOCABULARY = 20_000
WORDS_PER_TEXT = 16
WORDS_PER_QUERY = 5

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts and their unit vectors."""

    texts: list[str]
    vectors: Floats

    def __len__(self) -> int:
        return len(self.texts)


class Corpus:
    """An endless supply of texts, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        weights = 1 / (np.arange(VOCABULARY) + 3)
        self._cumulative = np.cumsum(weights / weights.sum())
        self._words = np.array([_word(number) for number in range(VOCABULARY)], dtype=object)

    def batch(self, count: int) -> Batch:
        """Return the next memories."""
        return Batch(self._texts(count, WORDS_PER_TEXT), self._vectors(count))

    def queries(self, count: int) -> Batch:
        """Return the next queries."""
        return Batch(self._texts(count, WORDS_PER_QUERY), self._vectors(count))

    def _texts(self, count: int, length: int) -> list[str]:
        chosen = np.searchsorted(self._cumulative, self._random.random((count, length)))
        chosen = np.minimum(chosen, VOCABULARY - 1)
        return [" ".join(row) for row in self._words[chosen]]

    def _vectors(self, count: int) -> Floats:
        vectors = self._random.standard_normal((count, DIM), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


class GivenVectors:
    """An embedder that was handed its vectors before: no time of a model is in the figures."""

    model = "given"
    dim = DIM

    def __init__(self) -> None:
        self._coming: Floats = np.empty((0, DIM), dtype=np.float32)
        self._query: Floats = np.zeros((1, DIM), dtype=np.float32)

    def give(self, vectors: Floats) -> None:
        """Set the vectors of the next texts to store, in order."""
        self._coming = vectors

    def give_query(self, vector: Floats) -> None:
        """Set the vector of the next query."""
        self._query = vector.reshape(1, DIM)

    def embed(self, texts: list[str]) -> Floats:
        """Return the next vectors."""
        vectors, self._coming = self._coming[: len(texts)], self._coming[len(texts) :]
        return vectors

    def embed_query(self, texts: list[str]) -> Floats:
        """Return the query's vector."""
        return self._query


class GivenVectorsAsync(GivenVectors):
    """The same for an event loop, with nothing to wait for."""

    async def embed(self, texts: list[str]) -> Floats:  # type: ignore[override]
        """Return the next vectors."""
        return super().embed(texts)

    async def embed_query(self, texts: list[str]) -> Floats:  # type: ignore[override]
        """Return the query's vector."""
        return super().embed_query(texts)


def _word(number: int) -> str:
    # Syllables; the "n" keeps stemmers and stop-word lists away.
    letters = ""
    for _ in range(3):
        number, syllable = divmod(number, 60)
        letters += "bdfgklmprstv"[syllable // 5] + "aeiou"[syllable % 5]
    return letters + "n"
