"""A failure on its way to a client: the envelope `{"error": {code, message, type, …}}`, and the headers with it."""

from __future__ import annotations

import json
import math
from typing import Final

from openmem._protocol.refusals import MethodNotAllowedError
from openmem._protocol.request_heads import Headers
from openmem.errors import OMPError, RateLimitedError

RETRY_AFTER_UNAVAILABLE: Final = 1.0
MAX_RETRY_AFTER: Final = 86_400
"""Seconds that a client is told to wait at most."""
DEFAULT_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Headers of every answer that does not say otherwise."""


def error_body(error: OMPError, request_id: str) -> bytes:
    """Return the envelope of an error, which takes over the id of the request."""
    error.request_id = request_id
    # What ran in a thread holds its error, whose frames hold it in turn, and the request with all that was made of it:
    # the collector would come to it much later, if ever. No one asks for the frames of what is sent as an answer.
    error.__traceback__ = None
    text = json.dumps(error.to_envelope(), allow_nan=False, default=str, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")  # a lone surrogate becomes what JSON writes for it


def error_headers(error: OMPError) -> Headers:
    """Return the headers that belong to the envelope of an error, without its length."""
    headers = [(b"content-type", b"application/json")]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", ", ".join(error.allowed).encode("latin-1", "replace")))
    pause = _pause(error)
    if pause is not None:
        headers.append((b"retry-after", b"%d" % pause))
    return headers


def _pause(error: OMPError) -> int | None:
    """Return whole seconds, from 1 to a day, if the client should wait."""
    if error.retry_after is not None and math.isfinite(error.retry_after):
        return math.ceil(min(max(1.0, error.retry_after), MAX_RETRY_AFTER))
    if isinstance(error, RateLimitedError) or error.http_status == 503:
        return math.ceil(RETRY_AFTER_UNAVAILABLE)
    return None
