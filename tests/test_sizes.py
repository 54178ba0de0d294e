"""A file is one idea: no hand-written file grows past the limit, none is a drawer for everything."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 500
FOLDERS = ("src", "tests", "scripts", "benchmarks", "examples")
DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc"}

FILES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "_sync" not in path.relative_to(ROOT).parts
]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=named)
def test_hand_written_file_stays_within_the_limit(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LIMIT


@pytest.mark.parametrize("path", FILES, ids=named)
def test_file_is_named_after_an_idea(path: Path) -> None:
    assert not DRAWERS & {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts}
