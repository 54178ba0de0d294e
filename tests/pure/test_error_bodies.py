"""A failure on its way to a client: its envelope and its headers."""

from __future__ import annotations

import json

import pytest

from openmem._protocol.error_bodies import error_body, error_headers
from openmem._protocol.refusals import (
    ForeignPageError,
    HeaderTooLargeError,
    InternalError,
    MethodNotAllowedError,
    OverloadedError,
    SlowRequestError,
    TooLargeError,
    UnsupportedMediaError,
    unknown_route,
)
from openmem.errors import InvalidRequestError, OMPError, ProviderUnavailableError, RateLimitedError, UnauthorizedError

JSON = (b"content-type", b"application/json")


def test_envelope_takes_over_the_id_of_the_request_and_lets_go_of_its_frames() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        raise InvalidRequestError("no é", details={"at": object})
    body = error_body(caught.value, "req-1")
    assert caught.value.__traceback__ is None
    inner = json.loads(body)["error"]
    assert (inner["code"], inner["type"], inner["message"], inner["request_id"]) == (
        "invalid_request",
        "invalid",
        "no é",
        "req-1",
    )
    assert inner["details"] == {"at": str(object)}
    assert "é".encode() in body
    assert b", " not in body.replace(b"'>", b"")


def test_lone_surrogate_in_a_message_is_sent_as_json_writes_it() -> None:
    body = error_body(InvalidRequestError("no \ud800"), "req-1")
    assert json.loads(body)["error"]["message"] == "no \ud800"


def test_headers_say_what_the_envelope_is_and_what_a_caller_may_do() -> None:
    assert error_headers(InvalidRequestError("no")) == [JSON]
    assert error_headers(UnauthorizedError("no")) == [JSON, (b"www-authenticate", b"Bearer")]
    assert error_headers(MethodNotAllowedError(["GET", "POST"])) == [JSON, (b"allow", b"GET, POST")]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (RateLimitedError("no"), b"1"),
        (ProviderUnavailableError("no"), b"1"),
        (OverloadedError("no"), b"1"),
        (RateLimitedError("no", retry_after=1.2), b"2"),
        (RateLimitedError("no", retry_after=0.0), b"1"),
        (InvalidRequestError("no", retry_after=7.0), b"7"),
        (RateLimitedError("no", retry_after=1e9), b"86400"),
        (RateLimitedError("no", retry_after=float("inf")), b"1"),
    ],
)
def test_pause_is_whole_seconds_from_one_to_a_day(error: OMPError, seconds: bytes) -> None:
    assert (b"retry-after", seconds) in error_headers(error)


def test_error_that_no_pause_mends_asks_for_none() -> None:
    assert error_headers(InvalidRequestError("no", retry_after=float("nan"))) == [JSON]


def test_refusals_have_their_codes_and_statuses() -> None:
    told = {
        (type(error).__name__, error.code, error.type, error.http_status)
        for error in (
            *(TooLargeError("no"), UnsupportedMediaError("no"), HeaderTooLargeError("no"), SlowRequestError("no")),
            *(ForeignPageError("no"), OverloadedError("no"), InternalError(), MethodNotAllowedError(["GET"])),
        )
    }
    assert told == {
        ("TooLargeError", "payload_too_large", "invalid", 413),
        ("UnsupportedMediaError", "unsupported_media_type", "invalid", 415),
        ("HeaderTooLargeError", "header_too_large", "invalid", 431),
        ("SlowRequestError", "request_timeout", "invalid", 408),
        ("ForeignPageError", "scope_denied", "auth", 403),
        ("OverloadedError", "overloaded", "provider_error", 503),
        ("InternalError", "internal_error", "provider_error", 500),
        ("MethodNotAllowedError", "method_not_allowed", "invalid", 405),
    }


def test_refusals_say_what_is_wrong() -> None:
    assert InternalError().message == "internal server error"
    assert InternalError("other", details={"a": 1}).details == {"a": 1}
    refused = MethodNotAllowedError(name for name in ("GET", "POST"))
    assert (refused.message, refused.allowed) == ("this path answers GET, POST only", ("GET", "POST"))
    assert (unknown_route().message, unknown_route().http_status) == ("there is no such route", 404)
