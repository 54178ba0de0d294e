"""Memories by key at another server: what is sent, what may come back, and servers that know no such thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.errors import AlreadyExistsError, ProviderError, UnsupportedCapabilityError, VersionConflictError
from tests.omp_stub import CAPABILITIES, RECORD, OmpStub, answer, problem

ABLE: dict[str, Any] = {
    **CAPABILITIES,
    "x-openmem": {"verbs": ["history"], "arguments": ["by_key", "if_absent", "if_version"]},
}
KEYED = {**RECORD, "key": "a/b"}
WRONG = r"with (another memory|a memory of another user)"
HOME: dict[str, Any] = {"key": "a/b", "user_id": "ann"}


@pytest.fixture
def stub() -> Iterator[OmpStub]:
    with OmpStub() as stub:
        stub.capabilities = ABLE
        yield stub


@pytest.fixture
async def memory(stub: OmpStub) -> AsyncIterator[AsyncMemory]:
    async with AsyncMemory("passthrough", base_url=stub.url) as memory:
        yield memory


async def test_each_verb_is_one_request_for_the_key(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.extend([answer(KEYED), answer(KEYED), answer({"items": [KEYED]}), answer(None, 204)])
    assert (await memory.get(**HOME)).id == "mem_1"
    await memory.update(**HOME, content="prefers milk", if_version=1)
    await memory.history(**HOME)
    await memory.delete(**HOME)
    path = "/memories/by-key/a%2Fb"
    sent = [(asked.method, asked.path, asked.headers["x-user-id"]) for asked in stub.verbs]
    expected = [("GET", path), ("PATCH", path), ("GET", f"{path}/history"), ("DELETE", path)]
    assert sent == [(method, place, "ann") for method, place in expected]
    assert stub.verbs[1].headers["if-match"] == '"1"'


async def test_server_that_knows_the_user_of_its_key_is_told_none(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.append(answer(KEYED))
    assert (await memory.get(key="a/b")).user_id == "ann"
    assert "x-user-id" not in stub.verbs[-1].headers


async def test_memory_of_another_key_or_user_is_refused(memory: AsyncMemory, stub: OmpStub) -> None:
    for wrong in (RECORD, {**KEYED, "key": "a"}, {**KEYED, "user_id": "bob"}):
        stub.answers.extend([answer(wrong)] * 2)
        with pytest.raises(ProviderError, match=WRONG):
            await memory.get(**HOME)
        with pytest.raises(ProviderError, match=WRONG):
            await memory.update(**HOME, content="prefers milk")


async def test_terms_are_sent_and_their_errors_come_back(memory: AsyncMemory, stub: OmpStub) -> None:
    there = {"id": "mem_1", "version": 3}
    stub.answers.append(problem(409, "already_exists", "invalid", details=there))
    with pytest.raises(AlreadyExistsError) as exists:
        await memory.add("prefers tea", **HOME, if_absent=True)
    assert (exists.value.details, exists.value.http_status) == (there, 409)
    assert stub.verbs[-1].json == {"content": "prefers tea", **HOME, "if_absent": True}
    stub.answers.append(problem(412, "version_conflict", "invalid", details={"version": 3}))
    with pytest.raises(VersionConflictError):
        await memory.add("prefers tea", **HOME, if_version=2)
    assert stub.verbs[-1].json == {"content": "prefers tea", **HOME, "if_version": 2}


async def test_server_that_knows_no_keys_in_the_place_of_ids_is_asked_for_none(stub: OmpStub) -> None:
    stub.capabilities = {**CAPABILITIES, "x-openmem": {"verbs": ["history"]}}
    async with AsyncMemory("passthrough", base_url=stub.url) as memory:
        refused: dict[str, Callable[[], Any]] = {
            r"get\(key=\)": lambda: memory.get(**HOME),
            r"update\(key=\)": lambda: memory.update(**HOME, content="x"),
            r"delete\(key=\)": lambda: memory.delete(**HOME),
            r"history\(key=\)": lambda: memory.history(**HOME),
            "if_absent": lambda: memory.add("x", **HOME, if_absent=True),
            "if_version": lambda: memory.add("x", **HOME, if_version=1),
        }
        for name, verb in refused.items():
            with pytest.raises(UnsupportedCapabilityError, match=f"^{name} is not supported"):
                await verb()
        items: list[Any] = [{"content": "x"}, {"content": "y", **HOME, "if_absent": True}]
        with pytest.raises(UnsupportedCapabilityError, match=r"^if_absent is not supported"):
            await memory.add_many(items, user_id="ann")
    assert stub.verbs == []
