"""Requests of the client to an OMP server, and its reaction to answers that no good server gives."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from openmem import AsyncMemory
from openmem.errors import (
    DeadlineExceededError,
    IdempotencyConflictError,
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
    UnsupportedCapabilityError,
    UnsupportedProviderError,
    VersionConflictError,
)
from openmem.providers import ProviderName
from tests.omp_stub import CAPABILITIES, FIRST_EDITION, RECORD, Answer, OmpStub, answer, problem

KEY = "omp_secret-4711"
NDJSON = b'{"format":"omp-export","version":1}\n{"memory":{"id":"m1","content":"a","user_id":"ann",'


@pytest.fixture
def stub() -> Iterator[OmpStub]:
    with OmpStub() as server:
        yield server


@pytest.fixture
async def memory(stub: OmpStub) -> Any:
    async with AsyncMemory(base_url=stub.url, api_key=KEY, app="tested", timeout=10) as memory:
        yield memory


async def failure(stub: OmpStub, **options: Any) -> OMPError:
    """Return the error of a `get`."""
    memory = AsyncMemory(base_url=stub.url, api_key=KEY, **{"timeout": 10, **options})
    try:
        with pytest.raises(OMPError) as caught:
            await memory.get("mem_1", user_id="ann")
    finally:
        await memory.close()
    assert KEY not in repr(caught.value)
    assert KEY.encode() not in pickle.dumps(caught.value)
    return caught.value


async def test_request_carries_key_app_user_and_deadline(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.append(answer({**RECORD, "id": "a/b ?ü", "user_id": "änn"}))
    await memory.get("a/b ?ü", user_id="änn", timeout=5)
    sent = stub.verbs[-1]
    assert (sent.method, sent.path) == ("GET", "/memories/a%2Fb%20%3F%C3%BC")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["x-omp-app"] == "tested"
    assert sent.headers["x-user-id"].encode("latin-1").decode() == "änn"
    assert 4 < float(sent.headers["x-omp-timeout"]) <= 5
    assert len(sent.headers["x-request-id"]) == 32


@pytest.mark.parametrize(("id", "path"), [("search", "%73earch"), ("..", "%2E."), ("batch", "%62atch"), ("b", "b")])
async def test_id_that_looks_like_a_route_stays_an_id(memory: AsyncMemory, stub: OmpStub, id: str, path: str) -> None:
    stub.answers.append(answer({**RECORD, "id": id}))
    await memory.get(id)
    assert stub.verbs[-1].path == f"/memories/{path}"


async def test_probe_carries_no_key(memory: AsyncMemory, stub: OmpStub) -> None:
    await memory.capabilities()
    probes = [asked for asked in stub.asked if asked.path == "/capabilities"]
    assert len(probes) == 2
    assert not [asked for asked in probes if "authorization" in asked.headers or "x-omp-app" in asked.headers]


async def test_key_follows_only_where_the_user_said_that_an_omp_server_is(stub: OmpStub) -> None:
    stub.capabilities = None
    stub.answers.append(problem(401, "unauthorized", "auth"))
    stub.answers.append(answer(CAPABILITIES))
    async with AsyncMemory("passthrough", base_url=stub.url, api_key=KEY):
        assert [asked.headers.get("authorization") for asked in stub.asked] == [None, f"Bearer {KEY}"]
    stub.asked.clear()
    stub.answers.append(problem(401, "unauthorized", "auth"))
    with pytest.raises(UnsupportedProviderError):
        async with AsyncMemory(ProviderName("acme"), base_url=stub.url, api_key=KEY):
            pass
    assert [asked.headers.get("authorization") for asked in stub.asked] == [None]


async def test_update_tells_what_stays_and_what_is_cleared(memory: AsyncMemory, stub: OmpStub) -> None:
    await memory.update("mem_1", scope=None, tags=["tea"], if_version=3)
    sent = stub.verbs[-1]
    assert (sent.method, sent.json, sent.headers["if-match"]) == ("PATCH", {"scope": None, "tags": ["tea"]}, '"3"')


async def test_add_is_sent_again_under_the_same_name_until_it_is_done(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.extend([Answer(drop=True), answer(None, 503), answer(RECORD, 201)])
    assert (await memory.add(content="prefers tea", user_id="ann")).id == "mem_1"
    assert len(stub.verbs) == 3
    assert len({(asked.headers["idempotency-key"], asked.body) for asked in stub.verbs}) == 1


@pytest.mark.parametrize("verb", ["update", "delete"])
async def test_write_that_may_have_happened_is_not_sent_again(memory: AsyncMemory, stub: OmpStub, verb: str) -> None:
    stub.answers.append(Answer(drop=True))
    fields: dict[str, Any] = {"content": "b"} if verb == "update" else {}
    with pytest.raises(ProviderUnavailableError):
        await getattr(memory, verb)("m1", **fields)
    assert len(stub.verbs) == 1


async def test_add_to_a_server_that_remembers_nothing_is_sent_once(stub: OmpStub) -> None:
    stub.capabilities = FIRST_EDITION
    stub.answers.append(Answer(drop=True))
    async with AsyncMemory(base_url=stub.url) as memory:
        with pytest.raises(ProviderUnavailableError):
            await memory.add(content="prefers tea", user_id="ann")
    assert len(stub.verbs) == 1
    assert "idempotency-key" not in stub.verbs[0].headers


async def test_long_query_is_posted(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.rule = lambda asked: answer({"results": []})
    await memory.search("tea", "ann", tags=["a,b", "c"], include_expired=True, mode="keyword")
    assert stub.verbs[-1].path.startswith("/memories/search?user_id=ann&include_expired=true&q=tea&limit=10&tags=a%2Cb")
    await memory.search("茶" * 3_000, "ann", tags=["a,b"], min_score=0.5)
    sent = stub.verbs[-1]
    assert (sent.method, sent.path) == ("POST", "/memories/search")
    assert sent.json == {"user_id": "ann", "q": "茶" * 3_000, "limit": 10, "min_score": 0.5, "tags": ["a,b"]}


async def test_batch_larger_than_the_protocol_allows_is_refused_before_it_is_sent(
    memory: AsyncMemory, stub: OmpStub
) -> None:
    with pytest.raises(InvalidRequestError, match="at most 10000"):
        await memory.add_many([{"content": "a"}] * 10_001, user_id="ann")
    assert stub.verbs == []


async def test_context_is_made_here_only_for_the_callers_own_counter(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.append(answer({"text": "said there", "citations": [], "token_count": 2}))
    assert (await memory.context("tea", "ann", token_budget=7)).text == "said there"
    assert stub.verbs[-1].json == {"query": "tea", "user_id": "ann", "token_budget": 7}
    stub.answers.append(answer({"results": [{"memory": RECORD, "score": 0.5}]}))
    assert "prefers tea" in (await memory.context("tea", "ann", token_counter=len)).text
    assert stub.verbs[-1].path.endswith("purpose=context")


ENVELOPES = [
    (401, "unauthorized", "auth", UnauthorizedError),
    (403, "scope_denied", "auth", ScopeDeniedError),
    (404, "not_found", "not_found", NotFoundError),
    (400, "invalid_request", "invalid", InvalidRequestError),
    (405, "unsupported_capability", "invalid", UnsupportedCapabilityError),
    (400, "unsupported_capability", "invalid", UnsupportedCapabilityError),
    (409, "idempotency_conflict", "invalid", IdempotencyConflictError),
    (412, "version_conflict", "invalid", VersionConflictError),
    (504, "deadline_exceeded", "provider_error", DeadlineExceededError),
    (502, "provider_error", "provider_error", ProviderError),
    (418, "teapot", "provider_error", ProviderError),
]


@pytest.mark.parametrize(("status", "code", "type", "expected"), ENVELOPES)
async def test_envelope_becomes_its_error(
    stub: OmpStub, status: int, code: str, type: str, expected: type[OMPError]
) -> None:
    stub.rule = lambda asked: problem(
        status, code, type, f"no {KEY}", provider="letta", request_id="r-1", details={"n": 1}
    )
    error = await failure(stub, timeout=3)
    assert error.__class__ is expected
    told = (error.code, error.type, error.message, error.provider, error.request_id, error.details)
    assert told == (code, type, "no ***", "letta", "r-1", {"n": 1})


async def test_details_that_quote_the_key_are_left_out(stub: OmpStub) -> None:
    stub.answers.append(problem(400, "invalid_request", "invalid", details={"header": [f"Bearer {KEY}"]}))
    assert (await failure(stub)).details is None


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Answer(), "empty response"),
        (Answer(body=b"   \n"), "empty response"),
        (Answer(body=b"<html>hello</html>"), "not JSON"),
        (Answer(body=b'{"id": "mem_1", "cont'), "not JSON"),
        (answer([]), "something unexpected"),
        (answer({"error": None}), "something unexpected: id: Field required"),
        (answer({**RECORD, "tags": "hush-hush"}), "something unexpected: tags"),
        (answer({**RECORD, "version": "hush-hush"}), "something unexpected: version"),
        (answer({**RECORD, "user_id": "hush-hush"}), "memory of another user"),
        (Answer(500, b"<html>hush-hush</html>"), "answered 500"),
        (Answer(size=65 << 20), "more than 64 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_answer_that_is_none_is_a_provider_error(stub: OmpStub, reply: Answer, message: str) -> None:
    stub.rule = lambda asked: reply
    error = await failure(stub)
    assert isinstance(error, ProviderError)
    assert message in error.message
    assert f"127.0.0.1:{stub.port}" in error.message
    assert "hush-hush" not in error.message
    assert error.request_id


async def test_export_that_is_none_is_a_provider_error(memory: AsyncMemory, stub: OmpStub) -> None:
    for body in (b"<html>", NDJSON, b'["memory"]', b'{"memory": 7}'):
        stub.answers.append(Answer(body=body))
        with pytest.raises(ProviderError):
            await memory.export("ann")


async def test_unknown_fields_of_a_later_version_are_kept_or_ignored(stub: OmpStub) -> None:
    features = {**CAPABILITIES["features"], "scopes": "hierarchical", "telepathy": True}
    stub.capabilities = {**CAPABILITIES, "omp_version": "0.9", "verbs": [*CAPABILITIES["verbs"], "dream"]}
    stub.capabilities |= {"features": features, "mood": "good"}
    stub.answers.append(answer({**RECORD, "x-acme": {"a": None}, "mood": "good"}))
    async with AsyncMemory(base_url=stub.url) as memory:
        said = await memory.capabilities()
        assert (said.omp_version, said.features.scopes, said.features.temporal) == ("0.9", None, True)
        record = await memory.get("mem_1")
    assert record.model_extra == {"x-acme": {"a": None}, "mood": "good"}


async def test_waiting_time_of_a_busy_server_is_told(memory: AsyncMemory, stub: OmpStub) -> None:
    limited = {"code": "rate_limited", "type": "rate_limited", "message": "slow down"}
    stub.rule = lambda asked: answer({"error": limited}, 429, retry_after="30")
    with pytest.raises(RateLimitedError) as caught:
        await memory.get("m1")
    assert caught.value.retry_after == 30.0
    assert len(stub.verbs) == 1


@pytest.mark.parametrize("verb", ["delete_all", "history", "reembed"])
async def test_verb_that_the_server_does_not_list_is_refused_without_a_request(
    memory: AsyncMemory, stub: OmpStub, verb: str
) -> None:
    arguments = {"delete_all": ("ann",), "history": ("m1",), "reembed": ()}[verb]
    with pytest.raises(UnsupportedCapabilityError, match=f"^{verb} is not supported") as caught:
        await getattr(memory, verb)(*arguments)
    assert caught.value.provider == "stub"
    assert stub.verbs == []


async def test_server_without_vectors_needs_an_embedder_to_move_to(stub: OmpStub) -> None:
    stub.capabilities = {**CAPABILITIES, "features": {**CAPABILITIES["features"], "vector_search": False}}
    async with AsyncMemory(base_url=stub.url) as memory:
        with pytest.raises(UnsupportedCapabilityError, match=r"^reembed is not .*: give the server an embedder"):
            await memory.reembed()
    assert stub.verbs == []


@pytest.mark.parametrize(
    ("verb", "arguments", "named"),
    [
        ("add", {"content": "a", "user_id": "ann", "key": "k"}, "key"),
        ("add", {"content": "a", "user_id": "ann", "valid_to": datetime(2030, 1, 1, tzinfo=UTC)}, "valid_to"),
        ("add", {"content": "a", "user_id": "ann", "supersedes": ["m1"]}, "supersedes"),
        ("add_many", {"items": [{"content": "a"}, {"content": "b"}], "user_id": "ann"}, "add_many"),
        ("update", {"id": "m1", "content": "a", "if_version": 1}, "if_version"),
        ("update", {"id": "m1", "scope": None}, "clearing"),
        ("list", {"user_id": "ann", "include_expired": True}, "include_expired"),
        ("list", {"user_id": "ann", "include_superseded": True}, "include_superseded"),
        ("search", {"query": "a", "user_id": "ann", "as_of": datetime(2020, 1, 1, tzinfo=UTC)}, "as_of"),
        ("search", {"query": "a", "user_id": "ann", "tags": ["t"]}, "tags"),
        ("search", {"query": "a", "user_id": "ann", "mode": "vector"}, "mode"),
        ("search", {"query": "a", "user_id": "ann", "explain": True}, "explain"),
        ("context", {"query": "a", "user_id": "ann", "tags": ["t"]}, "tags"),
    ],
)
async def test_argument_that_an_older_server_would_ignore_is_refused(
    stub: OmpStub, verb: str, arguments: dict[str, Any], named: str
) -> None:
    stub.capabilities = FIRST_EDITION
    async with AsyncMemory(base_url=stub.url) as memory:
        with pytest.raises(UnsupportedCapabilityError, match=named):
            await getattr(memory, verb)(**arguments)
    assert stub.verbs == []


async def test_server_of_the_first_edition_is_understood(stub: OmpStub) -> None:
    stub.capabilities = FIRST_EDITION
    stub.answers.extend([answer([{"memory": RECORD, "score": 0.5}]), answer([{"action": "add"}]), answer(RECORD)])
    stub.answers.append(answer(None, 404))
    async with AsyncMemory(base_url=stub.url) as memory:
        assert [result.score for result in await memory.search("tea", "ann")] == [0.5]
        assert [entry.action for entry in await memory.audit("ann")] == ["add"]
        await memory.wait_for_ingest(["mem_1"], "ann")
        assert (await memory.health()).ok
    assert [asked.path for asked in stub.verbs[-2:]] == ["/memories/mem_1", "/healthz"]


@pytest.mark.parametrize(
    "reply",
    [
        Answer(body=b"<html>"),
        answer({"hello": "world"}),
        answer([]),
        answer({"omp_version": 1}),
        answer({"omp_version": "0.1"}),
        Answer(404),
        Answer(405),
    ],
)
async def test_something_else_at_the_address_is_told_plainly(stub: OmpStub, reply: Answer) -> None:
    stub.capabilities = None
    stub.rule = lambda asked: reply
    error = await failure(stub)
    assert isinstance(error, ProviderError)
    assert error.message == f"no OMP server at 127.0.0.1:{stub.port}"
    assert len(stub.asked) == 1


async def test_nothing_at_the_address_is_told_plainly() -> None:
    with OmpStub() as gone:
        pass
    error = await failure(gone, timeout=5)
    assert isinstance(error, ProviderUnavailableError)
    assert error.message.startswith(f"no OMP server at 127.0.0.1:{gone.port}: cannot connect")


@pytest.mark.parametrize("provider", ["letta", "sqlite", "postgres", "no-such-provider"])
async def test_omp_server_at_the_address_is_used_whatever_was_named(stub: OmpStub, provider: str) -> None:
    async with AsyncMemory(ProviderName(provider), base_url=stub.url, api_key=KEY) as memory:
        assert (await memory.get("mem_1")).content == "prefers tea"


@pytest.mark.parametrize(("provider", "expected"), [("sqlite", ProviderError), ("nobody", UnsupportedProviderError)])
async def test_named_provider_is_asked_where_no_omp_server_is(
    stub: OmpStub, provider: str, expected: type[OMPError]
) -> None:
    stub.capabilities = None
    stub.rule = lambda asked: Answer(404)
    with pytest.raises(expected):
        async with AsyncMemory(ProviderName(provider), base_url=stub.url):
            pass


async def test_key_of_another_service_does_not_go_to_an_omp_server(
    stub: OmpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEM0_API_KEY", "m0-secret")
    async with AsyncMemory("mem0", base_url=stub.url) as memory:
        await memory.get("mem_1")
    assert "authorization" not in stub.verbs[-1].headers


def test_constructor_asks_for_an_address_and_opens_nothing(stub: OmpStub) -> None:
    with pytest.raises(InvalidRequestError, match=r"requires base_url=\.\.\."):
        AsyncMemory("passthrough")
    with pytest.raises(InvalidRequestError, match="url= or base_url="):
        AsyncMemory(url=stub.url, base_url=stub.url)
    AsyncMemory(url=stub.url)
    assert stub.asked == []


async def test_given_capabilities_spare_the_question(stub: OmpStub) -> None:
    async with AsyncMemory(base_url=stub.url, capabilities=CAPABILITIES) as memory:
        assert (await memory.capabilities()).provider == "stub"
    assert stub.asked == []
    with pytest.raises(InvalidRequestError, match="capabilities"):
        AsyncMemory(base_url=stub.url, capabilities={"omp_version": "0.1"})


async def test_redirect_of_a_read_is_followed_and_that_of_a_write_only_if_it_stays_one(
    memory: AsyncMemory, stub: OmpStub
) -> None:
    stub.answers.extend([answer(None, 302, location="/elsewhere"), answer(RECORD)])
    await memory.get("mem_1")
    assert stub.verbs[-1].path == "/elsewhere"
    stub.answers.extend([answer(None, 307, location="/other/memories"), answer(RECORD, 201)])
    await memory.add(content="prefers tea", user_id="ann")
    first, second = stub.verbs[-2:]
    assert (second.method, second.path, second.body) == ("POST", "/other/memories", first.body)
    assert second.headers["authorization"] == f"Bearer {KEY}"
    stub.answers.append(answer(None, 302, location="/other"))
    with pytest.raises(ProviderError, match="redirect that a POST request may not follow"):
        await memory.add(content="prefers tea", user_id="ann")


async def test_redirect_to_another_origin_is_not_followed(memory: AsyncMemory, stub: OmpStub) -> None:
    with OmpStub() as other:
        stub.rule = lambda asked: answer(None, 307, location=f"{other.url}{asked.path}")
        with pytest.raises(ProviderError, match="another server"):
            await memory.add(content="prefers tea", user_id="ann")
        with pytest.raises(ProviderError, match="another server"):
            await memory.get("mem_1")
        assert other.asked == []


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("/memories/mem_1", "redirect loop"),
        (None, "without an address"),
        ("ftp://127.0.0.1/x", "without an address"),
        ("http://u:hush-hush@127.0.0.1/x", "cannot be used"),
        ("http://[", "without an address"),
    ],
)
async def test_redirect_that_leads_nowhere_is_an_error(stub: OmpStub, location: str | None, message: str) -> None:
    headers = {"location": location} if location else {}
    stub.rule = lambda asked: answer(None, 307, **headers)
    error = await failure(stub)
    assert isinstance(error, ProviderError)
    assert message in error.message
    assert "hush-hush" not in error.message


async def test_circle_is_noticed_when_it_closes(stub: OmpStub) -> None:
    stub.rule = lambda asked: answer(None, 307, location="/b" if asked.path != "/b" else "/memories/mem_1")
    assert "redirect loop" in (await failure(stub)).message
    assert [asked.path for asked in stub.verbs] == ["/memories/mem_1", "/b"]


async def test_endless_redirects_are_a_loop(stub: OmpStub) -> None:
    stub.rule = lambda asked: answer(None, 307, location=f"{asked.path}x")
    assert "redirect loop" in (await failure(stub)).message
    assert len(stub.verbs) == 6


async def test_logs_tell_neither_user_nor_query_nor_key(stub: OmpStub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "openmem"):
        caplog.set_level(logging.DEBUG, logger=name)
    stub.answers.append(answer(None, 307, location="/memories/search?q=pineapple&user_id=hush-hush"))
    stub.answers.append(answer({"results": []}))
    async with AsyncMemory(base_url=stub.url, api_key=KEY, app="hidden-app") as memory:
        await memory.search("pineapple", "hush-hush")
    assert len(stub.verbs) == 2
    for word in ("pineapple", "hush-hush", KEY, "hidden-app"):
        assert word not in caplog.text


async def test_one_connection_serves_many_calls(memory: AsyncMemory, stub: OmpStub) -> None:
    for _ in range(5):
        await memory.get("mem_1")
    assert stub.connections == 1


async def test_deadline_ends_a_call_that_gets_no_answer(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.append(Answer(hang=True))
    with pytest.raises(DeadlineExceededError):
        await memory.get("mem_1", timeout=0.2)
    assert stub.left.wait(5)
    assert (await memory.get("mem_1")).id == "mem_1"


async def test_waiting_for_a_memory_that_an_old_server_gives_to_anybody_is_not_found(stub: OmpStub) -> None:
    """Servers of the first edition look at no owner; the memory is missing all the same."""
    stub.capabilities = FIRST_EDITION
    async with AsyncMemory(base_url=stub.url) as memory:
        stub.answers.append(answer({**RECORD, "status": "done"}))
        await memory.wait_for_ingest(["mem_1"], "ann")
        stub.answers.append(answer({**RECORD, "user_id": "bob", "status": "done"}))
        with pytest.raises(NotFoundError):
            await memory.wait_for_ingest(["mem_1"], "ann")


async def test_fields_that_an_old_server_would_drop_are_refused(stub: OmpStub) -> None:
    stub.capabilities = FIRST_EDITION
    named: dict[str, Any] = {"x-a": 1}
    async with AsyncMemory(base_url=stub.url) as memory:
        with pytest.raises(UnsupportedCapabilityError):
            await memory.add("tea", user_id="ann", extra={"later": 1})
        with pytest.raises(UnsupportedCapabilityError):
            await memory.update("mem_1", user_id="ann", **named)
        stub.answers.append(answer(RECORD, 201))
        await memory.add("prefers tea", user_id="ann", **named)
        assert stub.verbs[-1].json["x-a"] == 1


async def test_fields_of_the_callers_own_travel_as_members(memory: AsyncMemory, stub: OmpStub) -> None:
    stub.answers.extend([answer(RECORD, 201), answer(RECORD)])
    await memory.add("prefers tea", user_id="ann", extra={"later": {"a": 1}}, source={"app": "n", "uri": "u"})
    assert (stub.verbs[-1].json["later"], stub.verbs[-1].json["source"]) == ({"a": 1}, {"app": "n", "uri": "u"})
    await memory.update("mem_1", user_id="ann", tags=None, extra={"later": None, "x-b": 2})
    assert stub.verbs[-1].json == {"tags": None, "later": None, "x-b": 2}
