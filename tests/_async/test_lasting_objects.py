"""Objects that must not be copied say so, and an open store notices that its file went away."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, ProviderError


@pytest.mark.parametrize("way", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("used", [False, True])
async def test_memory_is_neither_pickled_nor_copied(tmp_path: Path, way: Callable[[Any], Any], used: bool) -> None:
    async with AsyncMemory(url=str(tmp_path / "m.db"), embedder="none") as memory:
        if used:
            await memory.add(content="likes tea", user_id="ann")
        for each in (memory, memory.for_caller(app="notes")):
            with pytest.raises(TypeError, match="cannot be pickled or copied: make another"):
                way(each)
        assert (await memory.add(content="likes coffee", user_id="ann")).version == 1


def take_away(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.replace(other, path)


@pytest.mark.parametrize("change", [take_away, move, replace])
@pytest.mark.parametrize("wrote", [False, True])
async def test_write_into_a_file_that_is_gone_is_refused(
    tmp_path: Path, change: Callable[[Path], None], wrote: bool
) -> None:
    path = tmp_path / "m.db"
    async with AsyncMemory(url=str(path), embedder="none") as memory:
        await memory.add(content="likes tea", user_id="ann")
    memory = AsyncMemory(url=str(path), embedder="none")
    if wrote:
        record = await memory.add(content="likes tea", user_id="ann")
    else:
        record = (await memory.list("ann")).items[0]
    change(path)
    for write in (
        lambda: memory.add(content="likes coffee", user_id="ann"),
        lambda: memory.update(record.id, content="likes coffee"),
        lambda: memory.delete(record.id),
        lambda: memory.delete_all("ann"),
    ):
        with pytest.raises(ProviderError, match="deleted, moved or replaced"):
            await write()
    if change is not replace:
        assert not path.exists(), "no empty store takes its place"
    await memory.close()
