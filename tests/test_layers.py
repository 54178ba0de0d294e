"""The layers: imports go downwards only, only one package waits, and pure packages compute only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import openmem

SRC = Path(__file__).resolve().parent.parent / "src"
ARCHITECTURE = SRC.parent / "docs" / "architecture.md"

# From the ground up: a package imports itself and what stands on the lines before its own. The empty name is the face,
# `openmem/__init__.py`.
LAYERS = (
    ("_text",),
    ("errors", "types"),
    ("_model",),
    ("_config", "_context", "_embedding", "_retrieval"),
    ("_rules",),
    ("_protocol", "_sql"),
    ("_emulation",),
    ("_io",),
    ("_async", "_sync"),
    ("", "providers"),
    ("cli", "server", "testing"),
)
PACKAGES = {package: floor for floor, packages in enumerate(LAYERS) for package in packages}
# Entries live on the face alone, as a stranger's program does; they say how to install and what was meant, too. The
# server is the other end of the protocol, whose pure half is one package with that of the client.
ENTRIES = {"cli", "server"}
OPEN_TO_ENTRIES = {"", "cli", "server", "types", "errors", "providers"}
ENTRY_MODULES = (
    "openmem._config.extras.",
    "openmem._config.lazy.",
    "openmem._config.settings.location_in",
    "openmem._model.ids.REQUEST_ID",
    "openmem._model.hooks.",
    "openmem._model.keys.",
    "openmem._protocol.",
    "openmem._text.misspellings.",
)
# What a module does that thinks only: nothing that another process, the clock or the disk has a say in.
PURE = {"types", "errors", "_text", "_model", "_config", "_context", "_embedding", "_retrieval", "_rules"}
PURE |= {"_protocol", "_sql", "_emulation"}
IMPURE_MODULES = {"socket", "subprocess", "random", "secrets", "tempfile", "shutil", "glob", "uuid"}
IMPURE_NAMES = {
    *(
        "open",
        "input",
        "print",
        "os.environ",
        "os.getenv",
        "os.urandom",
        "os.getpid",
        "os.getcwd",
        "os.stat",
        "os.path",
    ),
    *("datetime.now", "datetime.utcnow", "date.today", "Path.cwd", "Path.home"),
    *("sys.stdin", "sys.stdout", "sys.stderr", "sys.platform"),
}
IMPURE_METHODS = {"read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink", "exists", "expanduser"}
EMULATED = "emulated"  # the base of the providers over backends that lack much

WAITING = {"asyncio", "anyio", "threading", "httpx", "asyncpg", "psycopg", "sqlite3", "time", "concurrent"}
# The kit starts an event loop for rules that plain pytest runs.
# And it starts a real server, and waits for it. A command that follows the feed pauses between two questions.
MAY_WAIT = {
    ("openmem.cli.changes", "time"),
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
    ("openmem.server.services.webhooks", "asyncio"),
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


def package_of(module: str) -> str:
    """Return the package of the table that a module, or a name in it, belongs to."""
    first = f"{module}.".split(".")[1]
    return first if first in PACKAGES or not is_of_the_face(first) else ""


def is_of_the_face(name: str) -> bool:
    """Return whether `from openmem import name` asks for a name of the face, not for a module."""
    return not name or name in openmem.__all__ or name.startswith("__")


def branch(module: str) -> str:
    found = re.search(r"\._(async|sync)\b", module)
    return found[1] if found else ""


def provider(module: str) -> str:
    found = re.search(r"\._a?sync\.providers\.([a-z0-9]+)", module)
    return found[1] if found else ""


def dialect(module: str) -> str:
    found = re.search(r"\._sql\.(sqlite|postgres|server)\b", module)
    return found[1] if found else ""


def violations(module: str, source: str, *, is_package: bool = False) -> Iterator[str]:
    """Yield what the imports of a module break."""
    own = package_of(module)
    for found in imports(module, is_package, source):
        where, name = f"{module}:{found.line}", found.module
        top = name.split(".")[0]
        if top == "openmem":
            if not may_import(own, name):
                yield f"{where}: {own or 'the face'} may not import {name}"
            if branch(module) and branch(name) not in {"", branch(module)}:
                yield f"{where}: one form imports the other: {name}"
            if provider(module) and provider(name) not in {"", EMULATED, provider(module)}:
                yield f"{where}: a provider imports another: {name}"
            if dialect(module) and dialect(name) not in {"", dialect(module)}:
                yield f"{where}: statements of one store import those of another: {name}"
        elif top == "pytest" and own != "testing":
            yield f"{where}: only openmem.testing imports pytest"
        elif top in WAITING and own != "_io" and (module, top) not in MAY_WAIT:
            yield f"{where}: only openmem._io imports {top}"
        elif own in PURE and top in IMPURE_MODULES:
            yield f"{where}: {own} is pure and may not import {top}"


def may_import(own: str, name: str) -> bool:
    other = package_of(name)
    if own in ENTRIES:
        return other in OPEN_TO_ENTRIES or name.startswith(ENTRY_MODULES)
    return other in PACKAGES and (own == other or PACKAGES[other] < PACKAGES[own])


def impure_acts(source: str) -> Iterator[str]:
    """Yield what a module reads of the world around it: files, the environment, clocks, chance, standard streams."""
    for node in ast.walk(ast.parse(source)):
        name = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
        if name in IMPURE_NAMES or any(name.endswith(f".{method}") for method in IMPURE_METHODS):
            yield f"line {getattr(node, 'lineno', 0)}: {name}"


def circles(edges: Mapping[str, set[str]]) -> Iterator[list[str]]:
    """Yield each group of modules that import one another, directly or not."""
    sorter = TopologicalSorter(edges)
    try:
        sorter.prepare()
    except CycleError as error:
        yield error.args[1]


def edges_of(files: Iterable[Path]) -> dict[str, set[str]]:
    """Return which modules each module imports; imports for types alone count, too."""
    sources = {module_of(path): path for path in files}
    return {
        module: {
            name if name in sources else name.rpartition(".")[0]
            for name in (found.module for found in imports(module, path.name == "__init__.py", path.read_text("utf-8")))
            if {name, name.rpartition(".")[0]} & sources.keys() - {module}
        }
        for module, path in sources.items()
        if module != "openmem"  # the face loads all by name, and is asked for names by the entries
    }


def module_of(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted((SRC / "openmem").rglob("*.py"))
MIRRORED = [path for path in FILES if "_async" in path.parts]


def test_modules_import_only_from_layers_below() -> None:
    found: list[str] = []
    for path in FILES:
        module = module_of(path)
        if package_of(module) not in PACKAGES:
            found.append(f"{module} has no layer: give its package a line in this file")
            continue
        found += violations(module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    assert not found


def test_pure_modules_ask_nothing_of_the_world() -> None:
    pure = [path for path in FILES if package_of(module_of(path)) in PURE]
    assert pure
    acts = {module_of(path): list(impure_acts(path.read_text(encoding="utf-8"))) for path in pure}
    assert not {module: found for module, found in acts.items() if found}


def test_epoch_and_the_microsecond_are_written_down_once() -> None:
    written = re.compile(r"datetime\(1970|timedelta\(microseconds=1\)")
    found = {module_of(path) for path in FILES if written.search(path.read_text(encoding="utf-8"))}
    assert {module for module in found if package_of(module) != "testing"} == {"openmem._model.timestamps"}


def test_table_of_layers_is_short_and_has_no_package_that_is_gone() -> None:
    there = {package_of(module_of(path)) for path in FILES}
    assert len(PACKAGES) <= 20
    assert PACKAGES.keys() == there


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert list(circles(edges_of(FILES))) == []


def test_circle_is_found() -> None:
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == [["a", "c", "b", "a"]]


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
        ("openmem._model.ids", "from openmem._io.concurrency.call import Call", "_model may not import"),
        ("openmem._model.ids", "from openmem import Memory", "_model may not import"),
        ("openmem._model.ids", "def f():\n    import openmem._async.memory", "_model may not import"),
        ("openmem.errors", "from ._model.ids import new_id", "errors may not import"),
        ("openmem._io.sqlite.database", "from openmem import _sync", "_io may not import"),
        ("openmem._rules.drafting", "from openmem._sql import steps", "_rules may not import"),
        ("openmem.cli.add", "from openmem._io.concurrency.call import Call", "cli may not import"),
        ("openmem._async.memory", "from openmem._sync.memory import Memory", "one form imports the other"),
        ("openmem.testing._sync.a", "from openmem.testing._async import a", "one form imports the other"),
        ("openmem._async.providers.mem0", "from openmem._async.providers import sqlite", "imports another"),
        ("openmem._sql.server.keys", "from openmem._sql.sqlite.rows import dumps", "statements of one store import"),
        ("openmem._async.memory", "import pytest", "only openmem.testing imports pytest"),
        ("openmem._async.memory", "from time import sleep", "only openmem._io imports time"),
        ("openmem._async.memory", "import asyncio", "only openmem._io imports asyncio"),
        ("openmem._sync.providers.sqlite", "import sqlite3", "only openmem._io imports sqlite3"),
        ("openmem.testing.a", "import anyio.to_thread", "only openmem._io imports anyio"),
        ("openmem._sql.steps", "import socket", "_sql is pure and may not import socket"),
        ("openmem._model.ids", "from openmem.nowhere import x", "_model may not import"),
    ],
)
def test_import_that_breaks_the_layers_is_found(module: str, source: str, reason: str) -> None:
    assert [found for found in violations(module, source) if reason in found]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("openmem._async.memory", "from openmem._io.concurrency.call import Call\nfrom openmem import errors"),
        ("openmem._async.providers.sqlite", "from openmem._async.provider import AsyncProvider"),
        ("openmem._async.providers.mem0", "from openmem._async.providers.emulated import AsyncEmulatedProvider"),
        ("openmem.testing._async.crud", "import pytest\nfrom openmem import AsyncMemory"),
        ("openmem._io.http.client", "import httpx, asyncio, time"),
    ],
)
def test_import_that_keeps_to_the_layers_passes(module: str, source: str) -> None:
    assert not list(violations(module, source))


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    return open('a')",
        "import os\nx = os.environ['A']",
        "from datetime import datetime\nx = datetime.now()",
    ],
)
def test_act_that_is_not_pure_is_found(source: str) -> None:
    assert len(list(impure_acts(source))) == 1


def test_architecture_names_every_package() -> None:
    rows = re.findall(
        r"^\| (?:entries|public|verbs|I/O|pure|words) \| (.+?) \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE
    )
    named = {name.removesuffix(".py") for row in rows for name in re.findall(r"`([\w.]+)/?`", row)}
    assert named == PACKAGES.keys() - {""} | {"__init__"}
