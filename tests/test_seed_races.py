"""The same `add` with the same seed, from several threads and several processes at once: one memory, one answer."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openmem import IdempotencySeed, Memory, MemoryRecord
from openmem.providers import ProviderName

PROGRAM = Path(__file__).parent / "programs" / "adds_with_seed.py"
AT_ONCE = 6


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, store_url: str) -> tuple[str, str]:
    """The provider and the address of an empty store."""
    return request.param, request.getfixturevalue("postgres_url") if request.param == "postgres" else store_url


@pytest.mark.parametrize("key", [None, "drink"])
@pytest.mark.parametrize("existing", [False, True])
def test_threads(place: tuple[str, str], key: str | None, existing: bool) -> None:
    with Memory(ProviderName(place[0]), url=place[1], embedder="none") as memory:
        if existing:
            memory.add(content="likes milk", user_id="ann", key="drink")
        for number in range(5):
            seed, barrier = IdempotencySeed(datetime(2026, 3, 1, tzinfo=UTC), number << 8), threading.Barrier(AT_ONCE)

            def add(_: int, seed: IdempotencySeed = seed, barrier: threading.Barrier = barrier) -> MemoryRecord:
                barrier.wait()
                return memory.for_caller(seed=seed).add(content=f"tea {seed.entropy}", user_id="ann", key=key)

            with ThreadPoolExecutor(AT_ONCE) as pool:
                answers = list(pool.map(add, range(AT_ONCE)))
            assert all(answer == answers[0] for answer in answers)
            assert answers[0].version == (1 + existing + number if key else 1)
        assert len(memory.list("ann").items) == (1 if key else 5 + existing)


@pytest.mark.parametrize("existing", [False, True])
def test_processes(place: tuple[str, str], existing: bool) -> None:
    with Memory(ProviderName(place[0]), url=place[1], embedder="none") as memory:
        if existing:
            memory.add(content="likes milk", user_id="ann", key="drink")
        command = [sys.executable, str(PROGRAM), *place]
        programs = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
        ]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("go\n")
            program.stdin.flush()
        answers = [program.communicate(timeout=15)[0] for program in programs]
        (record,) = memory.list("ann").items
        assert answers == [record.model_dump_json(exclude_none=True) + "\n"] * 3
        assert record.version == 1 + existing
