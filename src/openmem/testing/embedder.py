"""An embedder without a model: words become fixed random directions, a text their normalised sum."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from functools import lru_cache

_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "did",
        "do",
        "does",
        "for",
        "from",
        "had",
        "has",
        "have",
        "how",
        "i",
        "in",
        "is",
        "it",
        "its",
        "me",
        "my",
        "not",
        "of",
        "on",
        "or",
        "she",
        "he",
        "so",
        "that",
        "the",
        "their",
        "them",
        "they",
        "this",
        "to",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "who",
        "will",
        "with",
        "you",
        "your",
    ]
)


class HashEmbedder:
    """Embeds texts by the words they share: the same everywhere, at once, and without a download.

    Texts with the same words have a cosine of 1, texts without a common word one near 0. Stop words do not
    count. Vectors depend on the model's name, so embedders of different names do not understand each other.

    Args:
        dim: Length of a vector, at least 1.
        model: Name that rows are recorded under; by default `hash-<dim>`.
    """

    def __init__(self, dim: int = 64, *, model: str | None = None) -> None:
        if dim < 1:
            raise ValueError("dim must be at least 1")
        self.dim = dim
        self.model = model or f"hash-{dim}"

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector of length 1 for each text, in order."""
        return [self._embed_one(text) for text in texts]

    def similarity(self, first: str, second: str) -> float:
        """Return the cosine between two texts, in [-1, 1]."""
        one, two = self.embed([first, second])
        return math.fsum(a * b for a, b in zip(one, two, strict=True))

    def _embed_one(self, text: str) -> list[float]:
        words = [word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]
        directions = [_direction(self.model, word, self.dim) for word in words or [text]]
        return _unit([math.fsum(column) for column in zip(*directions, strict=True)])


@lru_cache(maxsize=20_000)
def _direction(model: str, word: str, dim: int) -> tuple[float, ...]:
    # Python's own hash() differs between processes; a digest does not.
    digest = hashlib.shake_128(f"{model}\0{word}".encode()).digest(2 * dim)
    pairs = zip(digest[::2], digest[1::2], strict=True)
    return tuple(_unit([(256 * high + low) - 32767.5 for high, low in pairs]))


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length else [1.0] + [0.0] * (len(vector) - 1)
