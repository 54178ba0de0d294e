"""The hosted mem0 provider beyond the kit: errors, repeats, ingestion, and what the service holds besides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from openmem import (
    AsyncMemory,
    DeadlineExceededError,
    InvalidRequestError,
    MemoryItem,
    NotFoundError,
    OMPError,
    ProviderError,
    UnsupportedCapabilityError,
)
from openmem.errors import (
    IngestionTimeoutError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
)
from tests.vendor.mem0_hosted import KEY, Mem0Service
from tests.vendor.mem0_oss import NEEDED

pytest.importorskip("mem0", reason=NEEDED)


@pytest.fixture
def service() -> Iterator[Mem0Service]:
    service = Mem0Service()
    yield service
    service.close()


def connect(service: Mem0Service, **options: Any) -> AsyncMemory:
    return AsyncMemory("mem0", **{"api_key": KEY, "base_url": service.url, **options})


@pytest.fixture
async def memory(service: Mem0Service) -> AsyncIterator[AsyncMemory]:
    async with connect(service) as memory:
        yield memory
    assert service.broken == []


ERRORS = [
    (400, InvalidRequestError),
    (401, UnauthorizedError),
    (402, ProviderError),
    (403, ScopeDeniedError),
    (404, NotFoundError),
    (409, ProviderError),
    (413, ProviderError),
    (422, InvalidRequestError),
    (429, RateLimitedError),
    (500, ProviderError),
    (503, ProviderUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), ERRORS)
async def test_status_of_a_reply_becomes_the_error_that_fits(
    memory: AsyncMemory, service: Mem0Service, status: int, kind: type[OMPError]
) -> None:
    service.faults = [(status, {"error": f"pineapple {KEY}", "detail": KEY}, {"retry-after": "7"})]
    with pytest.raises(OMPError) as caught:
        await memory.add(content="secret pineapple", user_id="ann")
    error = caught.value
    assert type(error) is kind
    assert error.provider == "mem0"
    assert error.details == {"status": status}
    assert error.retry_after == (7 if status == 429 else None)
    told = f"{error!r} {error.__cause__!r} {error.__context__!r} {vars(error)}"
    assert KEY not in told
    assert "pineapple" not in told
    assert service.memories == {}


async def test_reply_that_is_no_json_is_an_error_of_the_provider(memory: AsyncMemory, service: Mem0Service) -> None:
    service.faults = [(200, b"<html>", {})]
    with pytest.raises(ProviderError, match="no JSON"):
        await memory.add(content="likes tea", user_id="ann")


async def test_wrong_key_is_refused_on_the_first_call_and_not_told(service: Mem0Service) -> None:
    async with connect(service, api_key="m0-wrong-key", timeout=10) as memory:
        with pytest.raises(UnauthorizedError) as caught:
            await memory.list("ann")
    assert "m0-wrong" not in f"{caught.value!r} {caught.value.__cause__!r} {memory!r}"


async def test_addresses_with_user_ids_are_not_logged(
    memory: AsyncMemory, service: Mem0Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    record = await memory.add(content="likes pineapple", user_id="ann-o-nym")
    await memory.get(record.id, user_id="ann-o-nym")
    await memory.delete_all("ann-o-nym")
    ours = [each for each in caplog.records if each.name.split(".")[0] in ("httpx", "httpcore", "openmem")]
    assert [each.getMessage() for each in ours] == []
    assert "ann-o-nym" not in caplog.text
    assert (await memory.list("ann-o-nym")).items == []


async def test_service_that_is_not_there_is_unavailable(service: Mem0Service) -> None:
    service.close()
    memory = AsyncMemory("mem0", api_key=KEY, base_url=service.url, timeout=5)
    with pytest.raises(ProviderUnavailableError):
        await memory.list("ann")
    await memory.close()


async def test_reads_are_repeated_and_writes_are_not(memory: AsyncMemory, service: Mem0Service) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    service.faults = [(503, {}, {}), (500, {}, {})]
    assert (await memory.get(record.id)).content == "likes tea"
    assert service.faults == []
    service.faults = [(503, {}, {}), (503, {}, {}), (503, {}, {})]
    with pytest.raises(ProviderUnavailableError):
        await memory.search("tea", "ann")
    assert service.faults == []
    service.faults = [(503, {}, {})]
    with pytest.raises(ProviderUnavailableError):
        await memory.add(content="likes coffee", user_id="ann")
    assert len(service.memories) == 1


async def test_repeat_does_not_outlast_the_deadline(memory: AsyncMemory, service: Mem0Service) -> None:
    service.faults = [(429, {}, {"retry-after": "60"})]
    with pytest.raises(RateLimitedError) as caught:
        await memory.list("ann", timeout=2)
    assert caught.value.retry_after == 60


async def test_deadline_reaches_the_request(memory: AsyncMemory, service: Mem0Service) -> None:
    await memory.add(content="likes tea", user_id="ann")
    service.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await memory.search("tea", "ann", timeout=0.3)
    service.gate.set()
    assert len(await memory.search("tea", "ann")) == 1


@pytest.mark.parametrize("user_id", ["a n", "a\u00a0n", "*", "a*"])
async def test_user_whom_mem0_would_misread_is_refused_on_every_verb(
    memory: AsyncMemory, service: Mem0Service, user_id: str
) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    seen = len(service.requests)
    for attempt in (
        lambda: memory.add(content="tea", user_id=user_id),
        lambda: memory.add_many([{"content": "tea"}], user_id=user_id),
        lambda: memory.get(record.id, user_id=user_id),
        lambda: memory.update(record.id, content="x", user_id=user_id),
        lambda: memory.delete(record.id, user_id=user_id),
        lambda: memory.delete_all(user_id),
        lambda: memory.list(user_id),
        lambda: memory.search("tea", user_id),
        lambda: memory.context("tea", user_id),
        lambda: memory.wait_for_ingest([record.id], user_id),
        lambda: memory.export(user_id),
    ):
        with pytest.raises(InvalidRequestError, match="user_id"):
            await attempt()
    assert len(service.requests) == seen


async def test_text_is_stored_verbatim_and_no_other_filter_than_equality_is_sent(
    memory: AsyncMemory, service: Mem0Service
) -> None:
    await memory.add(content="likes tea", user_id="ann", scope="home/kitchen", tags=["drink"])
    await memory.search("tea", "ann", scope="home/kitchen", tags=["drink"])
    await memory.list("ann", scope="home/*", tag="drink", include_expired=True)
    bodies = [body for (_, path), body in zip(service.requests, service.bodies, strict=True) if "v3" in path]
    assert [body["infer"] for body in bodies if "messages" in body] == [False]
    searched = next(body for body in bodies if "query" in body)
    assert searched["filters"] == {"AND": [{"user_id": "ann"}, {"metadata": {"omp_scope": "home/kitchen"}}]}
    assert (searched["threshold"], searched["show_expired"]) == (0.0, True)
    assert bodies[-1]["filters"] == {"user_id": "ann"}


async def test_ids_of_agent_run_and_app_go_through(memory: AsyncMemory, service: Mem0Service) -> None:
    own = {"agent_id": "scout", "run_id": "r-7", "app_id": "notes", "colour": "green"}
    extensions: dict[str, Any] = {"x-mem0": own}
    record = await memory.add(content="likes tea", user_id="ann", **extensions)
    [kept] = service.memories.values()
    assert (kept["agent_id"], kept["session_id"], kept["app_id"]) == ("scout", "r-7", "notes")
    got = await memory.get(record.id)
    assert (got.model_extra or {})["x-mem0"] == own
    changed = await memory.update(record.id, content="likes coffee")
    assert (changed.model_extra or {})["x-mem0"] == own


async def test_memory_of_others_is_read_as_it_stands(memory: AsyncMemory, service: Mem0Service) -> None:
    import mem0

    client = mem0.MemoryClient(api_key=KEY, host=service.url)
    reply = client.add("likes oolong", user_id="ann", infer=False, metadata={"mood": "calm"}, agent_id="scout")
    client.client.close()
    id_ = reply["results"][0]["id"]
    got = await memory.get(id_, user_id="ann")
    assert (got.content, got.scope, got.tags, got.version) == ("likes oolong", None, None, 1)
    assert (got.model_extra or {})["x-mem0"] == {"agent_id": "scout", "metadata": {"mood": "calm"}}
    assert [record.id for record in (await memory.list("ann")).items] == [id_]
    changed = await memory.update(id_, tags=["drink"])
    assert (changed.version, changed.tags) == (2, ["drink"])
    assert service.memories[id_]["metadata"]["mood"] == "calm"
    with pytest.raises(NotFoundError):
        await memory.get(id_, user_id="bob")


async def test_list_reads_every_page_of_the_service(memory: AsyncMemory, service: Mem0Service) -> None:
    await memory.add_many([{"content": f"fact {n}"} for n in range(450)], user_id="ann")
    before = len(service.requests)
    page = await memory.list("ann", limit=500)
    assert {record.content for record in page.items} == {f"fact {n}" for n in range(450)}
    assert len(service.requests) - before == 3


async def test_search_goes_on_until_the_limit_is_full(memory: AsyncMemory, service: Mem0Service) -> None:
    await memory.add_many([{"content": "green tea", "tags": ["other"]} for _ in range(120)], user_id="ann")
    wanted: list[MemoryItem] = [{"content": f"tea among words {n}", "tags": ["wanted"]} for n in range(5)]
    await memory.add_many(wanted, user_id="ann")
    results = await memory.search("green tea", "ann", tags=["wanted"], limit=4)
    assert [result.memory.tags for result in results] == [["wanted"]] * 4
    asked = [body["top_k"] for body in service.bodies if body and "query" in body]
    assert asked == sorted(asked)
    assert asked[-1] > 120


async def test_search_is_never_short_where_the_service_stops(memory: AsyncMemory, service: Mem0Service) -> None:
    for number in range(1_000):
        service._store("green tea", {"user_id": "ann", "metadata": {"n": number}})
    await memory.add(content="hidden behind a thousand", user_id="ann", tags=["wanted"])
    [result] = await memory.search("green tea", "ann", tags=["wanted"])
    assert (result.memory.content, result.score) == ("hidden behind a thousand", 0.0)


async def test_batch_that_fails_is_taken_back(memory: AsyncMemory, service: Mem0Service) -> None:
    await memory.add(content="was there", user_id="ann", key="k")
    before = {id_: dict(kept) for id_, kept in service.memories.items()}
    service.unpaid = "three"
    items: list[MemoryItem] = [{"content": "one"}, {"content": "now here", "key": "k"}, {"content": "three"}]
    with pytest.raises(ProviderError) as caught:
        await memory.add_many(items, user_id="ann")
    assert caught.value.details is not None
    assert "status" in caught.value.details or "left" in caught.value.details
    assert len(service.memories) == len(before)
    assert (await memory.list("ann")).items[0].content == "was there"


async def test_refused_options_are_named(service: Mem0Service) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"mode": "cloud"}, "mode"),
        ({"mode": "hosted", "config": {}}, "config"),
        ({"infer": "yes"}, "infer"),
        ({"workers": 0}, "workers"),
        ({"client": object()}, "client"),
        ({"colour": 1}, "colour"),
    ]
    for options, word in bad:
        with pytest.raises(InvalidRequestError, match=word):
            AsyncMemory("mem0", api_key=KEY, **options)
    with pytest.raises(InvalidRequestError, match="MEM0_API_KEY"):
        AsyncMemory("mem0")


class TestInfer:
    """`infer=True`: mem0 chooses and rewords what is stored, later."""

    @pytest.fixture
    async def memory(self, service: Mem0Service) -> AsyncIterator[AsyncMemory]:
        async with connect(service, infer=True) as memory:
            yield memory

    async def test_record_is_queued_until_the_event_is_done(self, memory: AsyncMemory, service: Mem0Service) -> None:
        record = await memory.add(content="I do like tea", user_id="ann", tags=["drink"])
        assert (record.status, record.content) == ("queued", "I do like tea")
        assert (await memory.list("ann")).items == []
        await memory.wait_for_ingest([record.id], "ann")
        [stored] = (await memory.list("ann")).items
        assert (stored.content, stored.tags) == ("User likes tea", ["drink"])
        assert (stored.model_extra or {})["x-mem0"]["content_rewritten"] is True
        assert (await memory.get(record.id, user_id="ann")).id == stored.id
        with pytest.raises(NotFoundError):
            await memory.wait_for_ingest([record.id], "bob")
        assert (await memory.capabilities()).features.async_ingestion is True

    async def test_event_that_is_never_done_times_out(self, memory: AsyncMemory, service: Mem0Service) -> None:
        service.looks = 1_000
        record = await memory.add(content="I do like tea", user_id="ann")
        with pytest.raises(IngestionTimeoutError):
            await memory.wait_for_ingest([record.id], "ann", timeout=0.3)

    async def test_event_that_failed_is_an_error(self, memory: AsyncMemory, service: Mem0Service) -> None:
        service.outcome = "FAILED"
        record = await memory.add(content="I do like tea", user_id="ann")
        with pytest.raises(ProviderError, match="could not take in"):
            await memory.wait_for_ingest([record.id], "ann")

    async def test_text_without_anything_to_remember_is_said_to_be_lost(
        self, memory: AsyncMemory, service: Mem0Service
    ) -> None:
        service.extracted = []
        record = await memory.add(content="hm", user_id="ann")
        with pytest.raises(NotFoundError, match="nothing to remember"):
            await memory.wait_for_ingest([record.id], "ann")

    async def test_promise_that_cannot_be_kept_is_refused(self, memory: AsyncMemory) -> None:
        with pytest.raises(UnsupportedCapabilityError, match="key"):
            await memory.add(content="tea", user_id="ann", key="k")
        with pytest.raises(UnsupportedCapabilityError, match="add_many"):
            await memory.add_many([{"content": "tea"}, {"content": "coffee"}], user_id="ann")
