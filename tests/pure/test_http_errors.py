from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from openmem._model.retry import FailedAttempt
from openmem._protocol.http_errors import (
    Endpoint,
    check_service_url,
    decode_json,
    failure_of_reply,
    parse_retry_after,
)
from openmem.errors import (
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
    VersionConflictError,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
KEY = "sk-secret-4711"
ENDPOINT = Endpoint.of("https://api.example.com/v1", {"Authorization": f"Bearer {KEY}"}, "openai")


def reply(status: int, body: Any = None, **headers: str) -> FailedAttempt:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure_of_reply(ENDPOINT, status, named, raw, NOW)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, ProviderError),
        (400, InvalidRequestError),
        (401, UnauthorizedError),
        (403, ScopeDeniedError),
        (404, NotFoundError),
        (405, InvalidRequestError),
        (408, ProviderUnavailableError),
        (409, InvalidRequestError),
        (412, VersionConflictError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (429, RateLimitedError),
        (500, ProviderError),
        (502, ProviderError),
        (503, ProviderUnavailableError),
        (504, ProviderError),
    ],
)
def test_status_without_a_readable_body_decides_the_class(status: int, expected: type[OMPError]) -> None:
    error = reply(status, b"<html>").error
    assert type(error) is expected
    assert error.provider == "openai"
    assert f"api.example.com answered {status}" in error.message


def test_message_of_another_api_is_quoted_in_one_short_line() -> None:
    error = reply(400, {"error": {"message": "too\nlong " + "x" * 500, "type": "invalid_request_error"}}).error
    assert error.message.startswith("api.example.com answered 400: too long xxx")
    assert len(error.message) < 260


@pytest.mark.parametrize("body", [{"error": "no such model"}, {"detail": "no such model"}])
def test_message_in_other_places_is_found(body: dict[str, str]) -> None:
    assert reply(404, body).error.message == "api.example.com answered 404: no such model"


@pytest.mark.parametrize("body", [[], "text", {"error": ["x"]}, {"error": {"message": 3}}, {"detail": [{}]}])
def test_strange_json_body_gives_the_bare_status(body: Any) -> None:
    assert reply(500, body).error.message == "api.example.com answered 500"


def test_envelope_of_the_protocol_decides_over_the_status() -> None:
    body = {
        "error": {
            "code": "unsupported_capability",
            "message": "no search",
            "type": "invalid",
            "request_id": "r1",
            "provider": "letta",
        }
    }
    error = reply(405, body, retry_after="3").error
    assert (error.code, error.message, error.request_id, error.provider, error.retry_after) == (
        "unsupported_capability",
        "no search",
        "r1",
        "letta",
        3.0,
    )


def test_body_of_the_same_shape_but_foreign_type_is_not_taken_for_an_envelope() -> None:
    body = {"error": {"code": "invalid_api_key", "message": "no", "type": "invalid_request_error"}}
    assert type(reply(401, body).error) is UnauthorizedError


def test_server_that_quotes_the_key_does_not_get_it_into_any_message() -> None:
    text = f"Incorrect API key provided: {KEY}, sent as Bearer {KEY}"
    foreign = {"error": {"message": text, "type": "invalid_request_error"}}
    envelope = {"error": {"message": text, "code": "unauthorized", "type": "auth"}}
    for status in (400, 401, 403, 429, 500):
        for body in (foreign, envelope):
            error = reply(status, body).error
            assert KEY not in str(error)
            assert KEY not in repr(error)
            assert KEY.encode() not in pickle.dumps(error)
    assert KEY not in repr(ENDPOINT)


