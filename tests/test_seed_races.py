"""The same `add` from several threads and several processes at once: with a seed, one memory and one answer; with
`if_absent`, one writer who stores it."""

from __future__ import annotations

import json
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
STORES_ONCE = PROGRAM.with_name("adds_where_none_is.py")
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
        answers = all_at_once([[sys.executable, str(PROGRAM), *place]] * 3)
        (record,) = memory.list("ann").items
        assert answers == [record.model_dump_json(exclude_none=True) + "\n"] * 3
        assert record.version == 1 + existing


def test_one_of_eight_writers_stores_the_memory_of_each_new_key(place: tuple[str, str]) -> None:
    keys = 60
    with Memory(ProviderName(place[0]), url=place[1], embedder="none") as memory:
        memory.list("ann")  # the store is made before they race
        commands = [[sys.executable, str(STORES_ONCE), *place, str(number), str(keys)] for number in range(4)]
        answers = all_at_once(commands)
        won = {name: found for answer in answers for name, found in json.loads(answer).items()}
        assert len(won) == 8
        assert sorted(key for found in won.values() for key in found) == list(range(keys))
        stored = {record.key: (record.content, record.version) for record in memory.list("ann", limit=500)}
        assert stored == {f"k{key}": (name, 1) for name, found in won.items() for key in found}


def all_at_once(commands: list[list[str]]) -> list[str]:
    """Start programs, let them begin together when all of them are ready, and return what they print."""
    programs = [subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in commands]
    for program in programs:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    return [program.communicate(timeout=30)[0] for program in programs]
