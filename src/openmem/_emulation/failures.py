"""Maps the status of a service's reply to an error, in messages that hold nothing of the request."""

from __future__ import annotations

from typing import Final

from openmem.errors import (
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
    RateLimitedError,
    ScopeDeniedError,
    UnauthorizedError,
)

_MEANINGS: Final[dict[int, tuple[type[OMPError], str]]] = {
    400: (InvalidRequestError, "refused the request as invalid"),
    401: (UnauthorizedError, "does not accept the API key"),
    402: (ProviderError, "wants payment: the quota of the account is used up"),
    403: (ScopeDeniedError, "does not allow this to the API key"),
    404: (NotFoundError, "has no such thing"),
    408: (ProviderUnavailableError, "gave up waiting"),
    409: (ProviderError, "reports a conflict with another write"),
    413: (ProviderError, "finds it too large, or the quota of the account is used up"),
    422: (InvalidRequestError, "refused the request as invalid"),
    429: (RateLimitedError, "got too many requests"),
    502: (ProviderUnavailableError, "cannot be reached"),
    503: (ProviderUnavailableError, "is not available"),
    504: (ProviderUnavailableError, "did not answer in time"),
}


def error_of_status(provider: str, status: int, retry_after: float | None = None) -> OMPError:
    """Return the error for a reply that was no success.

    Args:
        provider: Who replied.
        status: The HTTP status.
        retry_after: Seconds to wait, if the reply says so.
    """
    kind, meaning = _MEANINGS.get(status, (ProviderError, "failed"))
    return kind(
        f"{provider} {meaning} (status {status})",
        provider=provider,
        retry_after=retry_after,
        details={"status": status},
    )


def is_refusal(error: OMPError) -> bool:
    """Return whether a failed write changed nothing for certain."""
    status = (error.details or {}).get("status")
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 409, 429)
