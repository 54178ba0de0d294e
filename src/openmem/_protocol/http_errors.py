"""The meaning of a reply over HTTP: which error it is, and how long it asks to wait. Pure."""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from openmem._model.retry import FailedAttempt
from openmem._model.urls import parse_url
from openmem._protocol.json_size import MOST_OF_A_REPLY, is_larger_than
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

MESSAGE_LIMIT: Final = 200
ENVELOPE_LIMIT: Final = 1_000
SECRET_HEADER: Final = re.compile(r"auth|(?<!idempotency-)key|token|cookie", re.IGNORECASE)
"""Names of headers that hold secrets."""

_LONGEST_DATE: Final = 64
_LONGEST_DETAILS: Final = 16_384
TOO_MUCH: Final = "more values than a reply may hold"
_LONGEST_MESSAGE: Final = 100_000
_LONGEST_ERROR: Final = 1_048_576
_WORD: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_ENVELOPE_TYPES: Final = frozenset({"auth", "not_found", "invalid", "rate_limited", "provider_error"})
_CLASS_OF_STATUS: Final[dict[int, type[OMPError]]] = {
    401: UnauthorizedError,
    403: ScopeDeniedError,
    404: NotFoundError,
    408: ProviderUnavailableError,
    412: VersionConflictError,
    429: RateLimitedError,
    503: ProviderUnavailableError,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and how to speak of it: `server` is host and port only, `secrets` never reach a message."""

    base_url: str
    server: str
    provider: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, base_url: str, headers: Mapping[str, str], provider: str | None) -> Endpoint:
        """Check an address and the headers sent to it.

        Raises:
            InvalidRequestError: The address is not plain http or https, or a header cannot be sent.
        """
        server = check_service_url(base_url)
        for name, value in headers.items():
            if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", value):
                raise InvalidRequestError(f"the {name} header or API key holds characters that cannot be sent")
        return cls(base_url, server, provider, _secrets_of(headers))


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for: a number or an HTTP date; junk is `None`."""
    text = (value or "").strip()
    if len(text) > _LONGEST_DATE:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):  # the parser of the library trusts its input
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    seconds = (at - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def failure_of_reply(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: bytes, now: datetime
) -> FailedAttempt:
    """Return the failed attempt that a reply outside 200-299 stands for.

    Args:
        endpoint: Who was asked.
        status: The HTTP status.
        headers: The reply's headers, names in lower case or in a case-insensitive mapping.
        body: The reply's body; an OMP error envelope in it decides the class of the error.
        now: The present time, for a `Retry-After` date.
    """
    retry_after = parse_retry_after(headers.get("retry-after"), now)
    error = _from_envelope(endpoint, body, retry_after)
    if error is None:
        error = _from_status(endpoint, status, body, retry_after, headers.get("x-request-id"))
    return FailedAttempt(error, status)


def decode_json(endpoint: Endpoint, body: bytes) -> Any:
    """Return what a successful reply says; an empty body is `None`.

    Raises:
        ProviderError: The body is not JSON.
    """
    if not body.strip():
        return None
    if is_larger_than(body, MOST_OF_A_REPLY):
        raise ProviderError(f"{endpoint.server} answered {TOO_MUCH}", provider=endpoint.provider)
    try:
        return parse_json(body)
    except ValueError:
        message = f"{endpoint.server} answered something that is not JSON"
        raise ProviderError(message, provider=endpoint.provider) from None


def parse_json(body: bytes) -> Any:
    """Return what JSON in UTF-8 says. Numbers must be finite as far as they are words; of equal names the last counts.

    Raises:
        ValueError: It is no JSON, is nested more than 200 deep, holds a lone surrogate or a number of more than
            4,300 digits, or would take much memory.
    """
    if is_larger_than(body, MOST_OF_A_REPLY):
        raise ValueError(TOO_MUCH)
    # Several times as fast as the json module on long lists of numbers, which hold up everything else.
    from pydantic_core import from_json

    return from_json(body, allow_inf_nan=False)


def _from_envelope(endpoint: Endpoint, body: bytes, retry_after: float | None) -> OMPError | None:
    inner = _inner_error(body)
    kind, code = (
        (_word(endpoint, inner.get(name)) for name in ("type", "code")) if isinstance(inner, dict) else (None,) * 2
    )
    # Other APIs use the same outer shape; only the protocol's own categories make it an envelope.
    if not isinstance(inner, dict) or kind not in _ENVELOPE_TYPES or code is None:
        return None
    details = inner.get("details")
    # Details may be anything; what is large is none, and what quotes a key goes nowhere.
    told = len(body) > _LONGEST_DETAILS or any(secret in str(details) for secret in endpoint.secrets)
    payload = {
        "code": code,
        "type": kind,
        "message": _clean(endpoint, inner.get("message"), ENVELOPE_LIMIT),
        "provider": _clean(endpoint, inner.get("provider"), MESSAGE_LIMIT),
        "request_id": _word(endpoint, inner.get("request_id")),
        "details": None if told else details,
    }
    return OMPError.from_response_dict(payload, endpoint.provider, retry_after=retry_after)


def _from_status(
    endpoint: Endpoint, status: int, body: bytes, retry_after: float | None, request_id: str | None
) -> OMPError:
    cls = _CLASS_OF_STATUS.get(status) or (InvalidRequestError if 400 <= status < 500 else ProviderError)
    return cls(
        f"{endpoint.server} answered {status}{_explain(endpoint, status, body)}",
        provider=endpoint.provider,
        request_id=_word(endpoint, request_id),
        retry_after=retry_after,
        details={"status": status},
    )


def _explain(endpoint: Endpoint, status: int, body: bytes) -> str:
    if status in (401, 403):
        # Such messages like to quote the key, sometimes shortened so that it cannot be recognised.
        return ": the API key is missing, wrong, or not allowed to do this"
    if 300 <= status < 400:
        return ": this redirect cannot be followed; check the base_url"
    inner = _inner_error(body)
    text = _clean(endpoint, inner.get("message") if isinstance(inner, dict) else inner)
    return f": {text}" if text else ""


def _inner_error(body: bytes) -> Any:
    if len(body) > _LONGEST_ERROR:  # no failure needs so long a description, and to read it would take long
        return None
    try:
        payload = parse_json(body)
    except ValueError:
        return None
    if not isinstance(payload, dict):
        return None
    return payload.get("error") or payload.get("message") or payload.get("detail")


def _clean(endpoint: Endpoint, text: Any, limit: int = MESSAGE_LIMIT) -> str:
    if not isinstance(text, str):
        return ""
    if len(text) > _LONGEST_MESSAGE:
        # A key must not be cut in two, for then it is not recognised.
        text = text[: _LONGEST_MESSAGE - max(map(len, endpoint.secrets), default=0)]
    for secret in endpoint.secrets:
        text = text.replace(secret, "***")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit]


