"""The errors of a server that no verb raises: it refused the request, or failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openmem.errors import InvalidRequestError, NotFoundError, OMPError, ProviderUnavailableError


class RefusedError(OMPError):
    """The request breaks a rule of the server; no verb saw it."""

    type = "invalid"


class TooLargeError(RefusedError):
    """The body, or a line of it, is too large."""

    code, http_status = "payload_too_large", 413


class UnsupportedMediaError(RefusedError):
    """The body is encoded in a way that the server does not read."""

    code, http_status = "unsupported_media_type", 415


class HeaderTooLargeError(RefusedError):
    """The head of the request is too large."""

    code, http_status = "header_too_large", 431


class SlowRequestError(RefusedError):
    """The request did not arrive in time."""

    code, http_status = "request_timeout", 408


class ForeignPageError(RefusedError):
    """A web page of another site asks a server that has no keys."""

    code, type, http_status = "scope_denied", "auth", 403


class OverloadedError(ProviderUnavailableError):
    """The server has enough to do, or is about to stop."""

    code = "overloaded"


class InternalError(OMPError):
    """Something went wrong that no one foresaw; the log has it."""

    code, type, http_status = "internal_error", "provider_error", 500

    def __init__(self, message: str = "internal server error", **more: Any) -> None:
        super().__init__(message, **more)


class MethodNotAllowedError(InvalidRequestError):
    """The path is there, the method is not; `allowed` says which are."""

    code, http_status = "method_not_allowed", 405

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(f"this path answers {', '.join(self.allowed)} only")


def unknown_route() -> NotFoundError:
    """Return the error for a path that the server does not know."""
    return NotFoundError("there is no such route")
