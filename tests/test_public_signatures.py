"""The public surface changes only with a word about it in the changelog, and every public module lists its names."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from scripts.public_api import MODULES, SNAPSHOT, signatures

CHANGELOG = Path(__file__).resolve().parent.parent / "CHANGELOG.md"
UPDATE = "name them in CHANGELOG.md under Unreleased"


def unreleased(changelog: str) -> str:
    """Return the part of the changelog that tells what the next release changes."""
    return re.split(r"^## \[", changelog, flags=re.MULTILINE)[1]


def unnamed_changes(then: list[str], now: list[str], news: str) -> list[str]:
    """Return the lines that are new or gone since the last release and whose names the news do not tell."""
    changed = set(then) ^ set(now)
    return sorted(line for line in changed if not re.search(rf"{re.escape(name_in(line))}\b", news))


def name_in(line: str) -> str:
    """Return what the changelog calls the thing in a line of the snapshot: its own name, not that of its class."""
    parts = [part for part in re.split(r"[(:= ]", line, maxsplit=1)[0].split(".") if part != "__init__"]
    return f"`{parts[-1]}"


def test_change_of_a_public_signature_is_named_in_the_changelog() -> None:
    then = SNAPSHOT.read_text(encoding="utf-8").splitlines()
    news = unreleased(CHANGELOG.read_text(encoding="utf-8"))
    assert not unnamed_changes(then, signatures(), news), UPDATE


def test_change_without_a_changelog_line_is_found() -> None:
    then, now = ["openmem.Memory.add(self, content)"], ["openmem.Memory.add(self, content, where)"]
    assert len(unnamed_changes(then, now, "")) == 2
    assert len(unnamed_changes(then, now, "- `Memory` is quicker, and so is `add_many`")) == 2
    assert not unnamed_changes(then, now, "- `add` takes `where`")


@pytest.mark.parametrize("name", MODULES)
def test_public_module_lists_exactly_its_names(name: str) -> None:
    module = import_module(name)
    listed = list(module.__all__)
    defined = {
        key
        for key, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
        and not key.startswith("_")
    }
    assert len(listed) == len(set(listed))
    assert defined <= set(listed)
    assert [key for key in listed if not hasattr(module, key)] == []


def test_face_is_small() -> None:
    assert len(import_module("openmem").__all__) <= 30
