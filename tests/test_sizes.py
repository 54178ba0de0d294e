"""A file is one idea: no hand-written file grows past the limit, none is a drawer for everything."""

from __future__ import annotations

from pathlib import Path

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


def test_hand_written_files_stay_within_the_limit() -> None:
    assert len(FILES) > 500
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > LIMIT}


def test_files_are_named_after_ideas() -> None:
    parts = {named(path): path.relative_to(ROOT).with_suffix("").parts for path in FILES}
    assert not [name for name, of in parts.items() if DRAWERS & {part.strip("_") for part in of}]
