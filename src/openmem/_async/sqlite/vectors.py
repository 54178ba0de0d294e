"""The part of the embedded provider that turns texts into vectors, and moves a store to another model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from openmem._async.provider import AsyncProvider
from openmem._embedding.batches import given_vectors, report_of, to_embed
from openmem._embedding.ready import agreed_model, other_model
from openmem._io.concurrency.call import Call
from openmem._io.sqlite.database import AsyncSqlite
from openmem._model.requests import Draft, GivenVector
from openmem._sql.sqlite import reembed
from openmem._sql.sqlite.writer import Blob, other_model_there
from openmem._sql.writing import Model, Stamp
from openmem.types import ReembedReport

_EMBED_AT_ONCE: Final = 256


class AsyncSqliteVectors(AsyncProvider):
    """`reembed`, and the vectors of what is stored."""

    _db: AsyncSqlite

    async def reembed(self, on_progress: Callable[[int, int], object] | None, call: Call) -> ReembedReport:
        """Give every memory a vector of the embedder's model, then drop the vectors of other models."""
        if self.embedder is None:
            raise self.needs_embedder("reembed")
        model = Model(self.embedder.model, await self.embedder.find_dim(call.deadline))
        model_no, done, total = await self._db.write(reembed.begin(model), call.deadline)
        after = 0
        while True:
            batch = await self._db.read(reembed.pending(model_no, after, _EMBED_AT_ONCE), call.deadline)
            if not batch and not after:
                break
            after = batch[-1].rid if batch else 0
            if batch:
                cut: set[int] = set()
                _, blobs = await self._embed([item.content for item in batch], None, call, cut)
                steps = reembed.store(model_no, batch, [blob or b"" for blob in blobs], cut, stamp_of(call))
                done += await self._db.write(steps, call.deadline)
                total = max(total, done)
            if batch and on_progress is not None:
                on_progress(done, total)
        await self._db.write(reembed.finish(model_no, stamp_of(call)), call.deadline)
        return ReembedReport(model=model.name, done=done, total=total)

    async def _embed_drafts(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call, cut: set[int]
    ) -> tuple[Model | None, Sequence[Blob | None]]:
        chosen = to_embed(drafts)
        if len(chosen) == len(drafts):
            return await self._embed([draft.content for draft in drafts], on_progress, call, cut)
        short: set[int] = set()
        given = given_vectors(drafts)
        await self._given_model(given.values(), call)  # what is wrong is known before a text is embedded
        tell = report_of(on_progress, len(chosen), len(drafts))
        model, made = await self._embed([drafts[position].content for position in chosen], tell, call, short)
        cut.update(chosen[position] for position in short)
        blobs: list[Blob | None] = [None] * len(drafts)
        for position, blob in zip(chosen, made, strict=True):
            blobs[position] = blob
        for position, vector in given.items():
            blobs[position] = vector.values.astype("<f4", copy=False).tobytes()
        return (await self._given_model(given.values(), call) if given else model), blobs

    async def _given_model(self, vectors: Iterable[GivenVector], call: Call) -> Model | None:
        """Return the model of vectors that callers brought, which must be the embedder's, or else the store's."""
        embedder = self.embedder
        agreed = agreed_model(vectors, *(() if embedder is None else (embedder.model, embedder.dim)))
        if agreed is None:
            return None
        if embedder is None:
            known = await self._db.read(other_model_there(agreed[0]), call.deadline)
            if known is not None:
                raise other_model(agreed[0], known)
        return Model(*agreed)

    async def _embed(
        self,
        texts: Sequence[str],
        on_progress: Callable[[int, int], object] | None,
        call: Call,
        cut: set[int],
    ) -> tuple[Model | None, Sequence[Blob | None]]:
        if self.embedder is None or not texts:
            if on_progress is not None:
                on_progress(len(texts), len(texts))
            return None, [None] * len(texts)
        if on_progress is None:
            vectors = await self.embedder.embed(texts, call.deadline, cut)
            return Model(self.embedder.model, vectors.shape[1]), _blobs_of(vectors)
        blobs: list[Blob | None] = []
        dim = 0
        for start in range(0, len(texts), _EMBED_AT_ONCE):
            short: set[int] = set()
            vectors = await self.embedder.embed(texts[start : start + _EMBED_AT_ONCE], call.deadline, short)
            cut.update(start + position for position in short)
            dim = vectors.shape[1]
            blobs += _blobs_of(vectors)
            on_progress(len(blobs), len(texts))
        return Model(self.embedder.model, dim), blobs


def _blobs_of(vectors: Any) -> list[Blob]:
    data = vectors.astype("<f4", copy=False).tobytes()
    if len(vectors) == 1:
        return [data]
    view, width = memoryview(data), vectors.shape[1] * 4
    return [view[start : start + width] for start in range(0, len(data), width)]


def stamp_of(call: Call) -> Stamp:
    """Return what a call writes with."""
    return Stamp(call.now, call.app, call.request_id)
