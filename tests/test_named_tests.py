"""Tests that are named elsewhere are there: a file that was renamed would run, or prove, nothing without a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CALLERS = ("Makefile", "CONTRIBUTING.md", "scripts/test_lowest.py", ".ci/run")
DOCS = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))


@pytest.mark.parametrize("caller", CALLERS)
def test_path_of_tests_that_is_run_by_name_matches_files(caller: str) -> None:
    paths = re.findall(r"\btests/[\w/*.]*[\w*]", (ROOT / caller).read_text("utf-8"))
    assert [path for path in paths if not any(ROOT.glob(path))] == []


def test_makefile_runs_tests_by_name() -> None:
    assert "tests/_sync/test_rollback.py" in (ROOT / "Makefile").read_text("utf-8")


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all files of tests, of all tests and of all rules of the kit."""
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "src/openmem/testing").rglob("*.py")]
    functions = re.findall(r"def (test_\w+)", "".join(path.read_text("utf-8") for path in files))
    return {path.name for path in files} | set(functions)


@pytest.mark.parametrize("page", DOCS)
def test_test_that_a_page_names_exists(page: str, tests: set[str]) -> None:
    named = re.findall(r"`(?:tests/[\w/]*)?(test_\w+(?:\.py)?)`", (ROOT / page).read_text("utf-8"))
    assert [name for name in named if name not in tests] == []


def test_line_that_an_equivalent_mutant_changes_stands_in_its_file() -> None:
    """`make mutate` refuses to run with an entry for code that has changed: here it shows at once."""
    entries = (ROOT / "tests/mutants_equivalent.txt").read_text("utf-8").split("\n\n")[1:]
    gone = []
    for path, *lines in (entry.strip().replace(" ", "\n", 1).splitlines() for entry in entries):
        source = {line.strip() for line in (ROOT / "src/openmem" / path).read_text("utf-8").splitlines()}
        gone += [line for line in lines if line.startswith("- ") and line[2:].strip() not in source]
    assert len(entries) > 10
    assert gone == []
