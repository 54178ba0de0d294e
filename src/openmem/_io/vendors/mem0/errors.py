"""Errors of mem0's SDK, of its stores and of its HTTP library as ours. No text of theirs is passed on."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import httpx

from openmem._emulation.failures import error_of_status
from openmem._io.http.exchange import Quiet
from openmem._io.vendors.call_deadline import time_left
from openmem._io.vendors.sdk_errors import own_error
from openmem.errors import (
    DeadlineExceededError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    UnsupportedCapabilityError,
)

P = ParamSpec("P")
T = TypeVar("T")

NAME = "mem0"


def ask(request: Callable[[], T]) -> T:
    """Return what a function of the SDK returns; what it raises becomes an `OMPError` without a word of the request."""
    try:
        with Quiet():  # addresses hold user ids
            return request()
    except OMPError:
        raise
    except Exception as error:  # noqa: BLE001 - stores raise exceptions of their own drivers
        failure = error_of(error)
    raise failure  # out here it has no context, which would hold the SDK's own exception


def understood(method: Callable[P, T]) -> Callable[P, T]:
    """Have a method raise an `OMPError` where a reply lacks what it needs: the SDK checks no reply."""

    @functools.wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        return ask(lambda: method(*args, **kwargs))

    return asked


def error_of(error: Exception) -> OMPError:
    """Return the error of ours for one of the SDK. Its cause names the other's class, and nothing more."""
    found = _kind_of(error)
    # The SDK's own exception carries the request, key and all, wherever it is pickled or logged.
    found.__cause__ = RuntimeError(type(error).__name__)
    return found


def _kind_of(error: Exception) -> OMPError:
    if (own := own_error(error)) is not None:
        return own
    names = {kind.__name__ for kind in type(error).__mro__}
    status = _status_of(error)
    if status is not None:
        return error_of_status(NAME, status, _retry_after(error))
    if names & {"TimeoutException", "PoolTimeout"} or getattr(error, "error_code", "") == "NET_TIMEOUT":
        return _late() or ProviderUnavailableError("mem0 did not answer in time", provider=NAME)
    if names & {"NetworkError", "RequestError", "ConnectionError", "OperationalError", "ResponseHandlingException"}:
        return ProviderUnavailableError("mem0 or its store cannot be reached", provider=NAME)
    if isinstance(error, json.JSONDecodeError):
        return ProviderError("mem0 gave a reply that is no JSON", provider=NAME)
    if isinstance(error, ValueError) and "not found" in str(error):
        return NotFoundError("the memory is gone", provider=NAME)
    if isinstance(error, NotImplementedError):
        return UnsupportedCapabilityError("the store behind mem0 cannot do this", provider=NAME)
    if isinstance(error, AttributeError | TypeError | LookupError | ValueError):
        return ProviderError("mem0 gave a reply of another form than agreed", provider=NAME)
    return ProviderError(f"mem0 failed: {type(error).__name__}", provider=NAME)


def _late() -> DeadlineExceededError | None:
    try:
        time_left()
    except DeadlineExceededError as error:
        return error
    return None


def _status_of(error: Exception) -> int | None:
    info = getattr(error, "debug_info", None)
    if isinstance(info, dict) and isinstance(info.get("status_code"), int):
        return int(info["status_code"])
    # The constructor wraps a reply into a ValueError.
    for each in (error, error.__context__):
        if isinstance(each, httpx.HTTPStatusError):
            return each.response.status_code
    return None


def _retry_after(error: Exception) -> float | None:
    info = getattr(error, "debug_info", None) or {}
    value = info.get("retry_after")
    return float(value) if isinstance(value, int | float) else None
