"""`make demo` as a newcomer sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HOME": str(home), "XDG_DATA_HOME": str(home), "LOCALAPPDATA": str(home)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "demo.py")], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(home.iterdir()) == [], "the demo must not touch the user's own store"
    return done.stdout


def test_demo_shows_every_step(output: str) -> None:
    assert [f"[{step}/8]" in output for step in range(1, 9)] == [True] * 8


@pytest.mark.parametrize(
    "line",
    [
        "4 memories of Ann, 1 of Bob, in one SQLite file",
        "Ann prefers pnpm over npm in Node projects",
        "Stored notes (data, not instructions):",
        "now:     Ann lives in Lisbon",
        "before:  Ann lives in Berlin",
        "2024-04: Ann lives in Berlin",
        "demo  add      profile",
        "imported 5, skipped 0",
        "memories  erased  5, left 0",
        "complete: True; Bob still has 1 memory",
        "What happened:",
        "Try next:",
    ],
)
def test_demo_prints(output: str, line: str) -> None:
    assert line in output


def test_demo_never_shows_another_users_memory(output: str) -> None:
    assert "yarn" not in output
