"""One error tree. Every failure of a verb is an `OMPError`; a driver's own exception is its `__cause__`.

    OMPError
    ├── UnauthorizedError              unauthorized             401
    ├── ScopeDeniedError               scope_denied             403
    ├── NotFoundError                  not_found                404
    ├── InvalidRequestError            invalid_request          400
    │   └── UnsupportedProviderError   invalid_request          400
    ├── UnsupportedCapabilityError     unsupported_capability   405
    ├── VersionConflictError           version_conflict         412
    ├── AlreadyExistsError             already_exists           409
    ├── IdempotencyConflictError       idempotency_conflict     409
    ├── RateLimitedError               rate_limited             429
    └── ProviderError                  provider_error           502
        ├── ProviderUnavailableError   provider_unavailable     503
        ├── DeadlineExceededError      deadline_exceeded        504
        └── IngestionTimeoutError      ingestion_timeout        504

Codes, types and statuses are those of the OMP wire protocol; `version_conflict`, `already_exists`,
`idempotency_conflict` and `deadline_exceeded` are additions, which older clients read as an unknown code and so as
`ProviderError`.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, Final, TypeVar

# fmt: off
__all__ = [
    "STATUS_OF_CODE", "AlreadyExistsError", "DeadlineExceededError", "IdempotencyConflictError",
    "IngestionTimeoutError", "InvalidRequestError", "NotFoundError", "OMPError", "ProviderError",
    "ProviderUnavailableError", "RateLimitedError", "ScopeDeniedError", "UnauthorizedError",
    "UnsupportedCapabilityError", "UnsupportedProviderError", "VersionConflictError", "no_store",
]
# fmt: on

_E = TypeVar("_E", bound="OMPError")

STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "invalid_request": 400,
    "unauthorized": 401,
    "scope_denied": 403,
    "not_found": 404,
    "unsupported_capability": 405,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "already_exists": 409,
    "idempotency_conflict": 409,
    "version_conflict": 412,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "rate_limited": 429,
    "header_too_large": 431,
    "internal_error": 500,
    "provider_error": 502,
    "provider_unavailable": 503,
    "unavailable": 503,
    "overloaded": 503,
    "deadline_exceeded": 504,
    "ingestion_timeout": 504,
    "timeout": 504,
}
"""The HTTP status of each code. One that is not here has the status of the error's class."""


class OMPError(Exception):
    """Root of the tree.

    Args:
        message: What went wrong and, where possible, what to do. Never holds a secret.
        provider: Name of the provider that failed, if one was involved.
        request_id: The id under which logs and the audit log know the call.
        code: Canonical code; defaults to that of the class.
        type: Category; defaults to that of the class.
        retry_after: Seconds to wait before trying again, if the provider said so.
        details: Further facts for programs, such as the index of a bad item.

    Attributes:
        place: Where the store is, as a file or an address without secrets, if a store was asked. It is for the
            program's own user: no server hands it on.
    """

    place: str | None = None
    code: str = "provider_error"
    type: str = "provider_error"
    http_status: int = 500

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        request_id: str | None = None,
        code: str | None = None,
        type: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.request_id = request_id
        self.code = code or self.__class__.code
        if self.code != self.__class__.code:
            # An error of a general class may carry the code of a special one, or of a server.
            self.http_status = STATUS_OF_CODE.get(self.code, self.__class__.http_status)
        self.type = type or self.__class__.type
        self.retry_after = retry_after
        self.details = dict(details) if details else None

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by calling the class with `args`; keyword-only state must travel beside it.
        return _restore, (self.__class__, self.message, self.__dict__.copy(), _portable(self.__cause__))

    def to_envelope(self) -> dict[str, dict[str, Any]]:
        """Return the error as the body every OMP server sends: `{"error": {code, message, type, …}}`."""
        error = {
            "code": self.code,
            "message": self.message,
            "type": self.type,
            "provider": self.provider,
            "request_id": self.request_id,
            "details": self.details,
        }
        return {"error": {name: value for name, value in error.items() if value is not None}}

    @staticmethod
    def from_response_dict(payload: Any, provider: str | None = None, *, retry_after: float | None = None) -> OMPError:
        """Build the error that a server's body describes.

        Args:
            payload: The envelope, or the object inside it. Anything else becomes a `ProviderError`.
            provider: Name to use when the body names none.
            retry_after: Seconds from the reply's `Retry-After` header.

        Returns:
            An instance of the class that owns the code; an unknown code gives a `ProviderError` that keeps it. A
            body that is too large is an `InvalidRequestError`.
        """
        inner = payload.get("error", payload) if isinstance(payload, Mapping) else None
        if not isinstance(inner, Mapping):
            return ProviderError("the server's error has no readable body", provider=provider)
        code = _text(inner.get("code"))
        cls = _CLASS_OF_CODE.get(code or "", ProviderError)
        details = inner.get("details")
        return cls(
            _text(inner.get("message")) or "the server gave no message",
            provider=_text(inner.get("provider")) or provider,
            request_id=_text(inner.get("request_id")),
            code=code,
            type=_text(inner.get("type")),
            retry_after=retry_after,
            details=details if isinstance(details, Mapping) else None,
        )


