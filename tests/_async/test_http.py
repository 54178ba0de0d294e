from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from openmem._io.concurrency.call import Deadline
from openmem._io.http.client import AsyncHttp
from openmem._model.retry import Retry
from openmem.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    UnauthorizedError,
)
from tests.openai_stub import BAD_JSON, DRIP, DROP, HANG, OpenAIStub, fault

KEY = "sk-secret-4711"


@pytest.fixture
def stub() -> Iterator[OpenAIStub]:
    with OpenAIStub() as server:
        yield server


async def ask(stub: OpenAIStub, timeout: float | None = 10.0, retries: int = 2, **options: Any) -> Any:
    http = AsyncHttp(stub.url, headers={"Authorization": f"Bearer {KEY}"}, provider="p", retry=Retry(retries))
    try:
        return await http.request_json("GET", "/things", deadline=Deadline.after(timeout), **options)
    finally:
        await http.aclose()


async def failure(stub: OpenAIStub, timeout: float | None = 10.0, **options: Any) -> OMPError:
    with pytest.raises(OMPError) as caught:
        await ask(stub, timeout, **options)
    assert caught.value.provider == "p" or isinstance(caught.value, DeadlineExceededError)
    assert KEY not in repr(caught.value)
    assert KEY.encode() not in pickle.dumps(caught.value)
    return caught.value


async def test_reply_is_decoded_and_the_request_carries_path_headers_and_given_parameters(
    stub: OpenAIStub,
) -> None:
    assert await ask(stub, params={"q": "a&b", "none": None}) == {"ok": True}
    sent = stub.received[0]
    assert (sent.method, sent.path) == ("GET", "/v1/things?q=a%26b")
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["accept"] == "application/json"


async def test_empty_reply_is_none(stub: OpenAIStub) -> None:
    stub.faults.append(fault(204))
    assert await ask(stub) is None


async def test_connections_are_used_again(stub: OpenAIStub) -> None:
    http = AsyncHttp(stub.url)
    for _ in range(3):
        assert await http.request_json("GET", "/x", deadline=Deadline()) == {"ok": True}
    await http.aclose()
    await http.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await http.request_json("GET", "/x", deadline=Deadline())


async def test_passing_failures_are_repeated_until_one_succeeds(stub: OpenAIStub) -> None:
    stub.faults.extend([fault(500), DROP])
    assert await ask(stub, retries=2, retry_safe=True) == {"ok": True}
    assert len(stub.received) == 3


async def test_last_failure_is_raised_when_the_repeats_are_used_up(stub: OpenAIStub) -> None:
    stub.faults.extend([fault(503), fault(500), fault(503, {"error": "busy"})])
    error = await failure(stub, retries=2, retry_safe=True)
    assert type(error) is ProviderUnavailableError
    assert error.message.endswith("answered 503: busy")
    assert len(stub.received) == 3


async def test_request_that_may_not_run_twice_is_sent_once(stub: OpenAIStub) -> None:
    for trouble in (fault(500), DROP):
        stub.received.clear()
        stub.faults.append(trouble)
        assert isinstance(await failure(stub, retries=5), ProviderError)
        assert len(stub.received) == 1


async def test_lasting_failure_is_not_repeated(stub: OpenAIStub) -> None:
    for status, expected in ((400, InvalidRequestError), (401, UnauthorizedError), (404, NotFoundError)):
        stub.received.clear()
        stub.faults.append(fault(status))
        assert type(await failure(stub, retries=5, retry_safe=True)) is expected
        assert len(stub.received) == 1


async def test_retry_after_in_seconds_is_waited_for(stub: OpenAIStub) -> None:
    stub.faults.append(fault(429, retry_after="0.3"))
    started = time.monotonic()
    assert await ask(stub) == {"ok": True}
    assert time.monotonic() - started >= 0.3


async def test_retry_after_as_a_date_is_waited_for(stub: OpenAIStub) -> None:
    at = datetime.now(UTC) + timedelta(seconds=2)
    stub.faults.append(fault(429, retry_after=format_datetime(at, usegmt=True)))
    assert await ask(stub) == {"ok": True}
    assert datetime.now(UTC) >= at.replace(microsecond=0)


