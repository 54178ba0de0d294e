"""An argument that a provider does not understand is refused by its name, before the provider is called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from openmem import Access, AsyncMemory, UnsupportedCapabilityError, parse_grant
from openmem._config.registry import BUILT_IN
from openmem._rules.understanding import LATER_ARGUMENTS
from openmem.providers import ProviderName
from openmem.types import OWN_MEMBER
from tests._async.earlier_provider import SPEC

ALL = Access(None, tuple(parse_grant(f"{verb}:*") for verb in ("read", "write", "delete", "admin")))
REFUSED = "is not supported by this provider"


@pytest.fixture
async def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncMemory]:
    monkeypatch.setitem(BUILT_IN, "earlier", SPEC)
    async with AsyncMemory(ProviderName("earlier"), url=tmp_path / "earlier.db", embedder="none") as memory:
        yield memory


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory(url=tmp_path / "plain.db", embedder="none") as memory:
        yield memory


@pytest.mark.parametrize("guarded", [False, True])
async def test_metadata_are_refused_by_name(earlier: AsyncMemory, guarded: bool) -> None:
    memory = earlier.for_caller(access=ALL) if guarded else earlier
    record = await memory.add("likes tea", user_id="ann", tags=["x"])
    items: Any = [{"content": "likes milk"}, {"content": "likes tea", "metadata": {}}]
    with pytest.raises(UnsupportedCapabilityError, match=f"metadata {REFUSED}"):
        await memory.add("likes milk", user_id="ann", metadata={})
    with pytest.raises(UnsupportedCapabilityError, match=f"metadata {REFUSED}"):
        await memory.add_many(items, user_id="ann")
    with pytest.raises(UnsupportedCapabilityError, match=f"metadata {REFUSED}"):
        await memory.update(record.id, metadata=None)
    with pytest.raises(UnsupportedCapabilityError, match=f"metadata_patch {REFUSED}"):
        await memory.update(record.id, metadata_patch={})
    assert (await memory.update(record.id, content="likes oolong")).version == 2
    assert [one.content for one in await memory.list("ann")] == ["likes oolong"]


@pytest.mark.parametrize("guarded", [False, True])
async def test_import_of_metadata_is_refused(plain: AsyncMemory, earlier: AsyncMemory, guarded: bool) -> None:
    await plain.add("likes tea", user_id="ann", metadata={"a": 1})
    lines = (await plain.export("ann")).lines
    memory = earlier.for_caller(access=ALL) if guarded else earlier
    with pytest.raises(UnsupportedCapabilityError, match=f"metadata {REFUSED}"):
        await memory.import_(lines)
    assert not await memory.list("ann")


async def test_transfer_tells_that_the_target_keeps_no_metadata(plain: AsyncMemory, earlier: AsyncMemory) -> None:
    await plain.add("likes tea", user_id="ann", metadata={"a": 1})
    await plain.add("likes milk", user_id="ann")
    with pytest.raises(UnsupportedCapabilityError, match="the target cannot hold: metadata of 1;"):
        await plain.transfer(earlier)
    report = await plain.transfer(earlier, lossy=True)
    assert (report.memories, report.verified, report.imported) == (2, 2, 2)
    back = await earlier.transfer(plain)
    assert (back.skipped, back.different) == (2, 1)


async def test_capabilities_name_the_arguments_that_are_understood(plain: AsyncMemory, earlier: AsyncMemory) -> None:
    said = (await plain.capabilities()).model_extra or {}
    assert said[OWN_MEMBER]["arguments"] == sorted(LATER_ARGUMENTS)
    assert "add_many" in said[OWN_MEMBER]["verbs"]
    assert "arguments" not in ((await earlier.capabilities()).model_extra or {})[OWN_MEMBER]
    assert (await plain.for_caller(access=ALL).capabilities()).model_extra == said


async def test_server_is_asked_only_what_it_says_it_understands(plain: AsyncMemory) -> None:
    said = (await plain.capabilities()).model_dump()
    del said[OWN_MEMBER]["arguments"]
    async with AsyncMemory("passthrough", base_url="http://127.0.0.1:9", capabilities=said) as memory:
        with pytest.raises(UnsupportedCapabilityError, match=f"metadata {REFUSED}"):
            await memory.add("likes tea", user_id="ann", metadata={})
        with pytest.raises(UnsupportedCapabilityError, match=f"metadata_patch {REFUSED}"):
            await memory.update("m", metadata_patch={})


async def filtered(memory: AsyncMemory) -> None:
    """Ask every verb that takes a filter, and see it refused; an empty one filters nothing."""
    where = {"n": {"$exists": False}}
    for call in (
        lambda: memory.list("ann", where=where),
        lambda: memory.search("tea", "ann", where=where),
        lambda: memory.context("tea", "ann", where=where),
        lambda: memory.delete_all("ann", where=where),
    ):
        with pytest.raises(UnsupportedCapabilityError, match=f"where {REFUSED}"):
            await call()


@pytest.mark.parametrize("guarded", [False, True])
async def test_filter_is_refused_and_nothing_is_erased(earlier: AsyncMemory, guarded: bool) -> None:
    memory = earlier.for_caller(access=ALL) if guarded else earlier
    await memory.add("likes tea", user_id="ann")
    await filtered(memory)
    assert [one.content for one in await memory.list("ann", where={})] == ["likes tea"]


async def test_server_that_may_ignore_a_filter_is_not_asked(plain: AsyncMemory) -> None:
    said = (await plain.capabilities()).model_dump()
    said[OWN_MEMBER]["arguments"].remove("where")
    async with AsyncMemory("passthrough", base_url="http://127.0.0.1:9", capabilities=said) as memory:
        await filtered(memory)
