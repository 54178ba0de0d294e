"""A request over HTTP and its reply, as plain values, and where redirects may lead. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from openmem._protocol.http_errors import SECRET_HEADER, Endpoint
from openmem.errors import ProviderError

MAX_REDIRECTS: Final = 5
MAX_ADDRESS: Final = 16_384

Header = str | bytes
Params = Mapping[str, str | Sequence[str]]

_KEEPS_METHOD: Final = frozenset({307, 308})
_REDIRECTS: Final = frozenset({301, 302, 303}) | _KEEPS_METHOD
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NO_HEADERS: Final[Mapping[str, Header]] = {}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request to send.

    Attributes:
        method: The HTTP method.
        path: Path below the server's address, quoted.
        params: Parameters of the query.
        headers: Headers beside those of the client.
        body: The body; its type is among the headers.
        retry_safe: It may be carried out twice without harm.
        anonymous: It goes out without the client's credentials.
    """

    method: str
    path: str
    params: Params | None = None
    headers: Mapping[str, Header] = field(default_factory=lambda: _NO_HEADERS)
    body: bytes | None = field(default=None, repr=False)
    retry_safe: bool = False
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


def json_body(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; numbers must be finite."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def query_of(params: Params | None) -> str:
    """Return parameters as a query string; a list becomes several of one name."""
    return urlencode(params, doseq=True) if params else ""


class Route:
    """The way of one request through redirects: where it goes now, and with which headers.

    Args:
        endpoint: The server that is asked first.
        request: The request.
        headers: The headers of the client.
    """

    def __init__(self, endpoint: Endpoint, request: HttpRequest, headers: Mapping[str, Header]) -> None:
        query = query_of(request.params)
        self.url = endpoint.base_url.rstrip("/") + request.path + (f"?{query}" if query else "")
        self.request = request
        self.headers: dict[str, Header] = {**headers, **request.headers}
        if request.anonymous:
            self._drop_credentials()
        self._endpoint = endpoint
        self._seen = [self.url]

    def follow(self, status: int, location: str | None) -> bool:
        """Go where a reply points, if it does.

        Returns:
            Whether it was a redirect, so that the request has to be sent again.

        Raises:
            ProviderError: The redirect leads nowhere, in a circle, to another origin, or would change the request.
        """
        if status not in _REDIRECTS:
            return False
        method = self.request.method
        if status not in _KEEPS_METHOD and method not in ("GET", "HEAD"):
            raise self._refused(f"answered {status}, a redirect that a {method} request may not follow")
        target = self._target(status, location)
        if target in self._seen or len(self._seen) > MAX_REDIRECTS:
            raise self._refused("answered with a redirect loop")
        self._seen.append(target)
        self.url = target
        return True

    def _target(self, status: int, location: str | None) -> str:
        try:
            target = urljoin(self.url, location or "").partition("#")[0]
            parts, _ = urlsplit(target), origin(target)
        except ValueError:
            parts = None
        if not location or parts is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise self._refused(f"answered {status} without an address to go to")
        if "@" in parts.netloc or len(target) > MAX_ADDRESS or re.search(r"[\x00-\x20\x7f]", target):
            raise self._refused(f"answered {status} with an address that cannot be used")
        if origin(target) != origin(self.url):
            # It would take along what is to be remembered, and whose it is, whatever becomes of the key.
            raise self._refused("answered with a redirect to another server, which is not followed")
        return target

    def _drop_credentials(self) -> None:
        self.headers = {name: value for name, value in self.headers.items() if not SECRET_HEADER.search(name)}

    def _refused(self, what: str) -> ProviderError:
        return ProviderError(f"{self._endpoint.server} {what}; check the base_url", provider=self._endpoint.provider)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of an address.

    Raises:
        ValueError: It is no address.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
