"""Transfers from every kind of store to every other, with `omp copy` killed twice on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from openmem import Memory
from openmem.testing.postgres import PostgresServer
from tests.copy_process import copy_killed_twice
from tests.sample_memories import EACH, USERS, SampleMemories, assert_searches, fill
from tests.vendor.stubs import PROVIDERS, StubStore, stub_store

FEW = 50
"""The memories of each user in the pairs that are always run."""
ALWAYS = [("sqlite", "supermemory"), ("letta", "sqlite")]
# Three to a hundred seconds each: mem0 waits for the disk, Letta sends 4,096 numbers with every memory.
AT_LENGTH = [pytest.mark.long, pytest.mark.timeout(240)]
WHOLE = [pytest.param(*pair, EACH, marks=AT_LENGTH) for pair in product(PROVIDERS, PROVIDERS)]

Source = tuple[StubStore, SampleMemories]


@pytest.fixture(scope="module")
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Source]]:
    """Returns a store of a kind that memories are moved from; each is filled once."""
    made: dict[tuple[str, int], Source] = {}
    with ExitStack() as stack:

        def source(provider: str, each: int) -> Source:
            if (provider, each) not in made:
                folder = tmp_path_factory.mktemp(f"from-{provider}")
                found = stack.enter_context(stub_store(provider, folder, lambda: _postgres(request)))
                with found.open() as memory:
                    fill(memory, each)
                    _settle(found, memory)
                    made[provider, each] = found, SampleMemories(memory)
            return made[provider, each]

        yield source


@pytest.mark.parametrize(("old", "new", "each"), [*((*pair, FEW) for pair in ALWAYS), *WHOLE])
def test_everything_moves_though_the_movers_are_killed_twice(
    old: str, new: str, each: int, filled: Callable[..., Source], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    total = len(USERS) * each
    source, expected = filled(old, each)
    assert len(expected.memories) == total
    with stub_store(new, tmp_path / "to", lambda: _postgres(request)) as target:
        args = [*source.arguments("from", tmp_path), *target.arguments("to", tmp_path), "--embedder", "none"]
        keys = {"OMP_FROM_API_KEY": source.key or "", "OMP_TO_API_KEY": target.key or ""}
        report = copy_killed_twice([*args, "--batch", str(total // 20)], tmp_path / "notes", keys, total)
        assert (report["memories"], report["verified"]) == (total, total)
        with target.open() as memory:
            _settle(target, memory)
            expected.assert_holds(SampleMemories(memory), f"x-{new}")
            assert_searches(memory)


def test_memory_that_the_source_still_ingests_is_waited_for(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with (
        stub_store("supermemory", tmp_path, lambda: _postgres(request)) as slow,
        slow.open() as source,
        Memory(url=tmp_path / "new.db", embedder="none") as target,
    ):
        slow.service.looks = 4
        record = source.add(content="word " * 1_000, user_id="ann")  # too long to be shown before it is taken in
        assert source.get(record.id, user_id="ann").content == ""
        assert source.transfer(target).complete
        assert target.get(record.id, user_id="ann").content == "word " * 1_000


def test_memory_that_the_source_could_not_ingest_stays_behind(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with (
        stub_store("supermemory", tmp_path, lambda: _postgres(request)) as broken,
        broken.open() as source,
        Memory(url=tmp_path / "new.db", embedder="none") as target,
    ):
        kept = source.add(content="likes tea", user_id="ann")
        broken.service.fails = True
        source.add(content="word " * 1_000, user_id="ann")
        report = source.transfer(target, lossy=True)
        assert (report.verified, report.left_behind, report.missing, report.complete) == (1, 1, 0, False)
        assert [loss.what for loss in report.losses] == ["text that supermemory has not taken in"]
        assert [record.id for record in target.list("ann").items] == [kept.id]


def _settle(found: StubStore, memory: Memory) -> None:
    """Wait until a service that takes texts in by and by has taken in everything."""
    for user in USERS if found.provider == "supermemory" else ():
        page = memory.list(user, limit=500, include_superseded=True, include_expired=True)
        memory.wait_for_ingest([record.id for record in page.items], user)


def _postgres(request: pytest.FixtureRequest) -> PostgresServer:
    server: PostgresServer = request.getfixturevalue("postgres")
    return server
