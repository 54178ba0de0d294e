"""`examples/everything.py` runs on every kind of store, and leaves out what the store does not offer."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from openmem.testing.postgres import PostgresServer
from tests.vendor.stubs import stub_store

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "everything.py"
PRINTED = """\
there already: 1
by key: {'cups': 4}
where: ['tea']
found: ['tea', 'work']
kept: ['minutes', 'work']
last changed: tea
scopes: {'home': 1, 'work': 2}
tags: {'desk': 2}
users: ['everything-example']
by vector: Ann sits in the east
changes: ['add', 'add', 'add', 'update', 'add']
erased: 2
all erased: True
"""
ABSENT = ("there already", "by vector", "changes")
"""The beginnings of the lines that are not printed over services."""
OURS = ("sqlite", "postgres", "passthrough")


@pytest.mark.parametrize("kind", [*OURS, "mem0", "supermemory", "letta"])
def test_one_program_uses_all_that_each_kind_of_store_offers(
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    postgres: Callable[[], PostgresServer] = partial(request.getfixturevalue, "postgres")
    with stub_store(kind, tmp_path / "store", postgres) as found:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), json.dumps(found.settings())])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = [line for line in PRINTED.splitlines() if kind in OURS or not line.startswith(ABSENT)]
    assert capsys.readouterr().out.splitlines() == lines


def test_program_is_short_enough_to_be_read_at_once() -> None:
    assert len(SCRIPT.read_text("utf-8").splitlines()) <= 60