def test_key_is_not_cut_in_two_where_a_long_text_ends() -> None:
    quoted = ["x" * (100_000 - cut) + KEY for cut in (0, 1, 7, len(KEY))]
    for text in quoted:
        message = failure_of_reply(ENDPOINT, 400, {}, json.dumps({"message": text}).encode(), NOW).error.message
        assert message == f"api.example.com answered 400: {'x' * 200}"
    spaced = [" " * (100_000 - cut) + KEY for cut in (0, 1, 7, len(KEY))]
    for text in spaced:
        message = reply(400, {"message": text}).error.message
        assert message in ("api.example.com answered 400", "api.example.com answered 400: ***")
    bare = Endpoint.of("https://api.example.com", {}, None)
    body = json.dumps({"message": " " * 99_999 + "no more"}).encode()
    assert failure_of_reply(bare, 400, {}, body, NOW).error.message == "api.example.com answered 400: n"


def test_signs_that_are_not_printed_are_left_out() -> None:
    assert reply(400, {"message": "a\x1b[31mb\u202ec"}).error.message == "api.example.com answered 400: a [31mb c"


def test_reply_of_more_values_than_one_may_hold_is_refused() -> None:
    with pytest.raises(ProviderError) as caught:
        decode_json(ENDPOINT, b"[" + b"[]," * 1_000_000 + b"[]]")
    assert caught.value.message == "api.example.com answered more values than a reply may hold"
    assert caught.value.provider == "openai"


def test_request_id_of_the_reply_is_kept() -> None:
    assert reply(500, x_request_id="abc").error.request_id == "abc"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("Fri, 20 Nov 2026 12:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 12:00:30 -0000", 30.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("9" * 40, None),
        ("Fri, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_junk_ignored(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_date_of_a_reply_is_counted_from_its_time() -> None:
    assert reply(503, retry_after="Fri, 20 Nov 2026 12:00:30 GMT").error.retry_after == 30.0


def test_empty_success_is_none_and_text_is_an_error() -> None:
    assert decode_json(ENDPOINT, b" ") is None
    assert decode_json(ENDPOINT, b'{"a": [1, 2.5]}') == {"a": [1, 2.5]}
    with pytest.raises(ProviderError, match=r"api\.example\.com answered something that is not JSON"):
        decode_json(ENDPOINT, b"<html>")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "http://",
        "http://user:hunter2@example.com",
        "http://example.com?key=1",
        "http://example.com#x",
        "http://exa mple.com",
        "http://example.com:99999",
        "http://[::1",
    ],
)
def test_address_that_is_no_plain_web_address_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Endpoint.of(url, {}, None)
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("value", ["", "Bearer a\nb", "Bearer ä", "Bearer x\r\nX-Evil: 1", "Bearer x "])
def test_header_that_cannot_be_sent_is_refused_without_quoting_it(value: str) -> None:
    with pytest.raises(InvalidRequestError, match="Authorization") as caught:
        Endpoint.of("https://example.com", {"Authorization": value}, None)
    assert "Bearer" not in caught.value.message


def test_server_name_holds_host_and_port_only() -> None:
    assert Endpoint.of("http://localhost:8080/deep/path", {}, None).server == "localhost:8080"


def test_envelope_of_an_error_is_taken_over_whole() -> None:
    inner = {
        "code": "not_found",
        "type": "not_found",
        "message": "no  such\nmemory",
        "provider": "sqlite",
        "request_id": "req-1",
        "details": {"id": "a"},
    }
    error = reply(404, {"error": inner}, retry_after="7").error
    assert type(error) is NotFoundError
    assert (error.message, error.request_id, error.details) == ("no such memory", "req-1", {"id": "a"})
    assert error.retry_after == 7.0


def test_details_that_quote_a_key_or_are_large_go_nowhere() -> None:
    inner = {"code": "invalid_request", "type": "invalid", "message": "no"}
    assert reply(400, {"error": {**inner, "details": {"at": f"key {KEY}"}}}).error.details is None
    assert reply(400, {"error": {**inner, "details": {"at": "a" * 16_384}}}).error.details is None
    assert reply(400, {"error": {**inner, "details": {"at": "a"}}}).error.details == {"at": "a"}


