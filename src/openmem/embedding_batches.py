"""How texts are cut into requests, and how a reply is put back in order. Pure, without numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openmem.errors import ProviderError


def shortest_first(texts: Sequence[str]) -> list[int]:
    """Return the positions of the texts from the shortest to the longest.

    A batch is as slow as its longest text, so texts of one length belong together.
    """
    return sorted(range(len(texts)), key=lambda position: len(texts[position]))


def batches(texts: Sequence[str], *, max_count: int, max_chars: int) -> Iterator[Sequence[str]]:
    """Cut the texts, in order, into runs of at most `max_count` texts and `max_chars` characters.

    A single text beyond `max_chars` is a run of its own.
    """
    start = chars = 0
    for position, text in enumerate(texts):
        full = position - start >= max_count or chars + len(text) > max_chars
        if full and position > start:
            yield texts[start:position]
            start, chars = position, 0
        chars += len(text)
    if start < len(texts):
        yield texts[start:]


def vectors_of_reply(reply: Any, count: int, server: str) -> list[Any]:
    """Return the vectors of a reply to `POST /embeddings`, in the order of the texts sent.

    Args:
        reply: The decoded body: `{"data": [{"index": 0, "embedding": […]}, …]}`.
        count: How many texts were sent.
        server: Name for the error message.

    Raises:
        ProviderError: The body has another shape, or not exactly one vector for each text.
    """
    data = reply.get("data") if isinstance(reply, Mapping) else None
    if not isinstance(data, list):
        raise ProviderError(f"{server} answered no embeddings", provider=server)
    if len(data) != count:
        raise ProviderError(f"{server} answered {len(data)} embeddings for {count} texts", provider=server)
    vectors: list[Any] = [None] * count
    for position, item in enumerate(data):
        index = item.get("index", position) if isinstance(item, Mapping) else None
        vector = item.get("embedding") if isinstance(item, Mapping) else None
        if not isinstance(index, int) or not 0 <= index < count or not isinstance(vector, list):
            raise ProviderError(f"{server} answered an embedding that cannot be read", provider=server)
        if vectors[index] is not None:
            raise ProviderError(f"{server} answered two embeddings for one text", provider=server)
        vectors[index] = vector
    return vectors
