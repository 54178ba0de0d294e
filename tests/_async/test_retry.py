"""`retry=`: who follows it, against real servers that fail as they are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openmem import AsyncMemory, OMPError, OpenAIEmbedder
from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.retrying import async_repeat
from openmem.errors import InvalidRequestError, ProviderError, ProviderUnavailableError, RateLimitedError
from openmem.providers import FailedAttempt, Retry
from tests.omp_stub import Answer, OmpStub, answer
from tests.openai_stub import OpenAIStub, fault
from tests.vendor.letta import KEY as LETTA_KEY
from tests.vendor.letta import LettaService
from tests.vendor.supermemory import KEY as SUPERMEMORY_KEY
from tests.vendor.supermemory import NEEDED, SupermemoryService

QUICK = Retry(2, backoff=0.001)
BUSY = answer({"error": "busy"}, 503)


@pytest.fixture
def stub() -> Iterator[OmpStub]:
    with OmpStub() as server:
        yield server


@pytest.fixture
def endpoint() -> Iterator[OpenAIStub]:
    with OpenAIStub() as server:
        yield server


async def test_server_that_fails_twice_is_asked_three_times(stub: OmpStub) -> None:
    stub.answers.extend([BUSY, Answer(drop=True)])
    async with AsyncMemory(base_url=stub.url, retry=QUICK) as memory:
        assert (await memory.get("mem_1")).content == "prefers tea"
    assert [asked.method for asked in stub.verbs] == ["GET"] * 3


@pytest.mark.parametrize("trouble", [BUSY, Answer(drop=True), answer({}, 429, retry_after="0")], ids=str)
async def test_server_is_not_asked_again_without_retries(stub: OmpStub, trouble: Answer) -> None:
    stub.answers.append(trouble)
    async with AsyncMemory(base_url=stub.url, retry=Retry(0)) as memory:
        with pytest.raises(OMPError):
            await memory.get("mem_1")
    assert len(stub.verbs) == 1


async def test_server_is_asked_as_often_as_the_policy_says(stub: OmpStub) -> None:
    stub.rule = lambda asked: BUSY
    async with AsyncMemory(base_url=stub.url, retry=Retry(5, backoff=0.0)) as memory:
        with pytest.raises(ProviderUnavailableError):
            await memory.get("mem_1")
    assert len(stub.verbs) == 6


async def test_wait_that_would_outlast_the_deadline_is_not_begun(stub: OmpStub) -> None:
    stub.rule = lambda asked: answer({}, 429, retry_after="40")
    async with AsyncMemory(base_url=stub.url, retry=Retry(5)) as memory:
        with pytest.raises(RateLimitedError) as caught:
            await memory.get("mem_1", timeout=30)
    assert (caught.value.retry_after, len(stub.verbs)) == (40.0, 1)


async def test_write_is_not_repeated_when_the_server_may_have_acted(stub: OmpStub) -> None:
    stub.answers.extend([Answer(drop=True)])
    async with AsyncMemory(base_url=stub.url, retry=Retry(5, backoff=0.0)) as memory:
        with pytest.raises(ProviderUnavailableError):
            await memory.update("mem_1", content="prefers coffee")
        assert len(stub.verbs) == 1
        stub.answers.extend([answer({}, 429, retry_after="0")])
        await memory.update("mem_1", content="prefers coffee")
    assert len(stub.verbs) == 3


@pytest.mark.parametrize("own", [True, False], ids=["of the embedder", "of the memory"])
async def test_embedder_of_an_endpoint_follows_the_policy(endpoint: OpenAIStub, tmp_path: Path, own: bool) -> None:
    endpoint.faults.extend([fault(503)] * 4)
    options: dict[str, Any] = {"retry": Retry(4, backoff=0.0)} if own else {}
    embedder = OpenAIEmbedder("small", api_key="k", base_url=endpoint.url, dim=8, **options)
    policy = Retry(0) if own else Retry(4, backoff=0.0)  # the embedder's own goes first
    async with AsyncMemory(url=tmp_path / "a.db", embedder=embedder, retry=policy) as memory:
        await memory.add(content="likes tea", user_id="ann")
    assert len(endpoint.received) == 5


async def test_embedder_without_a_policy_repeats_as_often_as_its_retries_say(
    endpoint: OpenAIStub, tmp_path: Path
) -> None:
    endpoint.faults.extend([fault(503, retry_after="0")] * 2)
    embedder = OpenAIEmbedder("small", api_key="k", base_url=endpoint.url, dim=8, retries=1)
    async with AsyncMemory(url=tmp_path / "a.db", embedder=embedder) as memory:
        with pytest.raises(ProviderUnavailableError):
            await memory.add(content="likes tea", user_id="ann")
    assert len(endpoint.received) == 2


async def test_vendor_is_asked_as_often_as_the_policy_says() -> None:
    pytest.importorskip("supermemory", reason=NEEDED)
    service = SupermemoryService()
    try:
        for policy, asked in ((Retry(0), 1), (Retry(3, backoff=0.0), 4)):
            async with AsyncMemory(
                "supermemory", api_key=SUPERMEMORY_KEY, base_url=service.url, retry=policy
            ) as memory:
                await memory.health()
                service.faults = [(503, {}, {})] * 9
                with pytest.raises(ProviderUnavailableError):
                    await memory.get("mem_1", user_id="ann")
                assert len(service.faults) == 9 - asked
                service.faults = []
    finally:
        service.close()


async def test_letta_is_asked_as_often_as_the_policy_says() -> None:
    pytest.importorskip("letta_client", reason="the letta provider needs letta_client")
    service = LettaService()
    try:
        for policy, asked in ((Retry(0), 1), (Retry(4, backoff=0.0), 5)):
            async with AsyncMemory("letta", api_key=LETTA_KEY, base_url=service.url, retry=policy) as memory:
                service.fail("GET", "archives", *[(503, {}, {})] * 9)
                with pytest.raises(ProviderUnavailableError):
                    await memory.list("ann")
                assert len(service.faults) == 9 - asked
                service.faults.clear()
    finally:
        service.close()


async def test_policy_for_mem0_in_process_is_refused() -> None:
    client = SimpleNamespace(add=print, vector_store=None)
    with pytest.raises(InvalidRequestError, match="retry: mem0 in this process makes its own requests"):
        AsyncMemory("mem0", client=client, retry=Retry(1))


@pytest.mark.parametrize("bad", [3, 0, "none", True, {"retries": 2}, Retry], ids=str)
async def test_policy_of_another_type_is_refused(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="retry must be of the class Retry"):
        AsyncMemory(base_url="http://127.0.0.1:1", retry=bad)
    with pytest.raises(InvalidRequestError, match="OpenAIEmbedder: retry must be of the class Retry"):
        OpenAIEmbedder("small", retry=bad)


@pytest.mark.parametrize("place", ["sqlite:///a.db", "postgresql://127.0.0.1/x"])
async def test_policy_that_nothing_would_follow_is_refused(place: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"retry: provider '(sqlite|postgres)' makes no requests"):
        AsyncMemory(url=place, embedder="none", retry=Retry(0))


async def test_name_of_another_library_leads_to_the_argument() -> None:
    with pytest.raises(InvalidRequestError, match="did you mean 'retry='"):
        AsyncMemory(base_url="http://127.0.0.1:1", max_retries=3)  # type: ignore[call-overload]


async def test_deadline_ends_the_repeats_and_the_last_error_is_raised() -> None:
    count, deadline = 0, Deadline.after(0.6)

    async def attempt() -> str | FailedAttempt:
        nonlocal count
        count += 1
        return FailedAttempt(ProviderError(f"attempt {count}"), passing=True)

    steady = Retry(100, backoff=0.4, jitter=False)
    with pytest.raises(ProviderError, match="attempt") as caught:
        await async_repeat(attempt, steady, deadline, repeatable=True)
    # There was time for one wait, not for two, and the second was not begun.
    assert (count, caught.value.message) == (2, "attempt 2")
    assert not deadline.passed()


async def test_error_that_is_raised_in_the_end_carries_no_other() -> None:
    failed = FailedAttempt(ProviderError(json.dumps("x")), passing=True)

    async def attempt() -> str | FailedAttempt:
        try:
            raise ValueError("what was asked")
        except ValueError:
            return failed

    with pytest.raises(ProviderError) as caught:
        await async_repeat(attempt, Retry(1, backoff=0.0), Deadline(), repeatable=True)
    assert caught.value.__context__ is None
