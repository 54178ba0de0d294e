"""`examples/switching.py` runs unchanged on every kind of store, and prints the same."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from openmem.testing.postgres import PostgresServer
from tests.vendor.stubs import stub_store

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "switching.py"
PRINTED = """\
now:     Ann lives in Lisbon
then:    Ann lives in Berlin
home:    ['Ann drinks green tea']
list:    ['Ann drinks green tea', 'Ann lives in Lisbon']
context: [1] 2025-06-01 Ann lives in Lisbon
get:     Ann drinks green tea home/kitchen ['drink'] tea 1
deleted: not_found
erased:  True
"""
KINDS = ("sqlite", "postgres", "passthrough", "mem0", "mem0 hosted", "supermemory", "letta")


@pytest.mark.parametrize("kind", KINDS)
def test_same_script_prints_the_same_on_every_kind_of_store(
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
    assert capsys.readouterr().out == PRINTED


def test_environment_alone_chooses_the_store(shell: None, store_path: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (PRINTED, "")
    assert store_path.exists()
