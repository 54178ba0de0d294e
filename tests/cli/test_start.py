"""Starting a command costs what the command needs: it loads nothing else, which is looked up in what was loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.shell import ROOT, contents, omp, remember

pytestmark = pytest.mark.usefixtures("shell")

_CODE = """
import json, sys
from openmem.cli import main
try: main()
finally: print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
_NEVER = {"asyncio", "anyio", "httpx", "fastembed", "onnxruntime", "psycopg", "asyncpg", "fastapi", "uvicorn", "ssl"}
_COMPUTING = {"numpy", "openmem._retrieval.user_index", "openmem._retrieval.ranking"}
_STEMS = {"openmem._retrieval.analysis"}
_OTHER_COMMANDS = {"openmem.cli.transfer", "openmem.cli.doctor", "openmem.cli.keys", "openmem.cli.serve"}


def loaded_by(*args: str) -> set[str]:
    """Return the modules that a process of the command loads."""
    done = subprocess.run([sys.executable, "-c", _CODE, *args], capture_output=True, text=True, cwd=ROOT / "src")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize(
    ("args", "unneeded"),
    [
        ("remember Ann likes tea", _COMPUTING | {"openmem._context.packing"}),
        ("recall tea", {"openmem._context.packing"}),
        ("context tea", set()),
        ("list", _COMPUTING | _STEMS),
        ("get {id}", _COMPUTING | _STEMS),
        ("history {id}", _COMPUTING | _STEMS),
        ("audit", _COMPUTING | _STEMS),
        ("export", _COMPUTING | _STEMS),
        ("forget {id}", _COMPUTING | _STEMS),
        ("migrate", _COMPUTING | _STEMS),
    ],
)
def test_a_command_loads_only_what_it_needs(args: str, unneeded: set[str]) -> None:
    id_ = remember("Ann likes green tea")
    loaded = loaded_by(*args.format(id=id_).split())
    assert "openmem._sync.providers.sqlite" in loaded
    assert not loaded & (unneeded | _NEVER | _OTHER_COMMANDS | {"snowballstemmer", "openmem._async.memory"})


def test_a_recall_that_computes_loads_numpy_and_one_stemmer() -> None:
    remember("Ann likes green tea")
    loaded = loaded_by("recall", "teas")
    assert {"numpy", "openmem._snowball.english_stemmer"} <= loaded
    assert not [name for name in loaded if name.startswith("openmem._snowball.") and "lithuanian" in name]


@pytest.mark.skipif(find_spec("fastembed") is None, reason="fastembed is not installed")
@pytest.mark.parametrize("command", ["recall", "context"])
def test_memories_without_vectors_are_found_without_loading_the_model(command: str) -> None:
    """A search without any vector took half a second to load a model that could not change the answer."""
    remember("Ann likes green tea")
    before = contents()
    loaded = loaded_by("--embedder", "fastembed", command, "teas")
    assert "openmem._io.local_model" in loaded
    assert not loaded & {"fastembed", "onnxruntime", "tokenizers"}
    assert before == ["Ann likes green tea"]


def test_the_keys_of_a_server_are_listed_without_loading_what_searches() -> None:
    omp("keys", "list")
    assert not loaded_by("keys", "list") & (_COMPUTING | _STEMS | _NEVER)
