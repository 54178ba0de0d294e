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


Lines = dict[str, set[int]]
"""The lines that a checker reports, by the name of a program."""


def by_mypy(programs: list[Path]) -> Lines:
    """Return the lines that mypy reports."""
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-pretty"]
    environ = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*command, *map(str, programs)], capture_output=True, text=True, cwd=ROOT, env=environ, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {one.stem: {int(n) for n in re.findall(rf"\b{one.name}:(\d+): error", done.stdout)} for one in programs}


def by_pyright(programs: list[Path]) -> Lines:
    """Return the lines that pyright reports. The package that brings it brings a node of its own: nothing is loaded."""
    folder, names = programs[0].parent, [program.name for program in programs]
    settings = {"include": names, "typeCheckingMode": "standard", "extraPaths": [str(ROOT / "src")]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "-p", str(folder), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout[:2_000]
    found: Lines = {program.stem: set() for program in programs}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        if one["severity"] == "error":
            found[Path(one["file"]).stem].add(one["range"]["start"]["line"] + 1)
    return found


@pytest.mark.parametrize("check", [by_mypy, by_pyright], ids=lambda check: check.__name__)
def test_reported_lines_are_those_that_are_wrong(tmp_path: Path, check: Callable[[list[Path]], Lines]) -> None:
    texts = {name: (HERE / "typed_programs" / f"{name}.py.txt").read_text("utf-8") for name in ("right", "wrong")}
    programs = [tmp_path / f"{name}_program.py" for name in texts]
    for program, text in zip(programs, texts.values(), strict=True):
        program.write_text(text, encoding="utf-8")
    reported = check(programs)
    for name, text in texts.items():
        lines = text.splitlines()
        marked = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
        assert len(marked) > 50 or name == "right"
        found = reported[f"{name}_program"]
        assert [lines[number - 1] for number in sorted(marked - found)] == []
        assert [lines[number - 1] for number in sorted(found - marked)] == []


def test_typed_options_are_those_of_the_built_in_providers() -> None:
    known = {option for name in BUILT_IN for option in load_async_provider(name).options}
    assert {*arguments.ProviderOptions.__annotations__} == known


def test_typed_providers_are_the_built_in_ones() -> None:
    assert {*get_args(arguments.BuiltInProvider)} == {*BUILT_IN}
