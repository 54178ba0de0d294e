"""The layers around an application that misbehaves in ways that the real one should not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from openmem import AsyncServerStore
from openmem._protocol.refusals import OverloadedError
from openmem.errors import ProviderUnavailableError
from openmem.server.middleware.access_log import AccessLog
from openmem.server.middleware.admission import Admission, Drain
from openmem.server.middleware.metrics import FOLDER_VARIABLE, Metrics
from openmem.server.middleware.rate_limit import RateLimit, RateLimiter
from openmem.server.middleware.tracing import traced

SECRET = "swordfish"

Ask = Callable[..., Awaitable[int]]


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def failing(scope: Any, receive: Any, send: Any) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError as error:
        raise RuntimeError(SECRET) from error


async def half(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"some", "more_body": True})
    raise RuntimeError(SECRET)


def tiny() -> Starlette:
    async def add(request: Request) -> JSONResponse:
        return JSONResponse({}, 201)

    async def get(request: Request) -> JSONResponse:
        return JSONResponse({})

    return Starlette(routes=[Route("/memories", add, methods=["POST"]), Route("/memories/{id}", get)])


async def test_uncaught_exception_is_an_envelope_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with client(AccessLog(failing)) as http:
        reply = await http.get("/capabilities", headers={"x-request-id": "r1"})
    assert reply.status_code == 500
    assert reply.json()["error"] == {
        "code": "internal_error",
        "message": "internal server error",
        "type": "provider_error",
        "request_id": "r1",
    }
    assert reply.headers["x-request-id"] == "r1"
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1
    assert "RuntimeError" in logged[0].getMessage()
    assert "KeyError" in logged[0].getMessage()
    assert SECRET not in caplog.text


async def test_failure_in_the_middle_of_a_reply_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await AccessLog(half)({"type": "http", "method": "GET", "path": "/export", "headers": []}, receive, send)
    assert [message.get("more_body") for message in sent] == [None, True]
    assert SECRET not in caplog.text
    assert [record.levelname for record in caplog.records if record.name == "openmem.server"] == ["ERROR"]


def test_admission_is_bounded_and_closed_while_draining() -> None:
    drain = Drain()
    admission = Admission(2, drain)
    admission.acquire()
    admission.acquire()
    with pytest.raises(OverloadedError) as full:
        admission.acquire()
    assert full.value.retry_after == 1.0
    assert repr(admission) == "<Admission [2 of 2 running | open]>"
    admission.release()
    admission.acquire()
    admission.check_open()
    drain.begin()
    assert (repr(admission), repr(drain)) == ("<Admission [2 of 2 running | draining]>", "<Drain [draining]>")
    with pytest.raises(OverloadedError) as stopping:
        admission.check_open()
    assert stopping.value.retry_after == 5.0


async def test_request_that_waits_for_its_client_does_not_count() -> None:
    admission = Admission(1)
    admission.acquire()

    async def wait() -> int:
        assert repr(admission) == "<Admission [0 of 1 running | open]>"
        admission.acquire()
        admission.release()
        return 1

    assert await admission.released_during(wait)() == 1
    with pytest.raises(OverloadedError):
        admission.acquire()


# Rate


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Unreachable:
    """A store that is down, as the limiter sees it."""

    async def take(self, caller: str, per_minute: int, now: datetime) -> float:
        raise ProviderUnavailableError("down")


async def test_bucket_refuses_and_fills_again() -> None:
    clock = Clock()
    limiter = RateLimiter(None, 6, clock)
    assert [await limiter.take("a") for _ in range(6)] == [0.0] * 6
    assert await limiter.take("a") == pytest.approx(10.0)
    assert await limiter.take("b") == 0.0
    assert repr(limiter) == "<RateLimiter [6 a minute | 2 callers | counted here]>"
    clock.now += 10.0
    assert await limiter.take("a") == 0.0
    assert await limiter.take("a") > 0


@pytest.mark.parametrize(("per_minute", "most"), [(10, 10), (600, 619)])
async def test_replicas_count_together(tmp_path: Path, per_minute: int, most: int) -> None:
    url = f"sqlite:///{tmp_path / 'server.db'}"
    async with AsyncServerStore(url) as one, AsyncServerStore(url) as two:
        limiters = [RateLimiter(one, per_minute), RateLimiter(two, per_minute)]
        let_through = 0
        for number in range(per_minute * 3 // 2):
            let_through += await limiters[number % 2].take("a") == 0.0
    assert per_minute * 0.9 <= let_through <= most


async def test_store_that_is_down_leaves_the_bucket(caplog: pytest.LogCaptureFixture) -> None:
    limiter = RateLimiter(Unreachable(), 3, Clock())  # type: ignore[arg-type]
    assert repr(limiter) == "<RateLimiter [3 a minute | 0 callers | counted in the store]>"
    assert [await limiter.take("a") == 0.0 for _ in range(5)] == [True, True, True, False, False]
    assert repr(limiter) == "<RateLimiter [3 a minute | 1 callers | counted here, the store fails]>"
    assert len(caplog.records) == 1


@asynccontextmanager
async def limited_to_three(revoked: Collection[str] = ()) -> AsyncIterator[tuple[httpx.AsyncClient, Ask]]:
    """A server that takes three requests a minute and knows all keys but `revoked` ones and those like `wrong`."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        key = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        wrong = key.startswith("wrong") or key in revoked
        if not wrong and scope["path"] != "/capabilities":
            scope["state"]["caller"] = "k1"
        await send({"type": "http.response.start", "status": 401 if wrong else 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited: ASGIApp = RateLimit(app, RateLimiter(None, 3, Clock()))
    async with client(AccessLog(limited)) as http:

        async def ask(key: str, path: str = "/memories") -> int:
            return (await http.get(path, headers={"authorization": f"Bearer {key}"})).status_code

        yield http, ask


async def test_accepted_key_has_a_bucket_of_its_own_and_a_wrong_one_has_not() -> None:
    async with limited_to_three() as (http, ask):
        assert await ask("good") == 200  # counted for the address
        assert [await ask("good") for _ in range(3)] == [200] * 3  # counted for the key
        assert [await ask(f"wrong{number}") for number in range(3)] == [401, 401, 429]
        refused = await http.get("/memories")
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limited"
        assert int(refused.headers["retry-after"]) == 20
        assert (await http.get("/metrics")).status_code == 200


async def test_key_that_no_one_looked_at_does_not_become_known() -> None:
    async with limited_to_three() as (_, ask):
        assert [await ask("made-up", "/capabilities") for _ in range(4)] == [200, 200, 200, 429]


async def test_key_that_stops_working_counts_for_its_address_again() -> None:
    revoked = set[str]()
    async with limited_to_three(revoked) as (_, ask):
        assert await ask("good") == 200
        assert [await ask("wrong") for _ in range(3)] == [401, 401, 429]  # nothing is left for the address
        assert await ask("good") == 200
        revoked.add("good")
        assert [await ask("good") for _ in range(2)] == [401, 429]


# Metrics and spans


async def test_metrics_have_templates_and_codes_and_no_ids() -> None:
    numbers = Metrics()
    async with client(AccessLog(tiny(), numbers)) as http:
        await http.get("/memories/very-private")
        await http.get("/made/up")
    async with client(AccessLog(failing, numbers)) as http:
        await http.get("/fails")
    text = numbers.text().decode()
    assert 'omp_requests_total{method="GET",route="/memories/{id}",status="200"} 1.0' in text
    assert 'omp_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'omp_errors_total{code="internal_error"} 1.0' in text
    assert 'omp_request_duration_seconds_count{verb="get"} 1.0' in text
    assert "omp_requests_in_flight 0.0" in text
    assert "_created" not in text
    assert "very-private" not in text
    assert "made" not in text


def test_numbers_can_be_read_while_a_worker_makes_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "counter_1.db").touch()  # as it is before the first number is written: the answer was a 500
    key = mmap_key("omp_errors", "omp_errors_total", ["code"], ["not_found"], "-")
    with closing(MmapedDict(str(tmp_path / "counter_2.db"))) as other:  # type: ignore[no-untyped-call]
        other.write_value(key, 3.0, 0.0)  # type: ignore[no-untyped-call]
    assert b'omp_errors_total{code="not_found"} 3.0' in Metrics().text()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


async def test_request_and_verb_have_spans_below_that_of_the_caller(spans: InMemorySpanExporter) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with client(AccessLog(traced(tiny(), "mem0"))) as http:
        await http.post("/memories", json={"content": SECRET}, headers={"traceparent": parent})
    verb, request = spans.get_finished_spans()
    assert (request.name, request.kind) == ("POST /memories", trace.SpanKind.SERVER)
    assert f"{request.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/memories",
        "http.response.status_code": 201,
    }
    assert verb.name == "create_memory"
    assert verb.parent is not None
    assert verb.parent.span_id == request.context.span_id
    assert dict(verb.attributes or {}) == {"gen_ai.operation.name": "create_memory", "gen_ai.provider.name": "mem0"}


async def test_span_is_made_only_if_spans_are_collected() -> None:
    current: list[trace.Span] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        current.append(trace.get_current_span())
        await tiny()(scope, receive, send)

    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with client(AccessLog(traced(app, "sqlite"))) as http:
        await http.post("/memories", json={}, headers={"traceparent": parent})
    assert current == [trace.INVALID_SPAN]


async def test_failed_request_has_a_failed_span_without_its_text(spans: InMemorySpanExporter) -> None:
    async with client(AccessLog(traced(failing, "sqlite"))) as http:
        await http.get("/memories/search")
    async with client(AccessLog(traced(tiny(), "sqlite"))) as http:
        await http.get(f"/memories/{SECRET}")
    verb, failed, read = spans.get_finished_spans()
    assert verb.name == "search_memory"
    for span in (verb, failed):
        assert span.status.status_code is trace.StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "_OTHER"
    assert read.name == "GET /memories/{id}"
    assert SECRET not in verb.to_json() + failed.to_json() + read.to_json()


def test_nothing_of_opentelemetry_is_loaded_before_it_is_needed() -> None:
    import subprocess
    import sys

    code = "import openmem.server.middleware.tracing, sys; print([n for n in sys.modules if 'opentelemetry' in n])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
