"""The policy of repeats: which failure is worth another attempt, and how long the wait before it is."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from openmem._model.retry import DEFAULT_RETRY, MAX_BACKOFF, STATUSES
from openmem._protocol.http_errors import Endpoint, failure_of_reply
from openmem.errors import (
    DeadlineExceededError,
    IngestionTimeoutError,
    InvalidRequestError,
    ProviderError,
    ProviderUnavailableError,
)
from openmem.providers import FailedAttempt, Retry

LOST = FailedAttempt(ProviderUnavailableError("broken off"), passing=True)


def reply(status: int, retry_after: float | None = None) -> FailedAttempt:
    return FailedAttempt(ProviderError("it failed", retry_after=retry_after), status)


def pause(failed: FailedAttempt, repeats: int = 0, retry: Retry = DEFAULT_RETRY, **changes: Any) -> float | None:
    return retry.pause_after(failed, repeats, **{"repeatable": True, "left": 10.0, "random": 0.5, **changes})


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_passing_status_is_repeated_as_often_as_allowed(status: int) -> None:
    assert [pause(reply(status), repeats) is None for repeats in range(4)] == [False, False, True, True]


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 409, 412, 413, 422, 501, 505])
def test_lasting_status_is_not_repeated(status: int) -> None:
    assert pause(reply(status)) is None
    assert pause(FailedAttempt(ProviderError("x"), status, passing=True)) is None  # the status decides, if there is one


def test_lost_connection_is_repeated_and_other_trouble_without_a_reply_is_not() -> None:
    assert pause(LOST) is not None
    assert pause(FailedAttempt(ProviderError("no JSON"))) is None


@pytest.mark.parametrize("failed", [LOST, reply(429), reply(503)])
def test_policy_without_retries_never_asks_again(failed: FailedAttempt) -> None:
    assert pause(failed, retry=Retry(0)) is None


def test_number_of_retries_is_that_of_the_policy() -> None:
    assert [pause(LOST, repeats, Retry(5), left=None) is None for repeats in range(7)] == [False] * 5 + [True] * 2


@pytest.mark.parametrize("error", [DeadlineExceededError("late"), IngestionTimeoutError("late")])
def test_deadline_that_passed_at_the_server_is_not_asked_to_pass_again(error: ProviderError) -> None:
    assert pause(FailedAttempt(error, 504)) is None
    assert pause(FailedAttempt(error, passing=True)) is None


def test_request_that_may_not_run_twice_is_repeated_only_when_the_server_did_not_act_on_it() -> None:
    refused = FailedAttempt(LOST.error, passing=True, untouched=True)
    assert [pause(each, repeatable=False) is None for each in (reply(429), refused)] == [False, False]
    assert [pause(each, repeatable=False) is None for each in (reply(500), reply(503), LOST)] == [True] * 3


def test_statuses_are_those_of_the_policy() -> None:
    retry = Retry(statuses=[503])
    assert pause(reply(503), retry=retry) is not None
    assert pause(reply(429), retry=retry) is None
    assert pause(reply(429), retry=retry, repeatable=False) is None
    assert pause(LOST, retry=Retry(statuses=())) is not None


def test_waits_double_up_to_the_longest_and_spread_from_zero() -> None:
    retry = Retry(100, backoff=0.5, max_backoff=3.0)
    assert [pause(LOST, repeats, retry, random=1.0) for repeats in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert pause(LOST, 99, retry, random=1.0) == 3.0
    assert pause(LOST, 3, retry, random=0.0) == 0.0
    assert pause(LOST, 3, retry, random=0.25) == 0.75


def test_waits_without_jitter_are_the_same_whatever_the_chance() -> None:
    retry = Retry(3, backoff=0.5, jitter=False)
    assert {pause(LOST, 1, retry, random=chance) for chance in (0.0, 0.3, 0.9)} == {1.0}
    assert {pause(reply(429, 4.0), 1, retry, random=chance) for chance in (0.0, 0.3, 0.9)} == {4.0}


def test_wait_is_at_least_as_long_as_the_server_asks() -> None:
    assert pause(reply(429, 4.0), random=0.0) == 4.0
    assert pause(reply(503, 4.0), 1, random=1.0) == 4.25
    assert pause(reply(503, 0.0), random=0.0) == 0.0


def test_wait_that_would_not_end_before_the_deadline_is_not_begun() -> None:
    assert pause(reply(429, 9.0), random=0.0) == 9.0
    assert pause(reply(429, 10.0), random=0.0) is None
    assert pause(LOST, left=0.0, random=0.0) is None
    assert pause(LOST, retry=Retry(backoff=8.0), left=3.9) is None


def test_long_wait_is_not_begun_even_without_a_deadline() -> None:
    assert pause(reply(429, MAX_BACKOFF), left=None) is None
    assert pause(reply(429, MAX_BACKOFF - 1), left=None) is not None
    assert pause(reply(429, MAX_BACKOFF), left=100.0) is not None


BAD: list[dict[str, Any]] = [
    *({"retries": value} for value in (-1, 101, 2.0, "2", None, True)),
    *({"backoff": value} for value in (-0.1, 61, float("nan"), float("inf"), "1", None, True)),
    *({"max_backoff": value} for value in (-1, 60.1, float("nan"), "1", None, False, 0.1)),
    *({"jitter": value} for value in (1, 0, None, "yes")),
    *({"statuses": value} for value in (503, "503", [503, "429"], [200], [600], [503.0], [True], None)),
]


@pytest.mark.parametrize("given", BAD, ids=str)
def test_bad_value_is_refused_by_its_name(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=f"Retry: {next(iter(given))} must") as caught:
        Retry(**given)
    assert caught.value.code == "invalid_request"


def test_policies_of_the_same_values_are_equal_and_survive_a_pickle() -> None:
    retry = Retry(3, backoff=1, statuses=(status for status in (503, 429)))
    assert retry == Retry(3, backoff=1.0, statuses=[429, 503, 503])
    assert pickle.loads(pickle.dumps(retry)) == retry
    assert len({retry, Retry(3, backoff=1.0, statuses={429, 503}), Retry(3)}) == 2


def test_default_is_two_retries_within_eight_seconds() -> None:
    assert (Retry(), Retry().retries, Retry().backoff, Retry().max_backoff) == (DEFAULT_RETRY, 2, 0.25, 8.0)


def test_reply_tells_the_policy_its_status_and_what_it_asks_for() -> None:
    endpoint, now = Endpoint.of("https://api.example.com", {}, "p"), datetime(2026, 11, 20, tzinfo=UTC)
    failed = failure_of_reply(endpoint, 429, {"retry-after": "7"}, b"", now)
    assert pause(failed, random=0.0) == 7.0
    late = b'{"error": {"code": "deadline_exceeded", "type": "provider_error", "message": "late"}}'
    assert pause(failure_of_reply(endpoint, 504, {}, late, now)) is None
    assert pause(failure_of_reply(endpoint, 504, {}, b"", now)) is not None
