"""The supermemory provider beyond the kit: errors, repeats, what is taken in later, what others wrote."""

from __future__ import annotations

import json
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
from tests.vendor.supermemory import KEY, NEEDED, SupermemoryService

pytest.importorskip("supermemory", reason=NEEDED)


@pytest.fixture
def service() -> Iterator[SupermemoryService]:
    service = SupermemoryService()
    yield service
    service.close()


def connect(service: SupermemoryService, **options: Any) -> AsyncMemory:
    return AsyncMemory("supermemory", **{"api_key": KEY, "base_url": service.url, **options})


@pytest.fixture
async def memory(service: SupermemoryService) -> AsyncIterator[AsyncMemory]:
    async with connect(service) as memory:
        await memory.health()
        yield memory
    assert service.broken == []


ERRORS = [
    (400, InvalidRequestError),
    (401, UnauthorizedError),
    (402, ProviderError),
    (403, ScopeDeniedError),
    (404, NotFoundError),
    (409, ProviderError),
    (422, InvalidRequestError),
    (429, RateLimitedError),
    (500, ProviderError),
    (503, ProviderUnavailableError),
]


@pytest.mark.parametrize(("status", "kind"), ERRORS)
async def test_status_of_a_reply_becomes_the_error_that_fits(
    memory: AsyncMemory, service: SupermemoryService, status: int, kind: type[OMPError]
) -> None:
    fault = (status, {"error": f"pineapple {KEY}", "details": KEY}, {"retry-after": "70"})
    service.faults = [fault] * 5
    with pytest.raises(OMPError) as caught:
        await memory.add(content="secret pineapple", user_id="ann-o-nym", timeout=20)
    error = caught.value
    assert type(error) is kind
    assert error.provider == "supermemory"
    assert error.details == {"status": status}
    assert error.retry_after == (70 if status in (429, 503) else None)
    told = f"{error!r} {error.__cause__!r} {error.__context__!r} {vars(error)}"
    for secret in (KEY, "pineapple", "ann-o-nym"):
        assert secret not in told
    assert service.documents == {}


async def test_reply_that_is_no_json_is_an_error_of_the_provider(
    memory: AsyncMemory, service: SupermemoryService
) -> None:
    service.faults = [(200, b"<html>", {})]
    with pytest.raises(ProviderError, match="no JSON"):
        await memory.add(content="likes tea", user_id="ann")
    service.faults = [(200, {"unexpected": True}, {})]
    with pytest.raises(ProviderError, match="another form"):
        await memory.list("ann")


async def test_wrong_key_is_refused_and_not_told(service: SupermemoryService) -> None:
    async with connect(service, api_key="sm-wrong-key", timeout=10) as memory:
        with pytest.raises(UnauthorizedError) as caught:
            await memory.list("ann")
    assert "sm-wrong" not in f"{caught.value!r} {caught.value.__cause__!r} {memory!r}"


async def test_service_that_is_not_there_is_unavailable(service: SupermemoryService) -> None:
    service.close()
    memory = connect(service, timeout=5)
    with pytest.raises(OMPError) as caught:
        await memory.list("ann")
    assert isinstance(caught.value, ProviderUnavailableError)
    await memory.close()


