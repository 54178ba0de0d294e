"""A disk that is full to the last byte: nothing can be stored, everything can be read and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, AsyncServerStore
from openmem.errors import ProviderUnavailableError
from openmem.types import AuditEntry
from tests.small_disk import fill_up, small_disk

FULL = "the disk is full; nothing was stored"
LARGE = "no room for this " * 5_000

READS: dict[str, Callable[[AsyncMemory, str], Any]] = {
    "get": lambda memory, id_: memory.get(id_),
    "history": lambda memory, id_: memory.history(id_),
    "list": lambda memory, id_: memory.list("ann"),
    "search": lambda memory, id_: memory.search("tea", "ann"),
    "context": lambda memory, id_: memory.context("tea", "ann"),
    "export": lambda memory, id_: memory.export("ann"),
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of sixteen megabytes."""
    with small_disk(tmp_path / "disk", "16m") as folder:
        yield folder


def address(disk: Path) -> str:
    return f"sqlite:///{disk / 'store.db'}"


async def fill(memory: AsyncMemory, count: int = 40) -> list[str]:
    """Store memories one by one, each with words of its own; a few have earlier versions."""
    ids = []
    for number in range(count):
        record = await memory.add(content=f"secret{number} " + f"green tea{number} " * 40, user_id="ann")
        ids.append(record.id)
    for id_ in ids[:3]:
        await memory.update(id_, content=f"secret of {id_} " * 2_000)
    await memory.add(content="bob drinks coffee", user_id="bob")
    return ids


def traces(disk: Path) -> list[str]:
    """Return which files of the store hold a word of the memories."""
    return [file.name for file in disk.iterdir() if file.name != "ballast" and b"secret" in file.read_bytes()]