def test_texts_of_an_envelope_have_a_longest_form() -> None:
    inner = {"code": "invalid_request", "type": "invalid", "message": "m" * 2_000, "provider": "p" * 2_000}
    error = reply(400, {"error": inner}).error
    assert error.message == "m" * 1_000
    assert len(reply(400, {"message": "m" * 2_000}).error.message) == len("api.example.com answered 400: ") + 200


@pytest.mark.parametrize("spoilt", [{"code": "no such code!"}, {"code": 7}, {"type": "other"}, {"code": KEY}])
def test_envelope_with_a_strange_code_is_none(spoilt: dict[str, Any]) -> None:
    error = reply(404, {"error": {"code": "c", "type": "not_found", "message": "m", **spoilt}}).error
    assert error.details == {"status": 404}


def test_request_id_that_is_none_is_left_out() -> None:
    inner = {"code": "not_found", "type": "not_found", "message": "m", "request_id": "a b"}
    assert reply(404, {"error": inner}).error.request_id is None
    assert reply(404, None, x_request_id="a b").error.request_id is None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_json_has_no_such_numbers(number: str) -> None:
    with pytest.raises(ProviderError, match="answered something that is not JSON") as caught:
        decode_json(ENDPOINT, f'{{"a": {number}}}'.encode())
    assert caught.value.provider == "openai"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://a", "base_url must be an address that starts with http:// or https://"),
        ("https://a,b", "base_url must be an address that starts with http:// or https://"),
        ("https://a/b c", "base_url must be an address that starts with http:// or https://"),
        ("https://", "base_url must be an address that starts with http:// or https://"),
        ("https://u@a", "base_url must hold no user name or password; give api_key instead"),
        ("https://:p@a", "base_url must hold no user name or password; give api_key instead"),
        ("https://a?b=c", "base_url must hold no query and no fragment"),
        ("https://a#b", "base_url must hold no query and no fragment"),
    ],
)
def test_address_of_a_service_says_what_is_wrong_with_it(url: str, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_service_url(url)
    assert caught.value.message == message
    with pytest.raises(InvalidRequestError) as renamed:
        check_service_url(url, "OPENAI_BASE_URL")
    assert renamed.value.message == message.replace("base_url", "OPENAI_BASE_URL", 1)


def test_reply_that_limits_a_rate_was_not_acted_on() -> None:
    limited, busy = reply(429, None, retry_after="3"), reply(503)
    assert (limited.status, limited.error.retry_after) == (429, 3.0)
    assert (busy.status, busy.error.retry_after) == (503, None)


@pytest.mark.parametrize(("status", "said"), [(401, True), (403, True), (402, False), (404, False)])
def test_refused_key_is_explained_and_not_quoted(status: int, said: bool) -> None:
    message = reply(status, {"message": "sk-…4711 is wrong"}).error.message
    explained = f"api.example.com answered {status}: the API key is missing, wrong, or not allowed to do this"
    assert message == (explained if said else f"api.example.com answered {status}: sk-…4711 is wrong")


@pytest.mark.parametrize(("status", "said"), [(299, False), (300, True), (399, True), (400, False)])
def test_redirect_that_cannot_be_followed_is_explained(status: int, said: bool) -> None:
    message = "api.example.com answered {}{}".format(status, ": this redirect cannot be followed; check the base_url")
    assert (reply(status).error.message == message) is said


def test_secrets_of_an_endpoint_are_its_keys_longest_first() -> None:
    headers = {"Authorization": "Bearer abcdef", "X-Api-Key": "abcd", "Cookie": "abc", "Accept": "secret"}
    endpoint = Endpoint.of("https://a.test", headers, None)
    assert endpoint.secrets == ("Bearer abcdef", "abcdef", "abcd")
    assert (endpoint.server, endpoint.provider, endpoint.base_url) == ("a.test", None, "https://a.test")
    with pytest.raises(InvalidRequestError) as caught:
        Endpoint.of("https://a.test", {"X-A": "é"}, None)
    assert caught.value.message == "the X-A header or API key holds characters that cannot be sent"
