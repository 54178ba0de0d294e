"""JSON over HTTP, in both forms. No exception of the HTTP library leaves this file."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from openmem._io.call import Deadline
from openmem._io.concurrency import async_sleep, async_to_thread, sleep
from openmem.errors import OMPError, ProviderError, ProviderUnavailableError
from openmem.http_errors import Endpoint, Failure, decode_json, failure_of_reply

CONNECT_LIMIT = 10.0
_BASE_HEADERS = {"Accept": "application/json", "User-Agent": "openmem-python"}


class AsyncHttp:
    """A client of one server. Opens nothing before the first request.

    Args:
        base_url: Address of the server; paths of requests are appended to it.
        headers: Sent with every request. Values never reach an error message.
        provider: Name that errors carry.
        transport: Replaces the network, for tests.

    Raises:
        InvalidRequestError: The address or a header cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        provider: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._headers = {**_BASE_HEADERS, **(headers or {})}
        self._endpoint = Endpoint.of(base_url, self._headers, provider)
        self._transport = transport
        self._clients: dict[int, httpx.AsyncClient] = {}
        self._closed = False

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        deadline: Deadline,
        retries: int = 2,
        retry_safe: bool = False,
    ) -> Any:
        """Send a request and return the decoded reply; an empty reply is `None`.

        Args:
            method: The HTTP method.
            path: Path below `base_url`, quoted.
            json: Body to send.
            params: Query parameters; those that are `None` are left out.
            deadline: Bounds the whole call, repeats and pauses included.
            retries: How often to repeat a request that failed for a passing reason.
            retry_safe: The request may be carried out twice without harm. If not, it is repeated only when
                the server certainly did not act on it.

        Raises:
            OMPError: The class that fits the reply; `ProviderUnavailableError` when there is none.
            DeadlineExceededError: The deadline came first.
        """
        attempt = 0
        while True:
            outcome = await self._attempt(method, path, json, params, deadline)
            if not isinstance(outcome, Failure):
                return decode_json(self._endpoint, outcome)
            pause = _pause(outcome, attempt, retries, retry_safe, deadline)
            if pause is None:
                raise outcome.error
            await async_sleep(pause)
            attempt += 1

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        self._closed = True
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            await client.aclose()

    async def _attempt(
        self, method: str, path: str, json: Any, params: Mapping[str, Any] | None, deadline: Deadline
    ) -> bytes | Failure:
        try:
            async with asyncio.timeout(deadline.remaining()) as limit:
                client = await self._client()
                reply = await client.request(method, path, json=json, params=_given(params), timeout=_timeout(deadline))
        except TimeoutError:
            if limit.expired():
                raise deadline.exceeded() from None
            raise
        except httpx.HTTPError as exc:
            failure = _failure_of_exception(self._endpoint, exc, deadline)
        else:
            return _outcome(self._endpoint, reply, reply.content)
        return failure

    async def _client(self) -> httpx.AsyncClient:
        _check_open(self._closed)
        # By process: sockets must not be shared with a forked child.
        client = self._clients.get(os.getpid())
        if client is None:
            # Reading the certificates takes long enough to hold up others.
            made = await async_to_thread(self._make)
            client = self._clients.setdefault(os.getpid(), made)
            if client is not made:
                await made.aclose()
        return client

    def _make(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self._endpoint.base_url, headers=self._headers, transport=self._transport)


