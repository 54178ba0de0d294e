"""Errors of an SDK that speaks HTTP as ours, without a word of the request, and requests that are made again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar

from openmem._emulation.failures import error_of_status
from openmem._io.concurrency.retrying import repeat
from openmem._io.http.exchange import Quiet
from openmem._io.vendors.call_deadline import call_deadline, call_retry, time_left
from openmem._model.retry import FailedAttempt
from openmem._protocol.http_errors import parse_retry_after
from openmem.errors import DeadlineExceededError, OMPError, ProviderError, ProviderUnavailableError

P = ParamSpec("P")
T = TypeVar("T")


class SdkErrors:
    """Calls functions of an SDK.

    Args:
        name: The provider, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def ask(self, request: Callable[[], T]) -> T:
        """Return what a function returns; what it raises becomes an `OMPError` without a word of the request."""
        try:
            with Quiet():  # addresses hold user ids
                return request()
        except OMPError:
            raise
        except Exception as error:  # noqa: BLE001 - replies of another form fail in any way
            failure = self._kind_of(error)
            # The SDK's own exception carries the request, key and all, wherever it is pickled or logged.
            failure.__cause__ = RuntimeError(type(error).__name__)
        raise failure  # out here it has no context, which would hold the SDK's own exception

    def ask_again(self, request: Callable[[], T]) -> T:
        """Make a request that may be made more than once, and make it again if it failed for a passing reason."""
        return repeat_request(partial(self.ask, request))

    def understood(self, method: Callable[P, T]) -> Callable[P, T]:
        """Have a method raise an `OMPError` where a reply lacks what it needs: such SDKs check no reply."""

        @functools.wraps(method)
        def asked(*args: P.args, **kwargs: P.kwargs) -> T:
            return self.ask(lambda: method(*args, **kwargs))

        return asked

    def _kind_of(self, error: Exception) -> OMPError:
        name = self._name
        # 1. An error of ours that came up in our transport.
        if (own := own_error(error)) is not None:
            return own
        names = {kind.__name__ for kind in type(error).__mro__}
        # 2. A reply with a status.
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and status >= 300:
            return error_of_status(name, status, _retry_after(error) if status in (429, 503) else None)
        # 3. No reply: too late, or no connection.
        if names & {"APITimeoutError", "TimeoutException"}:
            return _late() or ProviderUnavailableError(f"{name} did not answer in time", provider=name)
        if names & {"APIConnectionError", "TransportError"}:
            return ProviderUnavailableError(f"{name} cannot be reached", provider=name)
        # 4. A reply that cannot be read, which shows in many ways, as SDKs check nothing.
        if status is not None or isinstance(error, ValueError):
            return ProviderError(f"{name} gave a reply that is no JSON", provider=name)
        if isinstance(error, AttributeError | TypeError | LookupError):
            return ProviderError(f"{name} gave a reply of another form than agreed", provider=name)
        return ProviderError(f"{name} failed: {type(error).__name__}", provider=name)


def own_error(error: BaseException) -> OMPError | None:
    """Return the error of ours that an SDK met in the client it was given and wrapped into one of its own."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None or isinstance(seen, OMPError):
            return seen
        seen = seen.__cause__  # not the context, which is whatever was being handled at the time
    return None


def repeat_request(request: Callable[[], T]) -> T:
    """Make a request that may be made more than once, and make it again as the policy of the worker's call says.

    Args:
        request: Makes it once; it raises nothing but `OMPError`.
    """

    def attempt() -> T | FailedAttempt:
        try:
            return request()
        except OMPError as error:
            return failed_attempt(error)

    return repeat(attempt, call_retry(), call_deadline(), repeatable=True)


def failed_attempt(error: OMPError) -> FailedAttempt:
    """Return what an error says of the attempt that it ended."""
    status = (error.details or {}).get("status")
    return FailedAttempt(error, status, passing=error.code == "provider_unavailable")


def _late() -> DeadlineExceededError | None:
    try:
        time_left()
    except DeadlineExceededError as error:
        return error
    return None


def _retry_after(error: Exception) -> float | None:
    headers = getattr(error, "headers", None) or getattr(getattr(error, "response", None), "headers", None)
    if not isinstance(headers, Mapping):
        return None
    values = {str(name).lower(): str(value) for name, value in headers.items()}
    return parse_retry_after(values.get("retry-after"), datetime.now(UTC))
