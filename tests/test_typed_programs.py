"""A type checker sees what is misspelt or of a wrong type, and finds nothing in programs that are right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from openmem._config.registry import BUILT_IN
from openmem._io.plugins import load_async_provider
from openmem._model import arguments

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# Each checks all of the package and what it imports, once: a machine with nothing kept from before takes a minute.
pytestmark = pytest.mark.timeout(300)


def by_mypy(program: Path) -> set[int]:
    """Return the lines that mypy reports."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-pretty", str(program)]
    environ = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {int(line) for line in re.findall(rf"{program.name}:(\d+): error", done.stdout)}


def by_pyright(program: Path) -> set[int]:
    """Return the lines that pyright reports. The package that brings it brings a node of its own: nothing is loaded."""
    settings = {"include": [program.name], "typeCheckingMode": "standard", "extraPaths": [str(ROOT / "src")]}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "-p",
        str(program.parent),
        "--pythonpath",
        sys.executable,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=program.parent, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout[:2_000]
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1 for one in found if one["severity"] == "error"}


CHECKERS = [by_mypy, by_pyright]


@pytest.mark.parametrize("check", CHECKERS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ["right", "wrong"])
def test_reported_lines_are_those_that_are_wrong(tmp_path: Path, name: str, check: Callable[[Path], set[int]]) -> None:
    text = (HERE / "typed_programs" / f"{name}.py.txt").read_text(encoding="utf-8")
    marked = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    assert len(marked) > 50 or name == "right"
    program = tmp_path / f"{name}_program.py"
    program.write_text(text, encoding="utf-8")
    reported = check(program)
    lines = text.splitlines()
    assert [lines[number - 1] for number in sorted(marked - reported)] == []
    assert [lines[number - 1] for number in sorted(reported - marked)] == []


def test_typed_options_are_those_of_the_built_in_providers() -> None:
    known = {option for name in BUILT_IN for option in load_async_provider(name).options}
    assert {*arguments.ProviderOptions.__annotations__} == known


def test_typed_providers_are_the_built_in_ones() -> None:
    assert {*get_args(arguments.BuiltInProvider)} == {*BUILT_IN}