class Http:
    """A client of one server. Opens nothing before the first request. Threads may share it.

    Args:
        base_url: Address of the server; paths of requests are appended to it.
        headers: Sent with every request. Values never reach an error message.
        provider: Name that errors carry.
        transport: Replaces the network, for tests.

    Raises:
        InvalidRequestError: The address or a header cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        provider: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._headers = {**_BASE_HEADERS, **(headers or {})}
        self._endpoint = Endpoint.of(base_url, self._headers, provider)
        self._transport = transport
        self._clients: dict[int, httpx.Client] = {}
        self._closed = False

    def request_json(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        deadline: Deadline,
        retries: int = 2,
        retry_safe: bool = False,
    ) -> Any:
        """Send a request and return the decoded reply; see `AsyncHttp.request_json`."""
        attempt = 0
        while True:
            outcome = self._attempt(method, path, json, params, deadline)
            if not isinstance(outcome, Failure):
                return decode_json(self._endpoint, outcome)
            pause = _pause(outcome, attempt, retries, retry_safe, deadline)
            if pause is None:
                raise outcome.error
            sleep(pause)
            attempt += 1

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._closed = True
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def _attempt(
        self, method: str, path: str, json: Any, params: Mapping[str, Any] | None, deadline: Deadline
    ) -> bytes | Failure:
        deadline.check()
        try:
            with self._client().stream(
                method, path, json=json, params=_given(params), timeout=_timeout(deadline)
            ) as reply:
                return _outcome(self._endpoint, reply, _read_within(reply, deadline))
        except httpx.HTTPError as exc:
            failure = _failure_of_exception(self._endpoint, exc, deadline)
        return failure

    def _client(self) -> httpx.Client:
        _check_open(self._closed)
        # By process: sockets must not be shared with a forked child.
        client = self._clients.get(os.getpid())
        if client is None:
            made = self._make()
            client = self._clients.setdefault(os.getpid(), made)
            if client is not made:
                made.close()
        return client

    def _make(self) -> httpx.Client:
        return httpx.Client(base_url=self._endpoint.base_url, headers=self._headers, transport=self._transport)


def _read_within(reply: httpx.Response, deadline: Deadline) -> bytes:
    # The library limits each read, not their sum: a server that sends drop by drop would never end.
    chunks: list[bytes] = []
    for chunk in reply.iter_bytes():
        chunks.append(chunk)
        deadline.check()
    return b"".join(chunks)


def _outcome(endpoint: Endpoint, reply: httpx.Response, body: bytes) -> bytes | Failure:
    if reply.is_success:
        return body
    return failure_of_reply(endpoint, reply.status_code, reply.headers, body, datetime.now(UTC))


def _failure_of_exception(endpoint: Endpoint, exc: httpx.HTTPError, deadline: Deadline) -> Failure:
    connecting = isinstance(exc, httpx.ConnectTimeout)
    # Every limit but that of connecting is the deadline itself.
    if isinstance(exc, httpx.TimeoutException) and (deadline.passed() or not connecting):
        return Failure(deadline.exceeded(), passing=False, refused=False)
    refused = connecting or isinstance(exc, httpx.ConnectError)
    error: OMPError
    if isinstance(exc, httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError):
        error = ProviderUnavailableError(_trouble(endpoint, refused), provider=endpoint.provider)
        passing = True
    else:
        error = ProviderError(f"the exchange with {endpoint.server} failed", provider=endpoint.provider)
        passing = False
    # The library's own exception carries the request, with its headers, wherever it is pickled or logged.
    error.__cause__ = ConnectionError(type(exc).__name__)
    return Failure(error, passing=passing, refused=refused)


def _trouble(endpoint: Endpoint, refused: bool) -> str:
    return f"cannot connect to {endpoint.server}" if refused else f"{endpoint.server} broke off the exchange"


def _pause(failure: Failure, attempt: int, retries: int, retry_safe: bool, deadline: Deadline) -> float | None:
    remaining = 0.0 if deadline.passed() else deadline.remaining()
    return failure.pause(attempt, retries=retries, retry_safe=retry_safe, remaining=remaining, jitter=random.random())


def _timeout(deadline: Deadline) -> httpx.Timeout:
    remaining = deadline.remaining()
    connect = CONNECT_LIMIT if remaining is None else min(CONNECT_LIMIT, remaining)
    return httpx.Timeout(remaining, connect=connect)


def _given(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if params is None else {name: value for name, value in params.items() if value is not None}


def _check_open(closed: bool) -> None:
    if closed:
        raise RuntimeError("the HTTP client is closed")