def _word(endpoint: Endpoint, value: Any) -> str | None:
    """Return an id or a code, or `None` for what is none or quotes a key."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        return None
    return None if any(secret in value for secret in endpoint.secrets) else value


def check_service_url(base_url: str, name: str = "base_url") -> str:
    """Return the host and port of the address of a service, to be shown.

    Args:
        base_url: The address.
        name: What the errors call it: the argument or the variable it is from.

    Raises:
        InvalidRequestError: It is no web address, or holds more than scheme, host, port and path.
    """
    parts = parse_url(base_url, name)
    if parts.scheme not in ("http", "https") or len(parts.hosts) != 1 or re.search(r"\s", base_url):
        raise InvalidRequestError(f"{name} must be an address that starts with http:// or https://")
    if parts.user is not None or parts.password is not None:
        raise InvalidRequestError(f"{name} must hold no user name or password; give api_key instead")
    if parts.query or parts.fragment:
        raise InvalidRequestError(f"{name} must hold no query and no fragment")
    return parts.place


def _secrets_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    values = [v for name, v in headers.items() if SECRET_HEADER.search(name)]
    parts = {part for value in values for part in (value, value.rpartition(" ")[2])}
    return tuple(sorted((part for part in parts if len(part) >= 4), key=len, reverse=True))