async def test_retry_after_beyond_the_deadline_is_raised_at_once(stub: OpenAIStub) -> None:
    stub.faults.append(fault(429, retry_after="8"))
    started = time.monotonic()
    error = await failure(stub, 3.0, retries=5, retry_safe=True)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 8.0
    assert time.monotonic() - started < 2.0


async def test_server_that_does_not_answer_is_left_at_the_deadline(stub: OpenAIStub) -> None:
    stub.faults.append(HANG)
    started = time.monotonic()
    error = await failure(stub, 0.3, retries=5, retry_safe=True)
    assert isinstance(error, DeadlineExceededError)
    assert 0.25 < time.monotonic() - started < 2.0


async def test_server_that_answers_drop_by_drop_is_left_at_the_deadline(stub: OpenAIStub) -> None:
    stub.faults.append(DRIP)
    started = time.monotonic()
    assert isinstance(await failure(stub, 0.4), DeadlineExceededError)
    assert time.monotonic() - started < 2.0


async def test_deadline_that_is_over_sends_nothing(stub: OpenAIStub) -> None:
    http = AsyncHttp(stub.url)
    with pytest.raises(DeadlineExceededError):
        await http.request_json("GET", "/x", deadline=Deadline(0.0, 1.0))
    await http.aclose()
    assert stub.received == []


async def test_server_that_is_not_there_is_unavailable() -> None:
    with OpenAIStub() as gone:
        url = gone.url
    http = AsyncHttp(url, headers={"Authorization": f"Bearer {KEY}"}, provider="p")
    with pytest.raises(ProviderUnavailableError, match=r"cannot connect to 127\.0\.0\.1:\d+$") as caught:
        await http.request_json("POST", "/x", json={}, deadline=Deadline.after(5))
    await http.aclose()
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert KEY.encode() not in pickle.dumps(caught.value)


async def test_connection_that_breaks_off_is_unavailable(stub: OpenAIStub) -> None:
    stub.faults.append(DROP)
    error = await failure(stub, retries=0)
    assert type(error) is ProviderUnavailableError


async def test_success_that_is_not_json_is_a_provider_error(stub: OpenAIStub) -> None:
    stub.faults.append(BAD_JSON)
    assert type(await failure(stub)) is ProviderError


async def test_redirect_of_a_read_is_followed_and_that_of_a_write_is_not(stub: OpenAIStub) -> None:
    stub.faults.append(fault(302, location="/elsewhere"))
    assert await ask(stub) == {"ok": True}
    assert [sent.path for sent in stub.received] == ["/v1/things", "/elsewhere"]
    stub.faults.append(fault(302, location="/elsewhere"))
    http = AsyncHttp(stub.url)
    with pytest.raises(ProviderError, match="may not follow"):
        await http.request_json("POST", "/things", json={}, deadline=Deadline.after(5), retry_safe=True)
    await http.aclose()
    assert len(stub.received) == 3


async def test_error_envelope_of_the_protocol_is_taken_over(stub: OpenAIStub) -> None:
    body = {"error": {"code": "not_found", "message": "no memory m1", "type": "not_found", "request_id": "r"}}
    stub.faults.append(fault(404, body))
    error = await failure(stub)
    assert (type(error), error.message, error.request_id) == (NotFoundError, "no memory m1", "r")


async def test_server_that_quotes_the_key_does_not_get_it_into_the_message(stub: OpenAIStub) -> None:
    stub.faults.append(fault(400, {"error": {"message": f"bad header Bearer {KEY}"}}))
    assert (await failure(stub)).message.endswith("answered 400: bad header ***")


def test_construction_checks_the_address_and_opens_nothing() -> None:
    took = []
    for _ in range(10):
        started = time.perf_counter()
        AsyncHttp("https://nowhere.invalid/v1", headers={"Authorization": "Bearer x"})
        took.append(time.perf_counter() - started)
    assert min(took) < 0.005
    with pytest.raises(InvalidRequestError, match="base_url"):
        AsyncHttp("nowhere.invalid")
