"""Many processes may start at once on an empty database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from openmem import Memory

PROGRAM = Path(__file__).resolve().parent / "programs" / "opens.py"
PROCESSES = 6


def test_many_processes_may_open_an_empty_database_at_once(empty_postgres_url: str) -> None:
    command = [sys.executable, str(PROGRAM), empty_postgres_url, "3"]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate(timeout=15)[0] for process in started] == ["done\n"] * PROCESSES
    with Memory(url=empty_postgres_url, embedder="none") as memory:
        assert len(memory.list("ann").items) == 3 * PROCESSES
