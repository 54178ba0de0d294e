"""Choice of an embedder: the protocol for the user's own, and the two built-in choices.

An embedder turns texts into vectors, so that a search finds what is meant and not only what is written.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from openmem._model.checks import MAX_NAME, check_instance, check_text
from openmem._model.retry import Retry
from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Vectors: TypeAlias = "NDArray[Any] | Sequence[Sequence[float]]"

DEFAULT_LOCAL_MODEL: Final = "BAAI/bge-small-en-v1.5"
OPENAI_URL: Final = "https://api.openai.com/v1"

_CHOICES: Final = (
    'give "none", "fastembed[:MODEL[@FOLDER]]", "openai:MODEL", or an object with dim, model and embed(texts)'
)

_KNOWN_DIMS: Final[dict[str, int]] = {
    "BAAI/bge-small-en-v1.5": 384,
    "BAAI/bge-base-en-v1.5": 768,
    "sentence-transformers/all-MiniLM-L6-v2": 384,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}

_RETRIEVE: Final = "Represent this sentence for searching relevant passages: "
_INSTRUCT: Final = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "

# (how the model's name begins, before a query, before a memory). The runtime adds none by itself. Changing a
# line makes vectors that no longer fit the stored ones.
_PREFIXES: Final[tuple[tuple[str, str, str], ...]] = (
    ("snowflake/snowflake-arctic-embed", _RETRIEVE, ""),
    ("mixedbread-ai/mxbai-embed-large", _RETRIEVE, ""),
    ("nomic-ai/nomic-embed-text", "search_query: ", "search_document: "),
    ("intfloat/multilingual-e5", "query: ", "passage: "),
    ("google/embeddinggemma", "task: search result | query: ", "title: none | text: "),
    ("qwen/qwen3-embedding", _INSTRUCT, ""),
    ("qdrant/stella-en", _INSTRUCT, ""),
)


class Embedder(Protocol):
    """The protocol of an object passed as `embedder=`. Instances may be shared by several memories.

    An optional method `embed_query(texts)` of the same form is used for search queries, for models that treat
    queries and stored texts differently.
    """

    @property
    def dim(self) -> int:
        """The numbers in a vector; at least 1."""
        ...

    @property
    def model(self) -> str:
        """Name stored beside every vector. Change it whenever the vectors change their meaning."""
        ...

    def embed(self, texts: list[str], /) -> Vectors | Awaitable[Vectors]:
        """Return one vector of `dim` finite numbers per text, in order. They need not have length 1."""
        ...


@dataclass(frozen=True, slots=True)
class FastEmbed:
    """A model on this machine, run by the fastembed package. Needs the extra `local`.

    Args:
        model: A name from fastembed's list of models.
        model_path: Folder that holds the model's files; then nothing is downloaded. It needs the ONNX file,
            config.json, tokenizer.json, tokenizer_config.json and special_tokens_map.json.
        threads: How many threads compute one batch; by default the processor's cores, at most 4.
        cache_dir: Where downloaded models are kept; by default `openmem/models` in the user's cache folder.
        batch_size: How many texts are computed at once. More needs more memory.

    Raises:
        InvalidRequestError: An argument is blank or not positive.
    """

    model: str = DEFAULT_LOCAL_MODEL
    model_path: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    threads: int | None = field(default=None, kw_only=True)
    cache_dir: str | os.PathLike[str] | None = field(default=None, kw_only=True)
    batch_size: int = field(default=32, kw_only=True)

    def __post_init__(self) -> None:
        _check_name("FastEmbed", self.model)
        _check_positive("FastEmbed", batch_size=self.batch_size, threads=self.threads)

    @property
    def known_dim(self) -> int | None:
        """The numbers in a vector, or `None` if that is known only once the model is loaded."""
        return _KNOWN_DIMS.get(self.model)


@dataclass(frozen=True, slots=True)
class OpenAIEmbedder:
    """A model behind any endpoint that speaks OpenAI's `/embeddings`.

    Args:
        model: The model's name as the endpoint knows it.
        api_key: The key; by default that of `OPENAI_API_KEY`. Endpoints of one's own may need none.
        base_url: Address without `/embeddings`; by default that of `OPENAI_BASE_URL`, else the vendor's.
        dim: Ask for vectors of this many numbers, which only some models can do.
        batch_size: Most texts in one request.
        max_batch_chars: Most characters in one request.
        max_text_chars: Longer texts are embedded by their beginning: endpoints refuse texts beyond the
            model's window. The stored memory keeps its whole text.
        max_text_tokens: The same in tokens, of which a byte of UTF-8 may be one. What an endpoint refuses as too long
            even so is cut further, and what it refuses as too many texts is sent in smaller requests.
        concurrency: How many requests of one call are under way at once.
        retries: How often a request is repeated after a passing failure, where there is no `retry`.
        retry: How often, and after how long; by default that of the memory, else `retries` and waits of its own.
        query_prefix: Put before search queries, for models that want it.
        document_prefix: Put before stored texts, for models that want it.

    Raises:
        InvalidRequestError: An argument is blank or not positive.
    """

    model: str
    api_key: str | None = field(default=None, kw_only=True, repr=False)
    base_url: str | None = field(default=None, kw_only=True, repr=False)
    dim: int | None = field(default=None, kw_only=True)
    batch_size: int = field(default=64, kw_only=True)
    max_batch_chars: int = field(default=100_000, kw_only=True)
    max_text_chars: int = field(default=8_000, kw_only=True)
    max_text_tokens: int = field(default=8_000, kw_only=True)
    concurrency: int = field(default=4, kw_only=True)
    retries: int = field(default=3, kw_only=True)
    retry: Retry | None = field(default=None, kw_only=True)
    query_prefix: str = field(default="", kw_only=True)
    document_prefix: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        _check_name("OpenAIEmbedder", self.model)
        _check_positive(
            "OpenAIEmbedder",
            dim=self.dim,
            batch_size=self.batch_size,
            max_batch_chars=self.max_batch_chars,
            max_text_chars=self.max_text_chars,
            max_text_tokens=self.max_text_tokens,
            concurrency=self.concurrency,
        )
        if self.retries < 0:
            raise InvalidRequestError("OpenAIEmbedder: retries must not be negative")
        check_instance(self.retry, Retry, "OpenAIEmbedder: retry")

    @property
    def known_dim(self) -> int | None:
        """The numbers in a vector, or `None` if only a first reply can tell."""
        return self.dim or _KNOWN_DIMS.get(self.model)


EmbedderSpec: TypeAlias = str | Embedder | FastEmbed | OpenAIEmbedder | None
"""The values that `embedder=` takes."""


def parse_embedder(text: str) -> FastEmbed | OpenAIEmbedder | None:
    """Return the choice that a text such as `fastembed:MODEL` names; `none` gives `None`.

    `fastembed:MODEL@FOLDER` takes the model's files from a folder, so that nothing is downloaded.

    Raises:
        InvalidRequestError: It names no choice.
    """
    kind, colon, model = text.strip().partition(":")
    if kind == "none" and not colon:
        return None
    if kind == "fastembed":
        name, at, folder = model.partition("@")
        if at and not folder.strip():
            raise InvalidRequestError("embedder: after the @ of fastembed:MODEL@FOLDER stands no folder")
        return FastEmbed(name, model_path=folder or None) if colon else FastEmbed()
    if kind == "openai" and model.strip():
        return OpenAIEmbedder(model)
    raise InvalidRequestError(f"embedder {text[:80]!r} is not known: {_CHOICES}")


def check_embedder(embedder: Any) -> None:
    """Check that an object can serve as an embedder, without calling it.

    Raises:
        InvalidRequestError: Something is missing or wrong; the message names it.
    """
    name = type(embedder).__name__
    if inspect.isclass(embedder):
        raise InvalidRequestError(
            f"embedder is the class {embedder.__name__}; give an instance: {embedder.__name__}(…)"
        )
    missing = [part for part in ("dim", "model", "embed") if not hasattr(embedder, part)]
    if missing:
        raise InvalidRequestError(f"embedder {name} lacks {', '.join(missing)}: {_CHOICES}")
    dim = embedder.dim
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
        raise InvalidRequestError(f"embedder {name}: dim must be a whole number from 1 on")
    if not isinstance(embedder.model, str) or not embedder.model.strip():
        raise InvalidRequestError(f"embedder {name}: model must be a name")
    check_text(embedder.model, f"embedder {name}: model", MAX_NAME)
    for part in ("embed", "embed_query"):
        if not callable(getattr(embedder, part, check_embedder)):
            raise InvalidRequestError(f"embedder {name}: {part} must be a method that takes a list of texts")


def prefixes(model: str) -> tuple[str, str]:
    """Return what a local model wants before a query and before a stored text."""
    name = model.lower()
    if name in ("baai/bge-small-en", "baai/bge-base-en"):
        return _RETRIEVE, ""
    return next(((query, document) for start, query, document in _PREFIXES if name.startswith(start)), ("", ""))


def _check_name(owner: str, model: Any) -> None:
    if not isinstance(model, str) or not model.strip():
        raise InvalidRequestError(f"{owner}: model must be a name")
    check_text(model, f"{owner}: model", MAX_NAME)


def _check_positive(owner: str, **numbers: Any) -> None:
    for name, value in numbers.items():
        if value is None and name in ("dim", "threads"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InvalidRequestError(f"{owner}: {name} must be a whole number from 1 on")
