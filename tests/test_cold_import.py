"""`import openmem` costs next to nothing: whatever is heavy is loaded by the call that needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from openmem import Memory

SRC = Path(__file__).resolve().parent.parent / "src"
HEAVY = ("pydantic", "numpy", "httpx", "anyio", "sqlite3", "asyncio", "fastembed", "importlib.metadata")
LAZY = ("openmem._async", "openmem._sync", "openmem._io", "openmem.testing")


def loaded_by(code: str) -> set[str]:
    """Return the modules that `code` loads in a new interpreter."""
    return loaded_after("", code)


def loaded_after(ready: str, code: str) -> set[str]:
    """Return the modules that `code` loads in a new interpreter which has run `ready` before."""
    script = (
        f"import json, sys; sys.path.insert(0, {str(SRC)!r})\n{ready}\nbefore = set(sys.modules)\n"
        f"{code}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def among(modules: set[str], roots: tuple[str, ...]) -> set[str]:
    return {name for name in modules if any(name == root or name.startswith(f"{root}.") for root in roots)}


def test_importing_the_package_loads_nothing_heavy() -> None:
    modules = loaded_by("import openmem")
    assert "openmem" in modules
    assert not among(modules, (*HEAVY, *LAZY))


def test_listing_the_public_names_loads_nothing_heavy() -> None:
    assert not among(loaded_by("import openmem; dir(openmem)"), (*HEAVY, *LAZY))


def test_using_a_public_name_loads_its_module() -> None:
    modules = loaded_by("import openmem; openmem.NotFoundError")
    assert "openmem.errors" in modules
    assert not among(modules, (*HEAVY, *LAZY))


def test_sync_face_does_not_load_the_other_face() -> None:
    modules = loaded_by("import openmem; openmem.Memory")
    assert "openmem._sync.memory" in modules
    assert not among(modules, ("openmem._async", "openmem.testing"))


@pytest.mark.parametrize("name", ["AsyncMemory", "Memory"])
def test_a_face_loads_no_provider_and_no_model(name: str) -> None:
    modules = loaded_by(f"import openmem; openmem.{name}")
    assert not among(modules, ("sqlite3", "fastembed"))
    assert not {module for module in modules if ".providers." in module}


ACME = {
    "acme_openmem.py": """
from openmem._config.registry import ProviderSpec
SPEC = ProviderSpec(
    "acme", "acme_provider:AsyncAcme", "acme_provider:Acme", options=frozenset({"colour"}), check="acme_openmem:check"
)
def check(settings):
    pass
""",
    "acme_provider.py": "import numpy, httpx\nfrom openmem.providers import AsyncProvider, Provider\n"
    "class AsyncAcme(AsyncProvider): name = 'acme'\nclass Acme(Provider): name = 'acme'\n",
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/entry_points.txt": "[openmem.providers]\nacme = acme_openmem:SPEC\n",
}
"""Files of a third party's package, which says in its spec what its provider knows."""

MAKES = {
    "sqlite": "('sqlite', url='m.db', synchronous='full')",
    "sqlite with a local model": "('sqlite', url='m.db', embedder='fastembed')",
    "sqlite with an endpoint": "('sqlite', url='m.db', embedder=openmem.OpenAIEmbedder('m', api_key='k'))",
    "sqlite by default": "()",
    "postgres": "('postgres', url='postgresql://u:p@127.0.0.1/d', schema='mine', hnsw=True, pool_max_size=3)",
    "passthrough": "(base_url='http://127.0.0.1:1', api_key='k')",
    "mem0": "('mem0', client=types.SimpleNamespace(add=print))",
    "mem0 behind an address": "('mem0', base_url='http://127.0.0.1:1', api_key='k')",
    "supermemory": "('supermemory', api_key='k')",
    "letta": "('letta', base_url='http://127.0.0.1:1')",
    "letta in the cloud": "('letta', api_key='k', embedding='openai/m')",
    "third party": "(ProviderName('acme'), colour='red')",
    "third party without options": "(ProviderName('acme'))",
}
NEEDS = {"supermemory": "supermemory", "letta in the cloud": "letta_client", "sqlite with a local model": "fastembed"}
WAITING = ("numpy", "httpx", "httpcore", "asyncio", "anyio", "concurrent", "ssl", "sqlite3", "asyncpg", "psycopg")
SDKS = ("mem0", "supermemory", "letta_client", "openai", "fastembed", "onnxruntime", "acme_provider")
MOST = 12
"""Modules that a constructor may load: those that check its arguments."""


@pytest.mark.parametrize("face", ["AsyncMemory", "Memory"])
@pytest.mark.parametrize("case", MAKES)
def test_making_an_instance_loads_nothing_but_checks(case: str, face: str, tmp_path: Path) -> None:
    """The first instance of a program took 100 to 200 ms on the event loop, for what was not used yet."""
    if case in NEEDS:
        pytest.importorskip(NEEDS[case])
    for name, text in ACME.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    imports = "import sys, types, openmem; from openmem.providers import ProviderName"
    ready = f"{imports}; sys.path.insert(0, {str(tmp_path)!r}); openmem.{face}; openmem.OpenAIEmbedder, ProviderName"
    made = loaded_after(ready, f"made = openmem.{face}{MAKES[case]}; assert 'unused' in repr(made)")
    assert not among(made, (*WAITING, *SDKS, "openmem._async.providers", "openmem._sync.providers"))
    assert len(made) <= MOST, sorted(made)


def test_a_face_loads_no_event_loop() -> None:
    """Neither form needs one before its first verb."""
    assert not among(loaded_by("import openmem; openmem.AsyncMemory, openmem.Memory"), ("asyncio", "anyio", "numpy"))


@pytest.mark.skipif(find_spec("fastembed") is None, reason="fastembed is not installed")
@pytest.mark.parametrize("face", ["AsyncMemory", "Memory"])
def test_a_search_among_memories_without_vectors_loads_no_model(face: str, tmp_path: Path) -> None:
    """A store made without an embedder is searched by words: the model of one who has it could not change a thing."""
    with Memory(url=str(tmp_path / "m.db"), embedder="none") as memory:
        memory.add(content="Ann likes green tea", user_id="ann")
    search = "m.search('tea', 'ann')" if face == "Memory" else "asyncio.run(m.search('tea', 'ann'))"
    modules = loaded_by(
        f"import asyncio, openmem; m = openmem.{face}(url={str(tmp_path / 'm.db')!r}, embedder='fastembed')\n"
        f"assert [found.memory.content for found in {search}] == ['Ann likes green tea']"
    )
    assert "openmem._sql.sqlite.search" in modules
    assert not among(modules, ("fastembed", "onnxruntime", "tokenizers"))