async def test_everything_but_storing_works_on_a_full_disk(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        ids = await fill(memory)
        fill_up(disk)
        with pytest.raises(ProviderUnavailableError, match=FULL):
            await memory.add(content=LARGE, user_id="ann")
        with pytest.raises(ProviderUnavailableError, match=FULL):
            await memory.add_many([{"content": f"{number} {LARGE}"} for number in range(9)], user_id="ann")
        assert len(await memory.list("ann", limit=500)) == len(ids)  # nothing half done
        assert await memory.search("tea7", "ann")
        await memory.delete(ids[0])
        await memory.delete(ids[1])
        assert {record.id for record in await memory.list("ann", limit=500)} == {*ids[2:]}
        receipt = await memory.delete_all("ann")
        assert receipt.complete
        assert receipt.erased["memories"] == len(ids) - 2
        assert receipt.purged
        assert traces(disk) == []
        await memory.add(content="there is room again", user_id="ann")
        assert len(await memory.search("coffee", "bob")) == 1


@pytest.mark.parametrize("verb", READS)
async def test_audit_log_on_a_full_disk_shows_reads_that_wait_to_be_written(disk: Path, verb: str) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        record = await memory.add(content="green tea", user_id="ann", scope="a/b")
        await memory.add(content="black tea", user_id="bob")
        await memory.audit("ann")
        fill_up(disk)
        for _ in range(3):
            await READS[verb](memory, record.id)
        noted = [(entry.action, entry.memory_id) for entry in await memory.audit("ann")]
        of_one = verb in ("get", "history")
        action = "get" if of_one else "list" if verb == "export" else verb
        assert noted == [*[(action, record.id if of_one else None)] * 3, ("add", record.id)]
        assert noted == [(entry.action, entry.memory_id) for entry in await memory.audit("ann")]
        assert [entry.action for entry in await memory.audit("bob")] == ["add"]
        assert len(await memory.audit("ann", limit=2)) == 2
        (disk / "ballast").unlink()
        assert noted == [(entry.action, entry.memory_id) for entry in await memory.audit("ann")]
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        assert noted == [(entry.action, entry.memory_id) for entry in await memory.audit("ann")]


async def test_reads_that_never_found_room_are_missing_and_the_log_says_so(
    disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        record = await memory.add(content="green tea", user_id="ann")
        fill_up(disk)
        for _ in range(1_000):
            await memory.get(record.id)
        assert len(await memory.audit("ann", limit=1_000)) == 1_000
    assert "the last reads are missing in the audit log" in caplog.text


async def test_erasure_on_a_full_disk_takes_the_names_out_of_deferred_audit_entries(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        ids = await fill(memory)
        await memory.audit("ann")
        fill_up(disk)
        for id_ in ids:
            await memory.get(id_)
        assert (await memory.delete_all("ann")).complete
        entries = await memory.audit("ann", limit=1_000)
        assert (entries[0].action, [entry.action for entry in entries].count("get")) == ("delete", len(ids))
        assert {(entry.memory_id, entry.scope) for entry in entries} == {(None, None)}


async def test_first_deletion_on_a_full_disk_may_be_that_of_everything(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        ids = await fill(memory)
        fill_up(disk)
        receipt = await memory.delete_all("ann")
        assert (receipt.complete, receipt.erased["memories"], receipt.purged) == (True, len(ids), True)
        assert traces(disk) == []


async def test_single_deletion_on_a_full_disk_leaves_no_bytes(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        await fill(memory)
        one = await memory.add(content="unheard-of " * 5_000, user_id="ann")
        fill_up(disk)
        await memory.delete(one.id)
    assert b"unheard-of" not in (disk / "store.db").read_bytes()


async def test_old_versions_are_removed_on_a_full_disk(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        ids = await fill(memory)
        await memory.update(ids[0], content="newer")
        fill_up(disk)
        await memory.maintain(versions=1)
        assert [state.version for state in await memory.history(ids[0])] == [2]
        assert len(await memory.list("ann", limit=500)) == len(ids)


async def test_store_is_opened_on_a_full_disk(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        ids = await fill(memory)
    fill_up(disk)
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        assert await memory.search("tea7", "ann")
        with pytest.raises(ProviderUnavailableError, match=FULL):
            await memory.add(content=LARGE, user_id="ann")
        await memory.delete(ids[0])
        assert (await memory.delete_all("ann")).purged
    assert traces(disk) == []


async def test_without_its_reserve_a_store_on_a_full_disk_says_so(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        await fill(memory)
    (disk / "store.db-reserve").unlink()
    fill_up(disk)
    memory = AsyncMemory(url=address(disk), embedder="none")
    with pytest.raises(ProviderUnavailableError, match="the disk is full; the database cannot be opened"):
        await memory.search("tea7", "ann")
    (disk / "ballast").unlink()  # some room is made on it, as the documentation says
    assert await memory.search("tea7", "ann")
    assert (await memory.delete_all("ann")).complete
    await memory.close()


async def test_deletion_that_has_no_room_does_nothing(disk: Path) -> None:
    async with AsyncMemory(url=address(disk), embedder="none") as memory:
        ids = await fill(memory)
        (disk / "store.db-reserve").unlink()
        fill_up(disk)
        with pytest.raises(ProviderUnavailableError, match="nothing was deleted"):
            await memory.delete_all("ann")
        assert len(await memory.list("ann", limit=500)) == len(ids)
        (disk / "ballast").unlink()
        receipt = await memory.delete_all("ann")
        assert (receipt.complete, receipt.erased["memories"]) == (True, len(ids))


async def test_key_is_revoked_on_a_full_disk(disk: Path) -> None:
    async with AsyncServerStore(address(disk)) as store:
        keys = [await store.create_key(app="desk", user_id="ann", grants=["read:*"]) for _ in range(3)]
        fill_up(disk)
        entries = [AuditEntry(timestamp=datetime.now(UTC), action="get", memory_id="m" * 200)] * 2_000
        with pytest.raises(ProviderUnavailableError, match=FULL):
            await store.enter("ann", *entries)
        for key in keys:
            assert await store.find_key(key.secret) is not None
            assert (await store.revoke_key(key.info.id)).revoked_at is not None
            assert await store.find_key(key.secret) is None
        await store.forget_entries_of("ann")


async def test_there_is_no_reserve_as_long_as_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2g") as folder:
        async with AsyncMemory(url=address(folder), embedder="none") as memory:
            await memory.add(content="likes tea", user_id="ann")
        assert [file.name for file in folder.iterdir()] == ["store.db"]
