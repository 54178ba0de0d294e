"""The Letta provider beyond the kit: errors, repeats, archives, interrupted changes, and what others wrote there."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from openmem import (
    AsyncMemory,
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    UnsupportedCapabilityError,
)
from openmem._io.concurrency.primitives import async_gather
from openmem._io.vendors.letta.archives import name_of
from openmem._io.vendors.letta.store import LettaStore
from openmem.errors import ProviderUnavailableError, RateLimitedError, ScopeDeniedError, UnauthorizedError
from tests.vendor.letta import KEY, NEEDED, LettaService

pytest.importorskip("letta_client", reason=NEEDED)

CREATE = ("POST", r"/passages$")
DELETE = ("DELETE", r"/passages/")
SEARCH = ("POST", r"/v1/passages/search$")
NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def service() -> Iterator[LettaService]:
    service = LettaService()
    yield service
    service.close()


def connect(service: LettaService, **options: Any) -> AsyncMemory:
    return AsyncMemory("letta", **{"api_key": KEY, "base_url": service.url, **options})


@pytest.fixture
async def memory(service: LettaService) -> AsyncIterator[AsyncMemory]:
    async with connect(service) as memory:
        yield memory
    assert service.broken == []


ERRORS = [
    (400, InvalidRequestError),
    (401, UnauthorizedError),
    (402, ProviderError),
    (403, ScopeDeniedError),
    (409, ProviderError),
    (413, ProviderError),
    (422, InvalidRequestError),
    (429, RateLimitedError),
    (500, ProviderError),
    (503, ProviderUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), ERRORS)
async def test_status_of_a_reply_becomes_the_error_that_fits(
    memory: AsyncMemory, service: LettaService, status: int, kind: type[OMPError]
) -> None:
    service.fail(*CREATE, (status, {"detail": f"INSERT pineapple {KEY}"}, {"retry-after": "7"}))
    with pytest.raises(OMPError) as caught:
        await memory.add(content="secret pineapple", user_id="ann")
    error = caught.value
    assert type(error) is kind
    assert error.provider == "letta"
    assert error.details == {"status": status}
    assert error.retry_after == (7 if status in (429, 503) else None)
    told = f"{error!r} {error.__cause__!r} {error.__context__!r} {vars(error)}"
    assert KEY not in told
    assert "pineapple" not in told
    assert service.passages == {}


@pytest.mark.parametrize("reply", [b"<html>", b"", b"[]", b'{"id": 1}', b"null"])
async def test_reply_of_another_form_is_an_error_of_the_provider(
    memory: AsyncMemory, service: LettaService, reply: bytes
) -> None:
    service.fail(*CREATE, (200, reply, {}))
    with pytest.raises(ProviderError, match=r"no JSON|another form"):
        await memory.add(content="likes tea", user_id="ann")


async def test_wrong_key_is_refused_and_not_told(service: LettaService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with connect(service, api_key="letta-wrong-key") as memory:
        with pytest.raises(UnauthorizedError) as caught:
            await memory.list("ann-of-the-hill")
        assert "letta-wrong" not in f"{caught.value!r} {caught.value.__cause__!r} {memory!r}"
    assert "ann-of-the-hill" not in caplog.text


async def test_server_that_is_not_there_is_unavailable(service: LettaService) -> None:
    service.close()
    memory = connect(service, timeout=5)
    with pytest.raises(ProviderUnavailableError):
        await memory.list("ann")
    await memory.close()


async def test_reads_are_repeated_and_writes_are_not(memory: AsyncMemory, service: LettaService) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    service.fail(*SEARCH, (503, {}, {}), (500, {}, {}))
    assert (await memory.get(record.id)).content == "likes tea"
    assert service.faults == []
    service.fail(*SEARCH, *[(503, {}, {})] * 3)
    with pytest.raises(ProviderUnavailableError):
        await memory.search("tea", "ann")
    assert service.faults == []
    for reply in (408, 409, 429, 500, 503):
        service.fail(*CREATE, (reply, {}, {}))
        with pytest.raises(OMPError):
            await memory.add(content="likes coffee", user_id="ann")
    assert len(service.passages) == 1


async def test_repeat_does_not_outlast_the_deadline(memory: AsyncMemory, service: LettaService) -> None:
    service.fail("GET", "archives", (429, {}, {"retry-after": "60"}))
    with pytest.raises(RateLimitedError) as caught:
        await memory.list("ann", timeout=2)
    assert caught.value.retry_after == 60


async def test_deadline_reaches_the_request(memory: AsyncMemory, service: LettaService) -> None:
    await memory.add(content="likes tea", user_id="ann")
    service.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await memory.search("tea", "ann", timeout=0.3)
    service.gate.set()
    assert len(await memory.search("tea", "ann")) == 1


async def test_user_has_one_archive_that_a_new_process_finds_again(service: LettaService) -> None:
    users = ["ann", "Ann", "a nn", "ann/%2F", "änn"]
    for round_ in range(2):
        async with connect(service) as memory:
            for user_id in users:
                await memory.add(content=f"fact {round_}", user_id=user_id)
    assert len(service.archives) == len(users)
    async with connect(service) as memory:
        for user_id in users:
            assert [each.content for each in (await memory.list(user_id)).items] == ["fact 1", "fact 0"]
        lines = (await memory.export()).lines
        told = [json.loads(line).get("memory") for line in lines]
        assert {each["user_id"] for each in told if each} == set(users)


async def test_two_processes_that_meet_lose_nothing(service: LettaService) -> None:
    async with connect(service) as one, connect(service) as two:
        await async_gather(
            *(partial(each.add, content=f"fact {n}", user_id="ann") for n, each in enumerate([one, two, one, two]))
        )
        for each in (one, two):
            assert len((await each.list("ann")).items) == 4
            assert len(await each.search("fact", "ann")) == 4


async def test_archive_that_was_deleted_is_made_again(memory: AsyncMemory, service: LettaService) -> None:
    await memory.add(content="one", user_id="ann")
    service.archives.clear()
    service.passages.clear()
    record = await memory.add(content="two", user_id="ann")
    assert [each.id for each in (await memory.list("ann")).items] == [record.id]


async def test_archives_of_others_are_left_alone(memory: AsyncMemory, service: LettaService) -> None:
    other = service._make_archive({"name": "ann"})
    passage = service.store(other["id"], "likes tea", NOW)
    assert (await memory.list("ann")).items == []
    assert await memory.search("tea", "ann") == []
    with pytest.raises(NotFoundError):
        await memory.get(f"{int(NOW.timestamp() * 1e6)}.{passage['id']}")


async def test_get_is_one_look_at_one_moment(memory: AsyncMemory, service: LettaService) -> None:
    records = await memory.add_many([{"content": f"fact {n}"} for n in range(150)], user_id="ann")
    assert len({passage["created_at"] for passage in service.passages.values()}) == 150
    service.requests.clear()
    assert (await memory.get(records[70].id, user_id="ann")).content == "fact 70"
    assert len(service.requests) == 2
    changed = await memory.update(records[70].id, content="changed")
    assert (await memory.get(records[70].id)).content == "changed"
    assert changed.id == records[70].id
    assert len(service.passages) == 150


async def test_memory_under_the_id_of_another_store_is_found_at_once(
    memory: AsyncMemory, service: LettaService
) -> None:
    await memory.add_many([{"content": f"fact {n}"} for n in range(120)], user_id="ann")
    moment = "2024-05-01T10:00:00.000001Z"
    line = json.dumps({"memory": {"id": "mem_7", "content": "likes tea", "user_id": "ann", "created_at": moment}})
    assert (await memory.import_([line])).imported == 1
    service.requests.clear()
    got = await memory.get("mem_7", user_id="ann")
    assert (got.id, got.created_at) == ("mem_7", datetime(2024, 5, 1, 10, 0, 0, 1, tzinfo=UTC))
    assert len(service.requests) == 2
    assert (await memory.import_([line])).skipped == 1


async def test_change_that_is_interrupted_is_seen_once_and_finished_by_the_next(
    service: LettaService,
) -> None:
    async with connect(service) as memory:
        record = await memory.add(content="old words", user_id="ann")
        other = await memory.add(content="other", user_id="ann")
        service.fail(*DELETE, *[(503, {}, {})] * 3)
        await memory.update(record.id, content="new words")
    assert sorted(each["text"] for each in service.passages.values()) == ["new words", "old words", "other"]
    async with connect(service) as memory:
        assert (await memory.get(record.id)).content == "new words"
        assert {each.content for each in (await memory.list("ann")).items} == {"new words", "other"}
        found = await memory.search("old words", "ann")
        assert sorted(each.memory.content for each in found) == ["new words", "other"]
        await memory.update(other.id, content="another")
        assert sorted(each["text"] for each in service.passages.values()) == ["another", "new words"]
    assert service.broken == []


async def test_stale_passage_alone_is_no_search_result(memory: AsyncMemory, service: LettaService) -> None:
    record = await memory.add(content="green tea", user_id="ann")
    await memory.add_many([{"content": f"green tea {n}"} for n in range(100)], user_id="ann")
    service.fail(*DELETE, *[(503, {}, {})] * 3)
    await memory.update(record.id, content="something else")
    found = await memory.search("green tea", "ann", limit=5)
    assert all(each.memory.id != record.id for each in found)
    assert len(found) == 5


async def test_deleting_erases_what_an_interrupted_change_left(memory: AsyncMemory, service: LettaService) -> None:
    record = await memory.add(content="old words", user_id="ann")
    service.fail(*DELETE, *[(503, {}, {})] * 3)
    await memory.update(record.id, content="new words")
    await memory.delete(record.id, user_id="ann")
    assert service.passages == {}


async def test_change_that_fails_leaves_the_memory(memory: AsyncMemory, service: LettaService) -> None:
    record = await memory.add(content="old words", user_id="ann")
    service.fail(*CREATE, (402, {}, {}))
    with pytest.raises(ProviderError):
        await memory.update(record.id, content="new words")
    assert (await memory.get(record.id)).content == "old words"


async def test_passage_of_others_is_read_as_it_stands(memory: AsyncMemory, service: LettaService) -> None:
    await memory.add(content="mine", user_id="ann")
    [archive_id] = service.archives
    passage = service.store(archive_id, "likes oolong", NOW, tags=["drink"], metadata={"mood": {"a": [1, None]}})
    [got] = (await memory.list("ann", tag="drink")).items
    assert (got.content, got.created_at, got.tags) == ("likes oolong", NOW, ["drink"])
    assert (got.model_extra or {})["x-letta"] == {"metadata": {"mood": {"a": [1, None]}}}
    assert got.id.endswith(passage["id"])
    changed = await memory.update(got.id, content="likes sencha")
    assert (changed.id, changed.version, changed.tags) == (got.id, 2, ["drink"])
    assert (await memory.get(got.id)).content == "likes sencha"
    with pytest.raises(NotFoundError):
        await memory.get(got.id, user_id="bob")


async def test_tags_are_judged_here_beyond_the_reach_of_one_search(memory: AsyncMemory, service: LettaService) -> None:
    await memory.add(content="hidden behind many", user_id="ann", tags=["wanted"])
    [archive_id] = service.archives
    for number in range(150):
        service.store(archive_id, "green tea", NOW + timedelta(microseconds=number))
    [result] = await memory.search("green tea", "ann", tags=["wanted"])
    assert (result.memory.content, result.score) == ("hidden behind many", 0.0)
    assert all("tags" not in body for body in service.bodies if body and "limit" in body)


async def test_vectors_are_dropped(memory: AsyncMemory) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    for each in (record, await memory.get(record.id), (await memory.list("ann")).items[0]):
        assert len(each.model_dump_json()) < 1_000


def test_every_one_of_10000_passages_of_one_moment_is_reached(service: LettaService) -> None:
    letta = pytest.importorskip("letta_client", reason=NEEDED)
    service.dimensions = 4
    archive = service._make_archive({"name": name_of("ann")})
    for number in range(10_000):
        service.store(archive["id"], f"fact {number}", NOW)
    with letta.Letta(api_key=KEY, base_url=service.url) as client:
        entries = LettaStore(client, "openai/any").entries("ann", {})
    assert {entry.record.content for entry in entries} == {f"fact {number}" for number in range(10_000)}
    assert len(entries) == 10_000
    assert (service.agents, [*service.archives], service.broken) == ({}, [archive["id"]], [])


async def test_many_passages_of_one_moment_without_an_agent_are_an_error(
    memory: AsyncMemory, service: LettaService
) -> None:
    await memory.add(content="mine", user_id="ann")
    [archive_id] = service.archives
    for number in range(101):
        service.store(archive_id, f"fact {number}", NOW)
    service.fail("POST", r"/v1/agents/$", (403, {}, {}))
    with pytest.raises(ProviderError, match="one moment"):
        await memory.list("ann")


async def test_verb_that_letta_cannot_do_is_refused(memory: AsyncMemory) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    for attempt in (
        lambda: memory.search("tea", "ann", mode="vector"),
        lambda: memory.search("tea", "ann", mode="keyword"),
        lambda: memory.update(record.id, content="x", if_version=1),
        lambda: memory.history(record.id),
        lambda: memory.audit("ann"),
    ):
        with pytest.raises(UnsupportedCapabilityError):
            await attempt()
    features = (await memory.capabilities()).features.model_dump()
    assert "update" in features["emulated"]
    assert "search" in features["native"]
    assert features["scores"] == "rank"


async def test_refused_options_are_named(service: LettaService, monkeypatch: pytest.MonkeyPatch) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"embedding": ""}, "embedding"),
        ({"workers": 0}, "workers"),
        ({"client": object()}, "client"),
        ({"colour": 1}, "colour"),
        ({"url": "x"}, "url"),
    ]
    for options, word in bad:
        with pytest.raises(InvalidRequestError, match=word):
            AsyncMemory("letta", api_key=KEY, **options)
    with pytest.raises(InvalidRequestError, match="LETTA_API_KEY"):
        AsyncMemory("letta")
    monkeypatch.setitem(sys.modules, "letta_client", None)  # as if it were not there
    with pytest.raises(InvalidRequestError, match=r"pip install 'openmem-sdk\[letta\]'"):
        AsyncMemory("letta", api_key=KEY)


async def test_archive_is_made_with_the_model_that_is_asked_for(service: LettaService) -> None:
    async with connect(service, embedding="openai/text-embedding-3-large") as memory:
        await memory.add(content="likes tea", user_id="ann")
        assert (await memory.health()).detail["version"] == "0.16.8"
    [archive] = service.archives.values()
    assert archive["embedding_config"]["handle"] == "openai/text-embedding-3-large"
