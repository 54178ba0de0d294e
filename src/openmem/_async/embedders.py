"""Embedders as providers use them: one interface over a local model, an endpoint, or a user's object."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from openmem._embedding import choices as embedding
from openmem._embedding.batches import batches, cut_text, is_too_much, vectors_of_reply
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_gather, async_import_module, async_to_thread
from openmem._io.concurrency.user_code import AsyncUserFunction
from openmem._io.local_model import NOT_INSTALLED, is_loaded, load_local_model
from openmem._model.retry import Retry
from openmem.errors import DeadlineExceededError, InvalidRequestError, OMPError, ProviderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openmem._io.http.client import AsyncHttp

_OWN_BATCH = 256
_SMALL = 8
_SHORT = 256
_VECTORS = "openmem._embedding.vectors"


def resolve_embedder(
    spec: embedding.EmbedderSpec,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    retry: Retry | None = None,
) -> AsyncEmbedder | None:
    """Return the embedder that `embedder=` asks for, without loading or calling anything.

    Args:
        spec: `None` for the local model if it is installed; `"none"`, `"fastembed"`, `"fastembed:MODEL"`,
            `"openai:MODEL"`; a `FastEmbed` or an `OpenAIEmbedder`; or the user's own object.
        api_key: Key of the endpoint, for `"openai:MODEL"`.
        base_url: Address of the endpoint, for `"openai:MODEL"`.
        retry: How requests to an endpoint are repeated, if the choice itself does not say so.

    Returns:
        The embedder, or `None` when there is none and only words can be searched.

    Raises:
        InvalidRequestError: The choice is unknown, incomplete or not installed; the message says what to do.
    """
    if spec is None:
        return AsyncLocalEmbedder(embedding.FastEmbed()) if _fastembed_installed() else None
    choice = embedding.parse_embedder(spec) if isinstance(spec, str) else spec
    if choice is None:
        return None
    if isinstance(choice, embedding.FastEmbed):
        if not _fastembed_installed():
            raise InvalidRequestError(NOT_INSTALLED)
        return AsyncLocalEmbedder(choice)
    if isinstance(choice, embedding.OpenAIEmbedder):
        return AsyncRemoteEmbedder(choice, api_key=api_key, base_url=base_url, retry=retry)
    embedding.check_embedder(choice)
    return AsyncCustomEmbedder(choice)


def _joined(parts: Sequence[NDArray[np.float32]], embedder: AsyncEmbedder) -> NDArray[np.float32]:
    from openmem._embedding.vectors import join_rows

    return join_rows(parts, dim=embedder.dim, model=embedder.model)


def _fastembed_installed() -> bool:
    return importlib.util.find_spec("fastembed") is not None


class AsyncEmbedder:
    """Turns texts into unit vectors.

    Attributes:
        model: Name recorded beside every vector.
        dim: How many numbers a vector has; `None` until a first use has told.
    """

    def __init__(self, model: str, dim: int | None) -> None:
        self.model = model
        self.dim = dim

    async def embed(self, texts: Sequence[str], deadline: Deadline, cut: set[int] | None = None) -> NDArray[np.float32]:
        """Return the vectors of texts to store.

        Args:
            texts: The texts; none gives an empty matrix.
            deadline: Bounds the whole call.
            cut: Gets the positions of texts of which only the beginning could be embedded.

        Returns:
            A matrix of shape (len(texts), dim) whose rows have length 1, or are all zero.

        Raises:
            ProviderError: The embedder failed or returned something unusable.
            DeadlineExceededError: The time is used up.
        """
        if not texts:
            return _joined([], self)
        return await self._rows(list(texts), False, deadline, set() if cut is None else cut)

    async def embed_query(self, text: str, deadline: Deadline) -> NDArray[np.float32]:
        """Return the vector of a search query, of shape (dim,).

        Args:
            text: The query.
            deadline: Bounds the whole call.

        Raises:
            ProviderError: The embedder failed or returned something unusable.
            DeadlineExceededError: The time is used up.
        """
        row: NDArray[np.float32] = (await self._rows([text], True, deadline, set()))[0]
        return row

    async def find_dim(self, deadline: Deadline) -> int:
        """Return how many numbers a vector has, embedding a word to find out if need be.

        Raises:
            ProviderError: The embedder failed.
            DeadlineExceededError: The time is used up.
        """
        if self.dim is None:
            await self.embed(["dimension"], deadline)
        assert self.dim is not None
        return self.dim

    async def aclose(self) -> None:
        """Free connections, if there are any."""

    async def _rows(self, texts: list[str], query: bool, deadline: Deadline, cut: set[int]) -> NDArray[np.float32]:
        raise NotImplementedError

    async def _checked(self, raw: Any, count: int) -> NDArray[np.float32]:
        vectors = await async_import_module(_VECTORS, None)  # with numpy, which a search for words may do without
        rows: NDArray[np.float32]
        if count > _SMALL:
            check = partial(vectors.unit_rows, raw, count=count, dim=self.dim, model=self.model)
            rows = await async_to_thread(check)
        else:
            rows = vectors.unit_rows(raw, count=count, dim=self.dim, model=self.model)
        self.dim = self.dim or rows.shape[1]
        return rows


class AsyncLocalEmbedder(AsyncEmbedder):
    """A model on this machine. The first use loads it, and downloads it where needed."""

    def __init__(self, choice: embedding.FastEmbed) -> None:
        super().__init__(choice.model, choice.known_dim)
        self._choice = choice
        self._worker = AsyncUserFunction(self._compute, "the local embedder")

    async def _rows(self, texts: list[str], query: bool, deadline: Deadline, cut: set[int]) -> NDArray[np.float32]:
        deadline.check()
        loaded = is_loaded(self._choice)
        try:
            raw = await self._worker.run(deadline, texts, query, deadline, cut)
        except DeadlineExceededError as exc:
            if loaded:
                raise
            message = f"the embedding model {self.model!r} was still being loaded: {exc.message}; try again later"
            raise DeadlineExceededError(message, provider="fastembed") from None
        return await self._checked(raw, len(texts))

    def _compute(self, texts: list[str], query: bool, deadline: Deadline, cut: set[int]) -> Any:
        model = load_local_model(self._choice)
        return model.embed(texts, query=query, batch_size=self._choice.batch_size, deadline=deadline, cut=cut)


class AsyncRemoteEmbedder(AsyncEmbedder):
    """A model behind an endpoint that speaks OpenAI's `/embeddings`."""

    def __init__(
        self,
        choice: embedding.OpenAIEmbedder,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        retry: Retry | None = None,
    ) -> None:
        super().__init__(choice.model, choice.known_dim)
        key = choice.api_key or api_key or os.environ.get("OPENAI_API_KEY")
        url = choice.base_url or base_url or os.environ.get("OPENAI_BASE_URL") or embedding.OPENAI_URL
        if not key and url == embedding.OPENAI_URL:
            raise InvalidRequestError(
                f"embedder openai:{choice.model} needs a key: set OPENAI_API_KEY or give "
                "OpenAIEmbedder(model, api_key=…); for another endpoint set OPENAI_BASE_URL or base_url="
            )
        self._choice = choice
        self._retry = choice.retry or retry or Retry(choice.retries)
        self._most = choice.batch_size
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"} if key else {}
        from openmem._protocol.http_errors import Endpoint  # here: most programs never need an HTTP client

        Endpoint.of(url, self._headers, "openai")
        self._http: AsyncHttp | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        if self._http is not None:
            await self._http.aclose()

    async def _rows(self, texts: list[str], query: bool, deadline: Deadline, cut: set[int]) -> NDArray[np.float32]:
        choice = self._choice
        prefix = choice.query_prefix if query else choice.document_prefix
        prepared = [cut_text(prefix + text, choice.max_text_chars, choice.max_text_tokens) for text in texts]
        cut.update(i for i, text in enumerate(texts) if len(prepared[i]) < len(prefix) + len(text))
        runs = list(batches(prepared, max_count=min(choice.batch_size, self._most), max_chars=choice.max_batch_chars))
        starts = [sum(map(len, runs[:number])) for number in range(len(runs))]
        parts: list[NDArray[np.float32]] = []
        for start in range(0, len(runs), choice.concurrency):
            group = [*zip(starts, runs, strict=True)][start : start + choice.concurrency]
            parts += await async_gather(*(partial(self._run, run, at, cut, deadline) for at, run in group))
        return _joined(parts, self)

    async def _run(self, texts: Sequence[str], at: int, cut: set[int], deadline: Deadline) -> NDArray[np.float32]:
        """Embed texts of which the first is at a position, and remember how many of them the endpoint takes at once."""
        shortened: set[int] = set()
        taken: list[int] = []
        rows = await self._fitting(texts, at, shortened, taken, deadline)
        cut |= shortened
        if not shortened:  # else it was a text that was too long, and not their number
            self._most = max(1, min(self._most, max(taken))) if max(taken) < len(texts) else self._most
        return rows

    async def _fitting(
        self, texts: Sequence[str], at: int, cut: set[int], taken: list[int], deadline: Deadline
    ) -> NDArray[np.float32]:
        """Embed texts, in smaller requests or by less of their beginning where the endpoint wants it.

        Args:
            texts: The texts.
            at: The position of the first.
            cut: Gets the positions of texts that were cut.
            taken: Gets the number of texts of each request that was answered.
            deadline: Bounds the whole call.
        """
        try:
            rows = await self._request(texts, deadline)
        except InvalidRequestError as error:
            if not is_too_much(error) or (len(texts) == 1 and len(texts[0].encode()) <= _SHORT):
                raise
        else:
            taken.append(len(texts))
            return rows
        if len(texts) > 1:
            half = len(texts) // 2
            first = await self._fitting(texts[:half], at, cut, taken, deadline)
            second = await self._fitting(texts[half:], at + half, cut, taken, deadline)
            return _joined([first, second], self)
        shorter = cut_text(texts[0], len(texts[0]), len(texts[0].encode()) // 2)
        cut.add(at)
        return await self._fitting([shorter], at, cut, taken, deadline)

    async def _request(self, texts: Sequence[str], deadline: Deadline) -> NDArray[np.float32]:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "float"}
        if self._choice.dim is not None:
            body["dimensions"] = self._choice.dim
        http = self._http or await self._connected(deadline)
        reply = await http.request_json(
            "POST",
            "/embeddings",
            json=body,
            deadline=deadline,
            retry_safe=True,
        )
        return await self._checked(vectors_of_reply(reply, len(texts), "openai"), len(texts))

    async def _connected(self, deadline: Deadline) -> AsyncHttp:
        clients = await async_import_module("openmem._io.http.client", deadline)
        made: AsyncHttp = clients.AsyncHttp(self._url, headers=self._headers, provider="openai", retry=self._retry)
        if self._closed:
            await made.aclose()  # it says so itself, to who asks
        self._http = self._http or made
        return self._http


