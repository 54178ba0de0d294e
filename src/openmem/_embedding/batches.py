"""Cuts texts into requests, puts replies back in order, and finds what does not fit. Pure, without numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from openmem._model.requests import Draft, GivenVector
from openmem.errors import InvalidRequestError, OMPError, ProviderError
from openmem.types import OWN_MEMBER

CUT: Final = "embedding_truncated"
"""Member of the extension `x-openmem` of a memory whose vector stands for the beginning of its text only."""

_SIZE: Final = re.compile(
    r"token|length|\blong|context|batch|too (many|much|large|big)|maxim|\bmax|exceed|\bsize|limit|at most|no more than",
    re.IGNORECASE,
)
"""Words in which endpoints say that a text or a request is too large."""


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


def cut_text(text: str, max_chars: int, max_tokens: int) -> str:
    """Return the beginning of a text that no model counts as more than `max_tokens` tokens.

    A token of these models is one byte of UTF-8 at least. So this never counts too few, as an average of characters a
    token does for Chinese, Japanese, Korean, Tamil or emoji; of such texts it keeps less than might fit.
    """
    start = text[:max_chars]
    raw = start.encode("utf-8", "replace")
    return start if len(raw) <= max_tokens else raw[:max_tokens].decode("utf-8", "ignore")


def is_too_much(error: OMPError) -> bool:
    """Return whether an endpoint refused a request for the length or the number of its texts."""
    status = (error.details or {}).get("status")
    if status == 413:
        return True
    return status in (400, 422) and _SIZE.search(error.message) is not None


def to_embed(drafts: Sequence[Draft]) -> list[int]:
    """Return the positions of the drafts that get a vector made: not those that bring one, or that none is to find."""
    return [position for position, draft in enumerate(drafts) if draft.searchable and draft.embedding is None]


def given_vectors(drafts: Sequence[Draft]) -> dict[int, GivenVector]:
    """Return the vectors that drafts bring, by position."""
    return {position: draft.embedding for position, draft in enumerate(drafts) if draft.embedding is not None}


def report_of(
    tell: Callable[[int, int], object] | None, chosen: int, total: int
) -> Callable[[int, int], object] | None:
    """Return what reports on the embedding of some of a number of texts as on all of them; the others are done."""
    if tell is None or chosen == total:
        return tell
    return lambda done, _: tell(total - chosen + done, total)


def mark_cut(drafts: Sequence[Draft], cut: Collection[int]) -> Sequence[Draft]:
    """Return drafts that say, where it is so and nowhere else, that their vector stands for a beginning of their text.

    Args:
        drafts: The drafts.
        cut: Positions of those whose text was cut.
    """
    if not cut and not [draft for draft in drafts if OWN_MEMBER in draft.extensions]:
        return drafts
    return [_with_mark(draft, position in cut) for position, draft in enumerate(drafts)]


def marked(extensions: Mapping[str, Any], cut: bool) -> dict[str, Any]:
    """Return extensions of a memory with the mark, or without."""
    own = extensions.get(OWN_MEMBER)
    others = {name: value for name, value in extensions.items() if name != OWN_MEMBER}
    if not isinstance(own, Mapping):
        own = {} if cut or own is None else None
    if own is None:
        return dict(extensions)
    kept = {name: value for name, value in own.items() if name != CUT} | ({CUT: True} if cut else {})
    return {**others, OWN_MEMBER: kept} if kept else others


def _with_mark(draft: Draft, cut: bool) -> Draft:
    own = draft.extensions.get(OWN_MEMBER)
    if cut or (isinstance(own, Mapping) and CUT in own):
        return replace(draft, extensions=marked(draft.extensions, cut))
    return draft


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
        if type(index) is not int or not 0 <= index < count or not isinstance(vector, list):
            raise ProviderError(f"{server} answered an embedding that cannot be read", provider=server)
        if vectors[index] is not None:
            raise ProviderError(f"{server} answered two embeddings for one text", provider=server)
        vectors[index] = vector
    return vectors


def other_length(model: str, dim: int, known: int) -> InvalidRequestError:
    """Return the error for an embedder whose vectors cannot stand beside those that a store has of the same name."""
    return InvalidRequestError(
        f"embedder: model {model!r} has {dim} dimensions, but this store's vectors of it have {known}: open the store "
        f"with dimensions {known}, or move it to {dim} with reembed()"
    )