class UnauthorizedError(OMPError):
    """The credentials are missing or wrong."""

    code, type, http_status = "unauthorized", "auth", 401


class ScopeDeniedError(OMPError):
    """The caller's grants do not cover the scope."""

    code, type, http_status = "scope_denied", "auth", 403


class NotFoundError(OMPError):
    """No such memory, or it belongs to another user: the two cannot be told apart."""

    code, type, http_status = "not_found", "not_found", 404


class InvalidRequestError(OMPError, ValueError):
    """An argument breaks the contract. Raised before the backend is touched. It is a `ValueError`, too."""

    code, type, http_status = "invalid_request", "invalid", 400


class UnsupportedProviderError(InvalidRequestError):
    """No provider of that name is built in or installed."""


class UnsupportedCapabilityError(OMPError):
    """The provider cannot do this; `capabilities()` says what it can."""

    code, type, http_status = "unsupported_capability", "invalid", 405


class VersionConflictError(OMPError):
    """The memory is no longer at the version that `if_version` named, or there is none."""

    code, type, http_status = "version_conflict", "invalid", 412


class AlreadyExistsError(OMPError):
    """A memory has the key that `if_absent` wanted to be free; `details` holds its `id` and its `version`."""

    code, type, http_status = "already_exists", "invalid", 409


class IdempotencyConflictError(OMPError):
    """The idempotency key was used before, for another request."""

    code, type, http_status = "idempotency_conflict", "invalid", 409


class RateLimitedError(OMPError):
    """Too many requests; `retry_after` says how long to wait, when known."""

    code, type, http_status = "rate_limited", "rate_limited", 429


class ProviderError(OMPError):
    """The backend failed; its own exception is the `__cause__`."""

    code, type, http_status = "provider_error", "provider_error", 502


class ProviderUnavailableError(ProviderError):
    """The backend cannot be reached, is busy, or has no free connection."""

    code, http_status = "provider_unavailable", 503


class DeadlineExceededError(ProviderError):
    """The call took longer than its `timeout`."""

    code, http_status = "deadline_exceeded", 504


class IngestionTimeoutError(ProviderError):
    """A memory was accepted, but did not become searchable in time."""

    code, http_status = "ingestion_timeout", 504


_CLASS_OF_CODE: dict[str, type[OMPError]] = {
    cls.code: cls
    for cls in (
        UnauthorizedError,
        ScopeDeniedError,
        NotFoundError,
        InvalidRequestError,
        UnsupportedCapabilityError,
        VersionConflictError,
        AlreadyExistsError,
        IdempotencyConflictError,
        RateLimitedError,
        ProviderError,
        ProviderUnavailableError,
        DeadlineExceededError,
        IngestionTimeoutError,
    )
}
_CLASS_OF_CODE["payload_too_large"] = InvalidRequestError


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _portable(cause: BaseException | None) -> BaseException | None:
    # A driver's exception may hold a lock or a connection, or want arguments that it does not keep.
    try:
        pickle.loads(pickle.dumps(cause))
    except Exception:  # noqa: BLE001 - whatever stands in its way, its words can travel
        return RuntimeError(f"{type(cause).__name__}: {cause}")
    return cause


def _restore(cls: type[_E], message: str, state: dict[str, Any], cause: BaseException | None) -> _E:
    error = cls(message)
    error.__dict__.update(state)
    error.__cause__ = cause
    return error


def no_store(provider: str, where: str) -> ProviderUnavailableError:
    """Return the error for a store that is not there and was not to be made."""
    return ProviderUnavailableError(f"there is no store {where}", provider=provider, details={"missing": "store"})
