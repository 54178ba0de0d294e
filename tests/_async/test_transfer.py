"""`transfer`: everything arrives, and what does not is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, MemoryRecord, UnsupportedCapabilityError
from openmem._config.registry import BUILT_IN
from openmem.providers import ProviderName
from openmem.types import TransferProgress
from tests._async.narrow_provider import SPEC

FROM, TO = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)
MORE: dict[str, Any] = {"x-mem0": {"hash": "abc"}}
OF_THE_STORE = {"embedding_model", "x-openmem"}


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=tmp_path / "old.db", embedder="none") as memory:
        yield memory


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=tmp_path / "new.db", embedder="none") as memory:
        yield memory


@pytest.fixture
async def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncMemory]:
    monkeypatch.setitem(BUILT_IN, "narrow", SPEC)
    async with AsyncMemory(ProviderName("narrow"), url=tmp_path / "narrow.db", embedder="none") as memory:
        yield memory


async def fill(memory: AsyncMemory) -> list[MemoryRecord]:
    """Store what has every field, what replaces it, one that was changed, and one of another user."""
    full = await memory.add(
        content="tea ☕\nwith milk",
        user_id="ann",
        scope="home/kitchen",
        tags=["drink", "hot"],
        source={"app": "kit", "type": "explicit", "ref": "1"},
        confidence=0.1,
        valid_from=FROM,
        valid_to=TO,
        key="drink",
        metadata={"lang": "py", "n": [1.0, 10**30, -0.0]},
        searchable=False,
        **MORE,
    )
    newer = await memory.add(content="coffee", user_id="ann", supersedes=[full.id])
    changed = await memory.add(content="chess", user_id="ann")
    changed = await memory.update(changed.id, content="go")
    other = await memory.add(content="swims", user_id="bob with a blank")
    return [full, newer, changed, other]


def plain(record: MemoryRecord) -> dict[str, Any]:
    return record.model_dump(exclude=OF_THE_STORE)


async def test_every_field_arrives_and_the_origin_is_noted(old: AsyncMemory, new: AsyncMemory) -> None:
    records = await fill(old)
    report = await old.transfer(new)
    assert (report.source, report.target, report.memories) == ("sqlite", "sqlite", 4)
    assert (report.imported, report.verified, report.missing, report.different) == (4, 4, 0, 0)
    assert report.complete
    for record in records:
        found = await new.get(record.id, user_id=record.user_id)
        assert plain(found) == plain(await old.get(record.id, user_id=record.user_id))
        assert (found.model_extra or {})["x-openmem"] == {"id": record.id, "provider": "sqlite"}
    assert [item.content for item in (await new.list("ann")).items] == ["go", "coffee"]


async def test_only_one_users_memories_on_request(old: AsyncMemory, new: AsyncMemory) -> None:
    await fill(old)
    report = await old.transfer(new, user_id="ann")
    assert (report.memories, report.imported, report.complete) == (3, 3, True)
    assert (await new.list("bob with a blank")).items == []


async def test_repeating_it_stores_nothing_twice(old: AsyncMemory, new: AsyncMemory) -> None:
    await fill(old)
    await old.transfer(new)
    again = await old.transfer(new, limit=1)
    assert (again.imported, again.skipped, again.complete) == (0, 4, True)


async def test_memory_that_the_target_has_in_another_form_is_named(old: AsyncMemory, new: AsyncMemory) -> None:
    [full, _, changed, _] = await fill(old)
    await new.add(content="mine", user_id="ann", key="drink")
    await old.transfer(new)
    await new.update(changed.id, content="poker")
    report = await old.transfer(new)
    assert (report.missing, report.different, report.verified) == (1, 1, 2)
    assert report.examples == [full.id, changed.id]
    assert not report.complete
    assert (await new.get(changed.id)).content == "poker"


async def test_overwriting_makes_the_target_like_the_source(old: AsyncMemory, new: AsyncMemory) -> None:
    [*_, changed, _] = await fill(old)
    await old.transfer(new)
    await new.update(changed.id, content="poker", tags=["x"])
    report = await old.transfer(new, conflict="overwrite")
    assert (report.overwritten, report.complete) == (4, True)
    assert (await new.get(changed.id)).content == "go"


async def test_a_dry_run_writes_nothing(old: AsyncMemory, new: AsyncMemory) -> None:
    await fill(old)
    report = await old.transfer(new, dry_run=True)
    assert (report.memories, report.imported, report.verified) == (4, 0, 0)
    assert len((await new.export()).lines) == 1


async def test_loss_in_the_target_is_told_before_anything_is_written(old: AsyncMemory, narrow: AsyncMemory) -> None:
    await fill(old)
    with pytest.raises(UnsupportedCapabilityError, match="lossy=True") as caught:
        await old.transfer(narrow)
    losses = {loss["what"]: (loss["memories"], loss["stays"]) for loss in (caught.value.details or {})["losses"]}
    assert losses == {
        "supersedes": (1, False),
        "content of more than 10 characters": (1, True),
        "no blank in a user, please": (1, True),
    }
    assert len((await narrow.export()).lines) == 1


async def test_a_lossy_transfer_brings_the_rest(old: AsyncMemory, narrow: AsyncMemory) -> None:
    [full, newer, *_] = await fill(old)
    report = await old.transfer(narrow, lossy=True)
    assert (report.memories, report.imported, report.left_behind) == (4, 2, 2)
    assert (report.verified, report.missing, report.different) == (2, 0, 0)
    assert not report.complete
    assert (await narrow.get(newer.id)).supersedes is None
    assert full.id not in "".join((await narrow.export()).lines)


async def test_it_goes_on_where_it_stopped(old: AsyncMemory, new: AsyncMemory) -> None:
    await old.add_many([{"content": f"fact {number}"} for number in range(10)], user_id="ann")
    said: list[TransferProgress] = []

    def stop_after_two_pages(progress: TransferProgress) -> None:
        said.append(progress)
        if progress.stage == "copy" and progress.done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await old.transfer(new, limit=3, on_progress=stop_after_two_pages)
    kept = TransferProgress.model_validate_json(said[-1].model_dump_json())
    report = await old.transfer(new, limit=3, resume=kept, on_progress=said.append)
    assert (report.imported, report.skipped, report.complete) == (4, 0, True)
    assert [(progress.stage, progress.done, progress.total) for progress in said if progress.stage == "copy"] == [
        ("copy", 3, 10),
        ("copy", 6, 10),
        ("copy", 9, 10),
        ("copy", 10, 10),
    ]
    assert (said[-1].stage, said[-1].done) == ("verify", 10)


async def test_going_on_with_the_comparison_copies_nothing(old: AsyncMemory, new: AsyncMemory) -> None:
    await fill(old)
    await old.transfer(new)
    report = await old.transfer(new, resume=TransferProgress(stage="verify"))
    assert (report.imported, report.skipped, report.complete) == (0, 0, True)


async def test_an_empty_store_is_moved_at_once(old: AsyncMemory, new: AsyncMemory) -> None:
    report = await old.transfer(new)
    assert (report.memories, report.imported, report.complete) == (0, 0, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"conflict": "duplicate"},
        {"conflict": None},
        {"user_id": "*"},
        {"limit": 0},
        {"limit": 501},
        {"lossy": 1},
        {"dry_run": "no"},
        {"resume": {"stage": "copy"}},
        {"on_progress": 3},
        {"timeout": -1},
    ],
)
async def test_a_wrong_argument_is_refused_and_nothing_is_written(
    old: AsyncMemory, new: AsyncMemory, wrong: dict[str, Any]
) -> None:
    await fill(old)
    with pytest.raises(InvalidRequestError):
        await old.transfer(new, **wrong)
    assert len((await new.export()).lines) == 1


async def test_the_target_must_be_another_memory(old: AsyncMemory) -> None:
    for target in (old, old.for_caller(app="other"), "sqlite:///x.db", None):
        with pytest.raises(InvalidRequestError, match="target"):
            await old.transfer(target)  # type: ignore[arg-type]
