"""The map of rooms: imports go downwards only, and only one room waits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parent.parent / "src"

WORDS = "arguments types errors checks scopes access requests keys strict_json urls"
THINKING = (
    "analysis candidates columns confusables context copies cursors dates drafting embedding "
    "embedding_batches embedding_vectors http_content http_errors http_messages ids invisible moving "
    "native normalization paths portable postgres_errors postgres_url quoting ranking "
    "options settings skeleton sql stemming supersession tokens translated validation wire wire_limits "
    "wire_replies wire_slices json_size finite wire_owners "
)

# From the ground up. A room may import itself and those named after it.
ROOMS = {
    "ground": {"ground"},
    "words": {"words", "ground"},
    "thinking": {"thinking", "words", "ground"},
    "pipes": {"pipes", "thinking", "words", "ground"},
    "plugs": {"plugs", "thinking", "words", "ground"},
    "doing": {"doing", "plugs", "pipes", "thinking", "words", "ground"},
    "face": {"face", "doing", "plugs", "pipes", "thinking", "words", "ground"},
    "doors": {"doors", "face", "ground"},
    "kit": {"kit", "face", "doing", "plugs", "pipes", "thinking", "words", "ground"},
}
HOMES = {
    "extras": "ground",  # how to install what is missing: also for those who miss everything else
    "misspellings": "ground",  # what somebody meant: also for those who read names before the face does
    **dict.fromkeys(WORDS.split(), "words"),
    **dict.fromkeys(THINKING.split(), "thinking"),
    **dict.fromkeys(("paging", "versions"), "thinking"),
    "results": "words",
    "retention": "words",
    "_io": "pipes",
    "registry": "plugs",
    "server_place": "plugs",
    "_async": "doing",
    "_sync": "doing",
    "": "face",
    "testing": "kit",
    "cli": "doors",
    "server": "doors",
}

FACE_FUNCTIONS = {"migration_script", "parse_grant", "redacted_url", "server_store_url"}
WAITING = {"asyncio", "anyio", "threading", "httpx", "asyncpg", "psycopg", "sqlite3", "time", "concurrent"}
# The kit starts an event loop for rules that plain pytest runs.
# And it starts a real server, and waits for it.
MAY_WAIT = {
    ("openmem.testing.runner", "asyncio"),
    ("openmem.testing.postgres", "psycopg"),
    ("openmem.testing._postgres.cluster", "psycopg"),
    ("openmem.testing._postgres.cluster", "time"),
    ("openmem.testing._postgres.process", "time"),
    ("openmem.testing._postgres.sharing", "time"),
    ("openmem.server.middleware.body_budget", "asyncio"),
    ("openmem.server.routes.disconnects", "asyncio"),
    ("openmem.server.services.maintenance", "asyncio"),
    ("openmem.server.services.timing", "asyncio"),
    ("openmem.server.services.timing", "time"),
}


@dataclass(frozen=True)
class Import:
    module: str  # what is imported, as a full dotted name, down to the imported name
    line: int


def imports(module: str, is_package: bool, source: str) -> Iterator[Import]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                base = ".".join([*kept, base] if base else kept)
            yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)


def home(module: str) -> str:
    """Return the room of a module, or an empty text if nobody gave it one."""
    first = f"{module}.".split(".")[1]
    if first[:1].isupper() or first.startswith("__") or first in FACE_FUNCTIONS:
        first = ""  # `from openmem import Memory`: a name of the face, not a module
    return HOMES.get(first, "")


def branch(module: str) -> str:
    found = re.search(r"\._(async|sync)\b", module)
    return found[1] if found else ""


def provider(module: str) -> str:
    found = re.search(r"\._a?sync\.providers\.([a-z0-9]+)", module)
    return found[1] if found else ""


def violations(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Yield what the imports of a module break."""
    own = home(module)
    for found in imports(module, is_package, source):
        where, name = f"{module}:{found.line}", found.module
        top = name.split(".")[0]
        if top == "openmem":
            if home(name) not in ROOMS[own]:
                yield f"{where}: {own} may not import {name}"
            if branch(module) and branch(name) not in {"", branch(module)}:
                yield f"{where}: one form imports the other: {name}"
            if provider(module) and provider(name) not in {"", provider(module)}:
                yield f"{where}: a provider imports another: {name}"
        elif top == "pytest" and own != "kit":
            yield f"{where}: only openmem.testing imports pytest"
        elif top in WAITING and own != "pipes" and (module, top) not in MAY_WAIT:
            yield f"{where}: only openmem._io imports {top}"


def module_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted((SRC / "openmem").rglob("*.py"))
MIRRORED = [path for path in FILES if "_async" in path.parts]


def test_modules_import_only_from_rooms_below() -> None:
    found: list[str] = []
    for path in FILES:
        module = module_of(path)
        if not home(module):
            found.append(f"{module} has no room: give it one in this file")
            continue
        found += violations(module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    assert not found


def test_mirrored_modules_never_ask_which_form_they_are() -> None:
    asks = re.compile(r"\b_?is_a?sync\b", re.IGNORECASE)
    assert MIRRORED
    assert not [module_of(path) for path in MIRRORED if asks.search(path.read_text(encoding="utf-8"))]


def test_mirrored_modules_have_nothing_without_a_sync_meaning() -> None:
    without = {"StopAsyncIteration", "CancelledError", "AsyncGenerator"}
    trees = {module_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in MIRRORED}
    names = {module: {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} for module, tree in trees.items()}
    assert not {module: found & without for module, found in names.items() if found & without}


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("openmem._model.ids", "from openmem._io.concurrency.call import Call", "thinking may not import"),
        ("openmem._model.ids", "from openmem import Memory", "thinking may not import"),
        ("openmem._model.ids", "def f():\n    import openmem._async.memory", "thinking may not import"),
        ("openmem.errors", "from .ids import new_id", "words may not import"),
        ("openmem._io.sqlite.database", "from .. import registry", "pipes may not import"),
        ("openmem._async.memory", "from openmem._sync.memory import Memory", "one form imports the other"),
        ("openmem.testing._sync.a", "from openmem.testing._async import a", "one form imports the other"),
        ("openmem._async.providers.mem0", "from openmem._async.providers import sqlite", "imports another"),
        ("openmem._async.memory", "import pytest", "only openmem.testing imports pytest"),
        ("openmem._async.memory", "from time import sleep", "only openmem._io imports time"),
        ("openmem._async.memory", "import asyncio", "only openmem._io imports asyncio"),
        ("openmem._sync.providers.sqlite", "import sqlite3", "only openmem._io imports sqlite3"),
        ("openmem.testing.a", "import anyio.to_thread", "only openmem._io imports anyio"),
        ("openmem._model.ids", "from openmem.nowhere import x", "thinking may not import"),
    ],
)
def test_import_that_breaks_the_map_is_found(module: str, source: str, reason: str) -> None:
    assert [reason in found for found in violations(module, source)] == [True]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("openmem._async.memory", "from openmem._io.concurrency.call import Call\nfrom openmem import errors"),
        ("openmem._async.providers.sqlite", "from openmem._async.provider import AsyncProvider"),
        ("openmem.testing._async.crud", "import pytest\nfrom openmem import AsyncMemory"),
        ("openmem._io.http.client", "import httpx, asyncio, time"),
    ],
)
def test_import_that_keeps_to_the_map_passes(module: str, source: str) -> None:
    assert not list(violations(module, source))