async def test_nothing_of_a_request_is_logged(
    memory: AsyncMemory, service: SupermemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    await memory.add(content="secret pineapple", user_id="ann-o-nym")
    await memory.search("pineapple", "ann-o-nym")
    assert "ann-o-nym" not in caplog.text
    assert "pineapple" not in caplog.text


async def test_requests_are_repeated_a_limited_number_of_times(
    memory: AsyncMemory, service: SupermemoryService
) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    for work in (
        lambda: memory.get(record.id, user_id="ann"),
        lambda: memory.update(record.id, content="likes coffee", user_id="ann"),
        lambda: memory.search("tea", "ann"),
        lambda: memory.delete(record.id, user_id="ann"),
    ):
        service.faults = [(503, {}, {}), (500, {}, {})]
        await work()
        assert service.faults == []
    service.faults = [(503, {}, {})] * 4
    with pytest.raises(ProviderUnavailableError):
        await memory.list("ann")
    assert len(service.faults) == 1


async def test_add_whose_reply_is_lost_is_not_sent_twice(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.after = [(503, {}, {})]
    record = await memory.add(content="likes tea", user_id="ann")
    assert [method for method, path in service.requests if path.endswith("/document")] == ["POST"]
    [kept] = service.documents.values()
    assert (kept.id, kept.sent) == (record.id, "likes tea")


async def test_ready_client_repeats_nothing_by_itself_and_stays_open(service: SupermemoryService) -> None:
    import supermemory

    with supermemory.Supermemory(api_key=KEY, base_url=service.url) as client:
        async with AsyncMemory("supermemory", client=client) as memory:
            service.after = [(503, {}, {})]
            await memory.add(content="likes tea", user_id="ann")
        assert [method for method, path in service.requests if path.endswith("/document")] == ["POST"]
        assert client.organization.get().namespace_count == 1


async def test_add_that_did_not_arrive_is_sent_again(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.faults = [(429, {}, {"retry-after": "0"})]
    await memory.add(content="likes tea", user_id="ann")
    assert len(service.documents) == 1


async def test_used_up_quota_is_not_asked_again(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.faults = [(402, {"error": "credits"}, {})] * 2
    with pytest.raises(ProviderError, match="quota"):
        await memory.list("ann")
    assert len(service.faults) == 1


async def test_repeat_does_not_outlast_the_deadline(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.faults = [(429, {}, {"retry-after": "60"})]
    with pytest.raises(RateLimitedError) as caught:
        await memory.list("ann", timeout=2)
    assert caught.value.retry_after == 60


async def test_deadline_reaches_the_request(memory: AsyncMemory, service: SupermemoryService) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    await memory.wait_for_ingest([record.id], "ann")
    service.gate.clear()
    with pytest.raises(DeadlineExceededError):
        await memory.search("tea", "ann", timeout=0.3)
    service.gate.set()
    assert len(await memory.search("tea", "ann")) == 1


async def test_request_is_faithful_and_says_what_is_wanted(memory: AsyncMemory, service: SupermemoryService) -> None:
    record = await memory.add(content="likes tea", user_id="ann@example.com/x", scope="home/kitchen", tags=["drink"])
    body = service.bodies[-1]
    assert service.requests[-1] == ("POST", "/ns/ann:40example:2ecom:2fx/document")
    assert (body["content"], body["id"], body["taskType"]) == ("likes tea", record.id, "superrag")
    assert "dreaming" not in body
    await memory.search("tea", "ann@example.com/x", scope="home/kitchen", tags=["drink"])
    body = service.bodies[-1]
    assert body["filter"] == {"field": "omp_scope", "operator": "eq", "value": "home/kitchen"}
    assert (body["threshold"], body["include"]) == (0.0, {"documents": True})
    assert body["limit"] == 40


@pytest.mark.parametrize("user_id", ["a b", "ann@example.com", "\u00e4:h\u4e16", "x" * 150, "../ns", "Ann", "ann"])
async def test_any_user_has_a_namespace_of_its_own(
    memory: AsyncMemory, service: SupermemoryService, user_id: str
) -> None:
    others = {"a b", "ann@example.com", "x" * 151, "x" * 149, "Ann", "ann", "a-b", "a_b"} - {user_id}
    for other in others:
        await memory.add(content="of another", user_id=other)
    record = await memory.add(content="mine", user_id=user_id)
    assert [each.content for each in (await memory.list(user_id)).items] == ["mine"]
    assert (await memory.get(record.id)).user_id == user_id
    with pytest.raises(NotFoundError):
        await memory.get(record.id, user_id=min(others))
    page = await memory.export()
    assert len([line for line in page.lines if '"mine"' in line]) == 1
    assert len({each.namespace for each in service.documents.values()}) == len(others) + 1


class TestTakingIn:
    """A text that was sent is queued, then done, or failed."""

    async def test_status_follows_the_service(self, memory: AsyncMemory, service: SupermemoryService) -> None:
        service.looks = 2
        record = await memory.add(content="likes tea", user_id="ann")
        assert record.status == "queued"
        seen = [(await memory.get(record.id, user_id="ann")).status for _ in range(3)]
        assert seen == ["queued", "indexing", "done"]
        assert (await memory.search("tea", "ann"))[0].memory.status == "done"

    async def test_queued_memory_can_be_read_and_changed_but_not_found(
        self, memory: AsyncMemory, service: SupermemoryService
    ) -> None:
        service.looks = 1_000
        record = await memory.add(content="likes tea", user_id="ann", key="k")
        assert await memory.search("tea", "ann") == []
        [listed] = (await memory.list("ann")).items
        assert (listed.content, listed.status) == ("likes tea", "queued")
        again = await memory.add(content="likes coffee", user_id="ann", key="k")
        assert (again.id, again.version) == (record.id, 2)
        assert (await memory.get(record.id, user_id="ann")).content == "likes coffee"
        await memory.delete(record.id, user_id="ann")
        assert service.documents == {}

    async def test_long_text_is_empty_until_it_is_published(
        self, memory: AsyncMemory, service: SupermemoryService
    ) -> None:
        text = "likes tea and scones " * 200
        record = await memory.add(content=text, user_id="ann")
        assert record.content == text
        [listed] = (await memory.list("ann")).items
        assert (listed.content, listed.status) == ("", "queued")
        await memory.update(record.id, tags=["drink"], user_id="ann")
        await memory.wait_for_ingest([record.id], "ann")
        got = await memory.get(record.id, user_id="ann")
        assert (got.content, got.tags, got.status) == (text, ["drink"], "done")
        assert [result.memory.content for result in await memory.search("scones", "ann")] == [text]

    async def test_wait_is_for_derived_memories_too(self, service: SupermemoryService) -> None:
        service.looks, service.dreams = 1, 3
        async with connect(service, task_type="memory", dreaming="instant") as memory:
            record = await memory.add(content="likes tea", user_id="ann")
            assert service.bodies[-1]["dreaming"] == "instant"
            await memory.get(record.id, user_id="ann")
            assert (await memory.get(record.id, user_id="ann")).status == "indexing"
            await memory.wait_for_ingest([record.id], "ann")
            assert [kept.dreams for kept in service.documents.values()] == [0]
            assert (await memory.get(record.id, user_id="ann")).status == "done"
        assert service.broken == []

    async def test_wait_gives_up_in_time(self, memory: AsyncMemory, service: SupermemoryService) -> None:
        service.looks = 1_000
        record = await memory.add(content="likes tea", user_id="ann")
        with pytest.raises(IngestionTimeoutError):
            await memory.wait_for_ingest([record.id], "ann", timeout=0.3)

    async def test_failure_is_told(self, memory: AsyncMemory, service: SupermemoryService) -> None:
        service.fails = True
        record = await memory.add(content="likes tea", user_id="ann")
        with pytest.raises(ProviderError, match="could not take in"):
            await memory.wait_for_ingest([record.id], "ann")
        got = await memory.get(record.id, user_id="ann")
        assert (got.content, got.status) == ("likes tea", "failed")
        assert await memory.search("tea", "ann") == []

    async def test_document_that_cannot_be_seen_yet_is_waited_for(
        self, memory: AsyncMemory, service: SupermemoryService
    ) -> None:
        service.unseen = 3
        record = await memory.add(content="likes tea", user_id="ann")
        assert (await memory.get(record.id, user_id="ann")).content == "likes tea"
        service.unseen = 3
        record = await memory.add(content="likes coffee", user_id="ann")
        await memory.wait_for_ingest([record.id], "ann")

    async def test_update_replaces_and_does_not_append(self, memory: AsyncMemory, service: SupermemoryService) -> None:
        record = await memory.add(content="likes tea", user_id="ann", key="k")
        await memory.wait_for_ingest([record.id], "ann")
        changed = await memory.update(record.id, content="likes coffee", user_id="ann")
        assert changed.status == "queued"
        await memory.add(content="likes cocoa", user_id="ann", key="k")
        await memory.wait_for_ingest([record.id], "ann")
        [kept] = service.documents.values()
        assert (kept.content, kept.how["taskType"]) == ("likes cocoa", "superrag")
        assert [result.memory.content for result in await memory.search("likes", "ann")] == ["likes cocoa"]

    async def test_change_of_metadata_takes_nothing_in_again(
        self, memory: AsyncMemory, service: SupermemoryService
    ) -> None:
        record = await memory.add(content="likes tea", user_id="ann")
        await memory.wait_for_ingest([record.id], "ann")
        changed = await memory.update(record.id, tags=["drink"], user_id="ann")
        assert changed.status == "done"
        assert "content" not in service.bodies[-1]


@pytest.mark.parametrize(
    "text", ["https://example.com/a", " http://a.example \n", "example.com", "ftp://x/y http://z/"]
)
async def test_text_that_is_an_address_is_kept_and_not_fetched(
    memory: AsyncMemory, service: SupermemoryService, text: str
) -> None:
    record = await memory.add(content=text, user_id="ann")
    assert service.fetched == []
    assert service.bodies[-1]["content"] == f"Text: {text}"
    await memory.wait_for_ingest([record.id], "ann")
    assert (await memory.get(record.id, user_id="ann")).content == text
    assert [result.memory.content for result in await memory.search(text, "ann")] == [text]
    changed = await memory.update(record.id, content="https://example.com/b", user_id="ann")
    assert changed.content == "https://example.com/b"
    assert service.fetched == []


async def test_long_address_is_read_as_it_was_given(memory: AsyncMemory, service: SupermemoryService) -> None:
    text = "https://example.com/" + "a" * 3_000
    record = await memory.add(content=text, user_id="ann")
    await memory.wait_for_ingest([record.id], "ann")
    assert (await memory.get(record.id, user_id="ann")).content == text
    assert service.fetched == []


async def test_erasure_that_is_refused_in_a_success_is_seen(memory: AsyncMemory, service: SupermemoryService) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    service.undeletable = 3
    with pytest.raises(ProviderError, match="could not erase"):
        await memory.delete(record.id, user_id="ann")
    assert (await memory.get(record.id, user_id="ann")).content == "likes tea"
    service.undeletable = 1
    await memory.delete(record.id, user_id="ann")
    assert service.documents == {}


async def test_memory_whose_id_cannot_stand_in_an_address_is_kept_apart(
    memory: AsyncMemory, service: SupermemoryService
) -> None:
    header = (await memory.export("nobody")).lines
    fields = {"user_id": "ann", "created_at": "2026-01-01T00:00:00Z"}
    ids = ["../x", "a?b", "a/b", "z" * 255, "a b", "\u00e4"]
    lines = [
        json.dumps({"memory": {"id": id_, "content": f"text of {number}", **fields}}) for number, id_ in enumerate(ids)
    ]
    report = await memory.import_([*header, *lines])
    assert report.imported == len(ids)
    for number, id_ in enumerate(ids):
        got = await memory.get(id_, user_id="ann")
        assert (got.id, got.content) == (id_, f"text of {number}")
        assert (await memory.get(id_)).id == id_
    assert (await memory.import_([*header, *lines])).skipped == len(ids)
    assert len(service.documents) == len(ids)


async def test_ids_of_the_service_may_differ_from_ours(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.own_ids = True
    old = await memory.add(content="likes tea", user_id="ann")
    new = await memory.add(content="likes coffee", user_id="ann", supersedes=[old.id])
    await memory.wait_for_ingest([old.id, new.id], "ann")
    changed = await memory.update(new.id, content="likes strong coffee")
    assert changed.id == new.id
    await memory.wait_for_ingest([new.id], "ann")
    [found] = await memory.search("likes", "ann")
    assert (found.memory.id, found.memory.content) == (new.id, "likes strong coffee")
    await memory.delete(new.id)
    assert [record.id for record in (await memory.list("ann")).items] == [old.id]


async def test_document_of_others_is_read_as_it_stands(memory: AsyncMemory, service: SupermemoryService) -> None:
    import supermemory

    with supermemory.Supermemory(api_key=KEY, base_url=service.url) as client:
        id_ = client.add("ann", content="likes oolong", id="of-others", metadata={"mood": "calm"}).id
        await memory.wait_for_ingest([id_], "ann")
        got = await memory.get(id_, user_id="ann")
        assert (got.content, got.scope, got.version) == ("likes oolong", None, 1)
        assert (got.model_extra or {})["x-supermemory"] == {"metadata": {"mood": "calm"}}
        changed = await memory.update(id_, tags=["drink"], user_id="ann")
        assert (changed.version, changed.tags) == (2, ["drink"])
        assert next(iter(service.documents.values())).metadata["mood"] == "calm"
        client.add("ann", content="and jasmine", id="of-others")
        await memory.wait_for_ingest([id_], "ann")
        got = await memory.get(id_, user_id="ann")
        assert got.content == "likes oolong\nand jasmine"
        with pytest.raises(NotFoundError):
            await memory.get(id_, user_id="bob")


async def test_text_that_others_changed_is_shown_and_marked(memory: AsyncMemory, service: SupermemoryService) -> None:
    import supermemory

    record = await memory.add(content="likes tea", user_id="ann")
    await memory.wait_for_ingest([record.id], "ann")
    with supermemory.Supermemory(api_key=KEY, base_url=service.url) as client:
        client.documents.update("ann", record.id, content="hates tea")
    await memory.wait_for_ingest([record.id], "ann")
    got = await memory.get(record.id, user_id="ann")
    assert (got.content, (got.model_extra or {})["x-supermemory"]) == ("hates tea", {"content_rewritten": True})
    [found] = await memory.search("tea", "ann")
    assert found.memory == got


async def test_document_that_names_another_user_belongs_to_no_user(
    memory: AsyncMemory, service: SupermemoryService
) -> None:
    record = await memory.add(content="likes tea", user_id="ann")
    [kept] = service.documents.values()
    kept.namespace = "bob"
    assert (await memory.list("bob")).items == []
    with pytest.raises(NotFoundError):
        await memory.get(record.id, user_id="bob")


async def test_list_reads_every_page_of_the_service(memory: AsyncMemory, service: SupermemoryService) -> None:
    for number in range(250):
        service._add("ann", {"content": f"fact {number}"})
    before = len(service.requests)
    page = await memory.list("ann", limit=500)
    assert len(service.requests) - before == 3
    assert len({record.id for record in page.items}) == 250


async def test_search_is_never_short_where_the_service_stops(memory: AsyncMemory, service: SupermemoryService) -> None:
    service.looks = 0
    await memory.add(content="tea " * 12_000, user_id="ann")  # more passages than a search returns
    await memory.add(content="hidden behind passages", user_id="ann", tags=["wanted"])
    [result] = await memory.search("tea", "ann", tags=["wanted"])
    assert (result.memory.content, result.score) == ("hidden behind passages", 0.0)
    results = await memory.search("tea", "ann", limit=5)
    assert [result.memory.content.strip()[:6] for result in results] == ["tea te", "hidden"]


async def test_batch_that_fails_is_taken_back(memory: AsyncMemory, service: SupermemoryService) -> None:
    await memory.add(content="was there", user_id="ann", key="k")
    service.unpaid = "t39"
    rest: list[MemoryItem] = [{"content": f"t{n}"} for n in range(40)]
    items: list[MemoryItem] = [{"content": "one"}, {"content": "now here", "key": "k"}, *rest]
    with pytest.raises(ProviderError):
        await memory.add_many(items, user_id="ann")
    [kept] = service.documents.values()
    assert kept.sent == "was there"


async def test_capabilities_say_what_is_so(memory: AsyncMemory) -> None:
    features = (await memory.capabilities()).features
    assert (features.async_ingestion, features.status_field, features.supports_audit) == (True, True, False)
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


async def test_refused_options_are_named() -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"task_type": "fast"}, "task_type"),
        ({"dreaming": "never", "task_type": "memory"}, "dreaming"),
        ({"dreaming": "instant"}, "task_type"),
        ({"workers": 0}, "workers"),
        ({"client": object()}, "client"),
        ({"colour": 1}, "colour"),
        ({"infer": True}, "infer"),
    ]
    for options, word in bad:
        with pytest.raises(InvalidRequestError, match=word):
            AsyncMemory("supermemory", api_key=KEY, **options)
    with pytest.raises(InvalidRequestError, match="SUPERMEMORY_API_KEY"):
        AsyncMemory("supermemory")
