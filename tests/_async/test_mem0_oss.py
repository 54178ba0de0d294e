"""mem0 in process beyond the kit: its own files, isolation, erasure, and its language model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from openmem import AsyncMemory, InvalidRequestError, NotFoundError, ProviderError, UnsupportedCapabilityError
from openmem._io.concurrency.primitives import async_gather
from tests.vendor.mem0_oss import DIM, NEEDED, close_memory, empty, make_memory, qdrant_config

pytest.importorskip("mem0", reason=NEEDED)


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("mem0")
    sdk = make_memory(qdrant_config(folder), folder)
    yield sdk
    close_memory(sdk)


@pytest.fixture
def sdk(_shared: Any) -> Any:
    """A `mem0.Memory` without memories: to make one for each test would take a second."""
    empty(_shared)
    return _shared


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A configuration whose embedder mem0 itself makes."""
    from mem0.utils.factory import EmbedderFactory

    monkeypatch.setenv("MEM0_DIR", str(tmp_path / "mem0"))
    classes = EmbedderFactory.provider_to_class
    monkeypatch.setitem(classes, "lmstudio", "tests.vendor.mem0_oss.hash_embedding")
    config = qdrant_config(tmp_path)
    config["embedder"] = {"provider": "lmstudio", "config": {"embedding_dims": DIM}}
    return config


async def test_store_made_from_a_configuration_is_closed_and_opened_again(hashed: dict[str, Any]) -> None:
    async with AsyncMemory("mem0", config=hashed) as memory:
        record = await memory.add(content="likes green tea", user_id="ann", tags=["drink"])
    async with AsyncMemory("mem0", mode="oss", config=hashed) as memory:
        assert await memory.get(record.id) == record
        assert [result.memory.id for result in await memory.search("tea", "ann")] == [record.id]