class AsyncCustomEmbedder(AsyncEmbedder):
    """The user's own object."""

    def __init__(self, own: embedding.Embedder) -> None:
        super().__init__(own.model, own.dim)
        query = getattr(own, "embed_query", None)
        self._documents = AsyncUserFunction(own.embed, f"embed of the embedder {self.model!r}")
        self._queries = AsyncUserFunction(query, f"embed_query of the embedder {self.model!r}") if query else None

    async def _rows(self, texts: list[str], query: bool, deadline: Deadline, cut: set[int]) -> NDArray[np.float32]:
        worker = self._queries if query and self._queries else self._documents
        if len(texts) <= _OWN_BATCH:
            return await self._checked(await self._run(worker, texts, deadline), len(texts))
        parts = []
        for start in range(0, len(texts), _OWN_BATCH):
            some = texts[start : start + _OWN_BATCH]
            parts.append(await self._checked(await self._run(worker, some, deadline), len(some)))
        return _joined(parts, self)

    async def _run(self, worker: AsyncUserFunction, texts: list[str], deadline: Deadline) -> Any:
        try:
            return await worker.run(deadline, texts)
        except OMPError:
            raise
        except Exception as exc:
            message = f"the embedder {self.model!r} failed: {type(exc).__name__}"
            raise ProviderError(message, provider=self.model) from exc
