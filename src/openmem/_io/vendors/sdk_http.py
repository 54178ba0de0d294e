"""The HTTP client that SDKs of other services are given: bounded in time and bytes, and true to one server."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx

from openmem._io.concurrency.call import Deadline
from openmem._io.http.exchange import CONNECT_LIMIT, Received, bounded_by, new_client
from openmem._io.http.network import obey_deadlines
from openmem._io.vendors.call_deadline import call_deadline
from openmem._protocol.http_errors import Endpoint, parse_json
from openmem._protocol.http_messages import MAX_REDIRECTS, origin
from openmem.errors import DeadlineExceededError, InvalidRequestError, ProviderError

_DROPPED = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class SdkTransport(httpx.BaseTransport):
    """Carries requests of an SDK. An exchange ends by the deadline of the worker's call, whatever the SDK allows.

    A reply is read here, up to 64 MiB, and is JSON or nothing. What breaks a rule is a `ProviderError`, which the SDK
    may wrap into an error of its own.

    Args:
        inner: What speaks to the network.
        provider: The name that errors carry.
    """

    def __init__(self, inner: httpx.BaseTransport, provider: str) -> None:
        self._inner = inner
        self._endpoint = Endpoint("", provider, provider)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the reply, read to its end."""
        # 1. The time that is left, whatever the SDK allows.
        # 2. The exchange, which the socket ends at the deadline.
        deadline = call_deadline()
        left = _left(deadline)
        connect = CONNECT_LIMIT if left is None else min(CONNECT_LIMIT, left)
        request.extensions["timeout"] = httpx.Timeout(left, connect=connect).as_dict()
        with bounded_by(deadline):
            reply = self._inner.handle_request(request)
            try:
                received = Received(self._endpoint, reply)
                assert isinstance(reply.stream, httpx.SyncByteStream)
                for chunk in reply.stream:
                    received.add(chunk)
                    _left(deadline)
            finally:
                reply.close()
        # 3. The reply is judged before the SDK sees it.
        self._check_redirect(request, reply)
        return self._whole(request, reply, received.reply().body)

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()

    def _whole(self, request: httpx.Request, reply: httpx.Response, body: bytes) -> httpx.Response:
        # SDKs parse what they get, and some fail in ways that look like faults of ours.
        if body and not _is_json(body):
            if reply.status_code < 300:
                raise self._refused("gave a reply that is no JSON")
            body = b"{}"  # the status tells enough, and SDKs differ in what they can bear here
        headers = [each for each in reply.headers.raw if each[0].decode("latin-1").lower() not in _DROPPED]
        return httpx.Response(reply.status_code, headers=headers, content=body, request=request)

    def _check_redirect(self, request: httpx.Request, reply: httpx.Response) -> None:
        """Let pass what the client may follow: a redirect within the origin that leaves the request as it is."""
        # 1. None.
        # 2. One that would turn the request into another.
        # 3. One to another server.
        # 4. One that may be followed.
        if not reply.has_redirect_location:
            return
        if reply.status_code not in (307, 308) and request.method not in ("GET", "HEAD"):
            raise self._refused(f"answered {reply.status_code}, a redirect that a {request.method} may not follow")
        try:
            target = urljoin(str(request.url), reply.headers["location"])
            strange = origin(target) != origin(str(request.url))
        except ValueError:
            strange = True
        if strange:
            # Headers of the SDK's own hold keys, and bodies memories.
            raise self._refused("answered with a redirect to another server, which is not followed")

    def _refused(self, what: str) -> ProviderError:
        return ProviderError(f"{self._endpoint.server} {what}", provider=self._endpoint.provider)


def new_sdk_client(provider: str) -> httpx.Client:
    """Return a client for an SDK. The caller closes it.

    Raises:
        InvalidRequestError: The environment names a proxy or certificates that cannot be used.
    """
    try:
        client = obey_deadlines(new_client(httpx.Client, timeout=None))
    except InvalidRequestError as error:
        error.provider = provider
        raise
    client.follow_redirects, client.max_redirects = True, MAX_REDIRECTS
    client._transport = SdkTransport(client._transport, provider)
    client._mounts = {
        pattern: None if inner is None else SdkTransport(inner, provider) for pattern, inner in client._mounts.items()
    }
    return client


def _left(deadline: Deadline) -> float | None:
    try:
        return deadline.remaining()
    except DeadlineExceededError as error:
        raise httpx.ReadTimeout(error.message) from error  # which every SDK knows


def _is_json(body: bytes) -> bool:
    try:
        parse_json(body)
    except ValueError:
        return False
    return True