async def test_configuration_that_mem0_refuses_is_not_quoted(
    hashed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hashed["vector_store"]["config"]["pasword"] = "hunter2"
    async with AsyncMemory("mem0", config=hashed) as memory:
        with pytest.raises(InvalidRequestError, match="config") as caught:
            await memory.list("ann")
    assert "hunter2" not in caplog.text
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"


async def test_ready_client_stays_open(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk) as memory:
        record = await memory.add(content="likes tea", user_id="ann")
    assert sdk.get(record.id)["memory"] == "likes tea"


async def test_capabilities_follow_the_store(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk) as memory:
        features = (await memory.capabilities()).features.model_dump()
    assert (features["mode"], features["verbatim"], features["vector_search"]) == ("oss", True, True)
    assert not set(features["native"]) & set(features["emulated"])
    chroma = {"vector_store": {"provider": "chroma", "config": {}}}
    async with AsyncMemory("mem0", config=chroma) as other:
        with pytest.raises(UnsupportedCapabilityError, match="vector"):
            await other.search("tea", "ann", mode="vector")
        with pytest.raises(UnsupportedCapabilityError, match="users"):
            await other.users()
        said = await other.capabilities()
    assert "users" not in said.all_verbs
    assert "users" not in said.features.model_dump()["emulated"]


async def test_capabilities_leave_out_what_mem0s_model_makes_impossible(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk, infer=True) as memory:
        said = await memory.capabilities()
        assert {"add_many", "key"}.isdisjoint([*said.all_verbs, *said.features.model_dump()["emulated"]])
        with pytest.raises(UnsupportedCapabilityError, match="add_many"):
            await memory.add_many([{"content": "likes tea"}, {"content": "likes milk"}], user_id="ann")
        with pytest.raises(UnsupportedCapabilityError, match="key"):
            await memory.add("likes tea", user_id="ann", key="tea")


async def test_erased_text_is_gone_from_mem0s_history_too(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk) as memory:
        record = await memory.add(content="secret pineapple", user_id="ann")
        await memory.update(record.id, content="nothing special")
        assert len(sdk.history(record.id)) == 2
        receipt = await memory.delete_all("ann")
        assert receipt.complete
        assert receipt.remaining == {"memories": 0, "history": 0}
        assert sdk.history(record.id) == []
        other = await memory.add(content="secret papaya", user_id="ann")
        await memory.delete(other.id)
        assert sdk.history(other.id) == []


async def test_only_the_hint_is_stored_and_supersession_is_looked_up(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk) as memory:
        old = await memory.add(content="tea with milk", user_id="ann")
        new = await memory.add(content="tea without milk", user_id="ann", supersedes=[old.id])
        assert sdk.get(old.id)["metadata"]["omp_outdated"] is True
        assert (await memory.get(old.id)) == old
        sdk.delete(new.id)  # behind openmem's back: the mark stays, and hides nothing
        assert [record.id for record in (await memory.list("ann")).items] == [old.id]
        assert [result.memory.id for result in await memory.search("tea", "ann")] == [old.id]


async def test_imported_memory_is_found_by_its_own_id(sdk: Any) -> None:
    line = {"id": "note-7", "content": "likes tea", "user_id": "ann", "created_at": "2020-02-29T12:00:00.123456+00:00"}
    lines = ['{"format": "omp-export", "version": 1}', json.dumps({"memory": line})]
    async with AsyncMemory("mem0", client=sdk) as memory:
        assert (await memory.import_(lines)).imported == 1
        assert (await memory.import_(lines)).skipped == 1
        got = await memory.get("note-7")
        assert got.created_at.isoformat() == line["created_at"]
        assert (await memory.update("note-7", content="likes coffee")).id == "note-7"
        with pytest.raises(NotFoundError):
            await memory.get("note-7", user_id="bob")
        [kept] = sdk.get_all(filters={"user_id": "ann"})["results"]
        assert kept["created_at"].startswith("2020-02-29T12:00")
        with pytest.raises(NotFoundError):  # mem0's own id is not the memory's
            await memory.get(kept["id"])
        await memory.delete("note-7")
        assert (await memory.list("ann")).items == []


async def test_more_than_mem0_lists_by_itself_is_listed(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk) as memory:
        await memory.add_many([{"content": f"fact {n}"} for n in range(150)], user_id="ann")
        seen: list[str] = []
        page = await memory.list("ann", limit=40)
        seen += [record.content for record in page.items]
        while page.next_cursor is not None:
            page = await memory.list("ann", limit=40, cursor=page.next_cursor)
            seen += [record.content for record in page.items]
        assert sorted(seen) == sorted(f"fact {n}" for n in range(150))


async def test_updates_at_once_all_count(sdk: Any) -> None:
    async with AsyncMemory("mem0", client=sdk) as memory:
        record = await memory.add(content="draft", user_id="ann")
        await async_gather(*[partial(memory.update, record.id, tags=[f"t{n}"]) for n in range(12)])
        assert (await memory.get(record.id)).version == 13


class Model:
    """A language model that says what it is told to."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def generate_response(self, *args: Any, **kwargs: Any) -> str:
        return json.dumps({"memory": [{"text": text} for text in self._texts]})


async def test_inferred_memory_says_that_its_text_is_another(sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "llm", Model("User likes tea"))
    async with AsyncMemory("mem0", client=sdk, infer=True) as memory:
        record = await memory.add(content="Honestly, I do like tea.", user_id="ann", tags=["drink"])
        assert (record.content, record.tags, record.status) == ("User likes tea", ["drink"], None)
        assert (record.model_extra or {})["x-mem0"]["content_rewritten"] is True
        assert await memory.get(record.id) == record


async def test_inferring_nothing_is_said_and_not_passed_over(sdk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "llm", Model())
    async with AsyncMemory("mem0", client=sdk, infer=True) as memory:
        with pytest.raises(ProviderError, match="nothing to remember") as caught:
            await memory.add(content="hm", user_id="ann")
        assert caught.value.details == {"outcome": "nothing_extracted"}
        assert (await memory.list("ann")).items == []


async def test_app_id_is_refused_where_mem0_would_drop_it(sdk: Any) -> None:
    extension: dict[str, Any] = {"x-mem0": {"app_id": "notes"}}
    async with AsyncMemory("mem0", client=sdk) as memory:
        with pytest.raises(UnsupportedCapabilityError, match="app_id"):
            await memory.add(content="tea", user_id="ann", **extension)
        assert (await memory.list("ann")).items == []
