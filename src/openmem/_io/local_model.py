"""Models on this machine, run by fastembed: loaded once per process, by the first caller that needs them."""

from __future__ import annotations

import difflib
import importlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from openmem._config.extras import install_extra
from openmem._embedding.batches import shortest_first
from openmem._embedding.choices import FastEmbed, prefixes
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import ThreadLock
from openmem._io.paths import user_cache_dir
from openmem.errors import InvalidRequestError, ProviderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROVIDER = "fastembed"
NOT_INSTALLED = f"the local embedder needs fastembed: {install_extra('local')}"

_MOST_THREADS = 4
_RETRY_LOAD_AFTER = 30.0
_HUB_TIMEOUT = 10.0
_Key = tuple[int, str, str, int | None, str]
_models: dict[_Key, LocalModel] = {}
_failed: dict[_Key, float] = {}
_locks: dict[_Key, ThreadLock] = {}


class LocalModel:
    """A loaded model. Threads may share it."""

    def __init__(self, engine: Any, model: str) -> None:
        self._engine = engine
        self._model = model
        self._query_prefix, self._document_prefix = prefixes(model)
        self.dim = int(engine.embedding_size)

    def embed(
        self, texts: Sequence[str], *, query: bool, batch_size: int, deadline: Deadline, cut: set[int]
    ) -> NDArray[np.float32]:
        """Return one vector per text, in order.

        Args:
            texts: The texts; what lies beyond the model's window does not count.
            query: They are search queries, which some models treat differently.
            batch_size: How many are computed at once.
            deadline: Checked before each batch.
            cut: Gets the positions of texts that are longer than the model's window.

        Raises:
            ProviderError: The model failed.
            DeadlineExceededError: The time is used up.
        """
        import numpy as np

        prefix = self._query_prefix if query else self._document_prefix
        run = self._engine.query_embed if query else self._engine.embed
        order = shortest_first(texts)
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(order), batch_size):
            deadline.check()
            chosen = order[start : start + batch_size]
            prepared = [prefix + texts[i] for i in chosen]
            try:
                rows[chosen] = list(run(prepared, batch_size=batch_size))
                cut.update(chosen[i] for i in self._beyond_window(prepared))
            except Exception as exc:
                message = f"the embedding model {self._model!r} failed: {type(exc).__name__}"
                raise ProviderError(message, provider=PROVIDER) from exc
        return rows

    def _beyond_window(self, texts: list[str]) -> list[int]:
        """Return the positions of texts whose end the tokenizer leaves off. To ask it takes next to no time."""
        tokenizer = getattr(self._engine.model, "tokenizer", None)  # some models have none: they have no window either
        if tokenizer is None:
            return []
        return [i for i, tokens in enumerate(tokenizer.encode_batch(texts)) if tokens.overflowing]


def load_local_model(choice: FastEmbed) -> LocalModel:
    """Return the model, loading it, and downloading it where needed, if this process has not yet.

    Raises:
        InvalidRequestError: fastembed is not installed or does not know the model.
        ProviderError: The model's files cannot be had or read.
    """
    # 1. Loaded.
    # 2. It failed a moment ago: the same error at once.
    # 3. From the cache.
    # 4. From the network.
    key = _key(choice)
    with _locks.setdefault(key, ThreadLock()):
        if key not in _models:
            # A failed download takes many seconds. Those who queue behind one must not each try it again.
            if time.monotonic() - _failed.get(key, -_RETRY_LOAD_AFTER) < _RETRY_LOAD_AFTER:
                raise _cannot_load(choice)
            try:
                _models[key] = LocalModel(_engine(choice), choice.model)
            except ProviderError:
                _failed[key] = time.monotonic()
                raise
        return _models[key]


def is_loaded(choice: FastEmbed) -> bool:
    """Return whether `load_local_model` would return at once."""
    return _key(choice) in _models


def _key(choice: FastEmbed) -> _Key:
    # By process: the threads of the runtime do not survive a fork.
    return (os.getpid(), choice.model, str(choice.model_path), choice.threads, str(choice.cache_dir))


def _engine(choice: FastEmbed) -> Any:
    fastembed = _import_fastembed()
    known = _find_model(fastembed, choice.model)
    make = partial(
        fastembed.TextEmbedding,
        choice.model,
        cache_dir=_cache_dir(choice),
        threads=choice.threads or _default_threads(),
    )
    try:
        with _quiet():
            if choice.model_path:
                return make(specific_model_path=str(choice.model_path))
            return _cached(make) or _downloaded(make, known)
    except Exception as exc:
        raise _cannot_load(choice) from exc


def _cached(make: Callable[..., Any]) -> Any:
    try:
        return make(local_files_only=True)
    except Exception:  # noqa: BLE001 - whatever is wrong with the cache, a download mends it
        return None


def _downloaded(make: Callable[..., Any], known: Mapping[str, Any]) -> Any:
    # Without a network fastembed tries for 40 seconds, longer than most callers wait. Ask once before.
    if known["sources"]["hf"] and not known["sources"]["url"]:
        hub = importlib.import_module("huggingface_hub")
        try:
            hub.model_info(known["sources"]["hf"], timeout=_HUB_TIMEOUT)
        except Exception as exc:  # noqa: BLE001 - raised again, as its text only
            # The original carries the request, and with it the user's token for the hub.
            raise ConnectionError(f"{type(exc).__name__}: {exc}") from None
    return make()


def _import_fastembed() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        fastembed = importlib.import_module("fastembed")
        importlib.import_module("onnxruntime").disable_telemetry_events()
    except ImportError as exc:
        raise InvalidRequestError(NOT_INSTALLED) from exc
    return fastembed


def _find_model(fastembed: Any, model: str) -> Mapping[str, Any]:
    models: dict[str, Any] = {known["model"]: known for known in fastembed.TextEmbedding.list_supported_models()}
    for name, known in models.items():
        if name.lower() == model.lower():
            return dict(known)
    near = difflib.get_close_matches(model, models, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InvalidRequestError(f"fastembed does not know the model {model!r}{hint}")


def _cannot_load(choice: FastEmbed) -> ProviderError:
    if choice.model_path:
        message = (
            f"the embedding model {choice.model!r} could not be loaded from {str(choice.model_path)!r}: "
            "the folder must hold the model's ONNX file, config.json, tokenizer.json, tokenizer_config.json "
            "and special_tokens_map.json"
        )
    else:
        message = (
            f"the embedding model {choice.model!r} could not be downloaded: check the network, or give its "
            f"folder with embedder=FastEmbed(model_path=…) or OMP_EMBEDDER=fastembed:{choice.model}@FOLDER, "
            'or do without vectors with embedder="none" or OMP_EMBEDDER=none'
        )
    return ProviderError(message, provider=PROVIDER)


def _cache_dir(choice: FastEmbed) -> str:
    if choice.cache_dir:
        return str(choice.cache_dir)
    return os.path.join(user_cache_dir(), "models")


def _default_threads() -> int:
    # The cores this process may use, which in a container are fewer than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, cores)


@contextmanager
def _quiet() -> Iterator[None]:
    # Each source that fails is logged as an error on stderr, besides the exception.
    try:
        from loguru import logger
    except ImportError:
        yield
        return
    logger.disable("fastembed")
    try:
        yield
    finally:
        logger.enable("fastembed")
