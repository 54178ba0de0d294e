"""`import openmem` costs next to nothing: whatever is heavy is loaded by the call that needs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"
HEAVY = ("pydantic", "numpy", "httpx", "anyio", "sqlite3", "asyncio", "fastembed", "importlib.metadata")
LAZY = ("openmem._async", "openmem._sync", "openmem._io", "openmem.testing")


def loaded_by(code: str) -> set[str]:
    """Return the modules that `code` loads in a new interpreter."""
    script = (
        f"import json, sys; sys.path.insert(0, {str(SRC)!r}); before = set(sys.modules)\n"
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


MAKES = {
    "sqlite": ("Memory('sqlite', url='m.db', embedder='none')", ("asyncpg", "psycopg", "httpx", "fastembed")),
    "postgres": (
        "Memory('postgres', url='postgresql://h/d', embedder='none')",
        ("asyncpg", "psycopg", "sqlite3", "httpx"),
    ),
    "passthrough": ("Memory(base_url='http://127.0.0.1:1')", ("asyncpg", "psycopg", "sqlite3", "httpx", "numpy")),
    "letta": ("Memory('letta', api_key='k')", ("letta_client", "asyncpg", "psycopg", "sqlite3", "httpx")),
    "supermemory": ("Memory('supermemory', api_key='k')", ("supermemory", "asyncpg", "psycopg", "sqlite3", "httpx")),
}


@pytest.mark.parametrize("face", ["AsyncMemory", "Memory"])
@pytest.mark.parametrize("provider", MAKES)
def test_making_an_instance_loads_no_driver_and_no_sdk(provider: str, face: str) -> None:
    """The first instance of a program took 200 ms on the event loop, most of it for a driver that nobody used yet."""
    code, heavy = MAKES[provider]
    modules = loaded_by(f"import openmem; openmem.{face}{code.removeprefix('Memory')}")
    assert f"openmem.{'_async' if face == 'AsyncMemory' else '_sync'}.providers.{provider}" in modules
    assert not among(modules, heavy)
