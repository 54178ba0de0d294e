"""The error tree: codes, statuses, envelopes and pickling."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import errors
from openmem.errors import (
    STATUS_OF_CODE,
    AlreadyExistsError,
    DeadlineExceededError,
    IdempotencyConflictError,
    IngestionTimeoutError,
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

TABLE: list[tuple[type[OMPError], str, str, int]] = [
    (UnauthorizedError, "unauthorized", "auth", 401),
    (ScopeDeniedError, "scope_denied", "auth", 403),
    (NotFoundError, "not_found", "not_found", 404),
    (InvalidRequestError, "invalid_request", "invalid", 400),
    (UnsupportedProviderError, "invalid_request", "invalid", 400),
    (RateLimitedError, "rate_limited", "rate_limited", 429),
    (UnsupportedCapabilityError, "unsupported_capability", "invalid", 405),
    (VersionConflictError, "version_conflict", "invalid", 412),
    (AlreadyExistsError, "already_exists", "invalid", 409),
    (IdempotencyConflictError, "idempotency_conflict", "invalid", 409),
    (ProviderError, "provider_error", "provider_error", 502),
    (ProviderUnavailableError, "provider_unavailable", "provider_error", 503),
    (IngestionTimeoutError, "ingestion_timeout", "provider_error", 504),
    (DeadlineExceededError, "deadline_exceeded", "provider_error", 504),
]
CLASSES = [row[0] for row in TABLE]


def full(cls: type[OMPError]) -> OMPError:
    error = cls("it broke", provider="sqlite", request_id="r1", retry_after=1.5, details={"index": 3})
    error.__cause__ = KeyError("driver")
    return error


def test_table_names_every_class() -> None:
    found = {cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, OMPError)}
    assert found == {OMPError, *CLASSES}


@pytest.mark.parametrize(("cls", "code", "category", "status"), TABLE)
def test_class_has_its_code_type_and_status(cls: type[OMPError], code: str, category: str, status: int) -> None:
    error = cls("message")
    assert (error.code, error.type, error.http_status) == (code, category, status)
    assert str(error) == error.message == "message"
    assert isinstance(error, OMPError)


@pytest.mark.parametrize("cls", [DeadlineExceededError, IngestionTimeoutError, ProviderUnavailableError])
def test_failures_of_the_backend_are_provider_errors(cls: type[OMPError]) -> None:
    assert issubclass(cls, ProviderError)


@pytest.mark.parametrize("cls", CLASSES)
def test_envelope_comes_back_as_the_same_class(cls: type[OMPError]) -> None:
    envelope = full(cls).to_envelope()
    error = OMPError.from_response_dict(envelope, retry_after=1.5)
    assert type(error) is (InvalidRequestError if cls is UnsupportedProviderError else cls)
    assert error.to_envelope() == envelope
    assert error.retry_after == 1.5
    assert type(OMPError.from_response_dict(envelope["error"])) is type(error)


def test_envelope_leaves_out_what_is_not_known() -> None:
    assert NotFoundError("gone").to_envelope() == {
        "error": {"code": "not_found", "message": "gone", "type": "not_found"}
    }


def test_unknown_code_is_kept_in_a_provider_error() -> None:
    error = OMPError.from_response_dict({"error": {"code": "teapot", "message": "m", "type": "odd"}}, provider="p")
    assert type(error) is ProviderError
    assert (error.code, error.type, error.provider) == ("teapot", "odd", "p")


def test_body_that_is_too_large_is_the_callers_mistake() -> None:
    error = OMPError.from_response_dict({"error": {"code": "payload_too_large", "message": "m", "type": "invalid"}})
    assert type(error) is InvalidRequestError
    assert error.code == "payload_too_large"


def test_providers_own_name_wins_over_the_callers() -> None:
    assert OMPError.from_response_dict({"code": "not_found", "provider": "mem0"}, provider="p").provider == "mem0"


@pytest.mark.parametrize("payload", [None, "text", 5, [], [{"error": 1}], {"error": "text"}, {"error": None}, {}])
def test_junk_becomes_a_provider_error(payload: object) -> None:
    error = OMPError.from_response_dict(payload, provider="p")
    assert type(error) is ProviderError
    assert (error.code, error.provider) == ("provider_error", "p")
    assert error.message


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "type", "provider", "request_id", "details"]), inner
        )
    ),
    max_leaves=8,
)


@given(JUNK)
def test_any_payload_makes_an_error_with_text_in_it(payload: object) -> None:
    error = OMPError.from_response_dict(payload)
    assert isinstance(error, OMPError)
    for value in (error.code, error.type, error.message):
        assert isinstance(value, str)
        assert value
    error.to_envelope()


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_everything(cls: type[OMPError], protocol: int) -> None:
    error = full(cls)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is cls
    assert vars(again) == vars(error)
    assert str(again) == "it broke"
    assert isinstance(again.__cause__, KeyError)
    assert again.__cause__.args == ("driver",)


class HoldsALock(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class WantsMore(Exception):
    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(f"{message} in line {line}")


@pytest.mark.parametrize("cause", [HoldsALock("no room"), WantsMore("no room", line=3)], ids=type)
def test_cause_that_cannot_be_pickled_travels_as_its_words(cause: Exception) -> None:
    error = ProviderError("it broke", provider="sqlite")
    error.__cause__ = cause
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.provider) == ("it broke", "sqlite")
    assert str(again.__cause__) == f"{type(cause).__name__}: {cause}"
    assert error.__cause__ is cause


def test_copy_keeps_a_code_of_its_own() -> None:
    error = copy.copy(ProviderError("m", code="teapot", type="odd"))
    assert (error.code, error.type) == ("teapot", "odd")


def _classes(cls: type[OMPError]) -> Iterator[type[OMPError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _classes(sub)


def test_each_class_has_the_status_of_its_code() -> None:

    for cls in _classes(OMPError):
        if "code" in vars(cls) and cls is not OMPError and cls.__module__.startswith("openmem."):
            assert STATUS_OF_CODE[cls.code] == cls.http_status, cls


@pytest.mark.parametrize("code", STATUS_OF_CODE)
def test_status_follows_the_code_and_survives_the_wire(code: str) -> None:
    error = ProviderError("no", code=code)
    assert error.http_status == STATUS_OF_CODE[code]
    again = OMPError.from_response_dict(error.to_envelope())
    assert (again.code, again.http_status) == (code, STATUS_OF_CODE[code])
    assert pickle.loads(pickle.dumps(error)).http_status == STATUS_OF_CODE[code]


def test_unknown_code_has_the_status_of_the_class() -> None:
    assert ProviderError("no", code="made_up").http_status == 502
    assert NotFoundError("no", code="made_up").http_status == 404
