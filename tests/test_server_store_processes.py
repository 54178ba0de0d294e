"""Several processes over one store: they make it together, count together and remember together."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from openmem import ServerStore

PROGRAM = Path(__file__).parent / "programs" / "store_user.py"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def start(url: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), url, NOW.isoformat()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def outcomes(programs: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    for program in programs:
        assert pipe(program.stdout).readline() == "open\n"
    for program in programs:
        pipe(program.stdin).write("go\n")
        pipe(program.stdin).flush()
    return [json.loads(program.communicate()[0]) for program in programs]


def test_processes_share_one_store(server_store_url_: str) -> None:
    found = outcomes([start(server_store_url_) for _ in range(3)])
    assert sum(one["went"] for one in found) == 100
    assert len({tuple(one["seeds"]) for one in found}) == 1
    with ServerStore(server_store_url_) as store:
        assert {info.id for info in store.list_keys()} == {one["id"] for one in found}
        assert len(store.list_keys()) == 3
