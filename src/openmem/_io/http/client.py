"""Requests over HTTP, in both forms. Exceptions of the HTTP library become errors of `openmem.errors` here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_compute, async_sleep, async_to_thread
from openmem._io.concurrency.retrying import async_repeat, repeat
from openmem._io.http.exchange import (
    Quiet,
    Received,
    arguments,
    bounded_by,
    check_open,
    failure_of_exception,
    new_client,
    outcome,
)
from openmem._io.state import show_state
from openmem._model.retry import DEFAULT_RETRY, FailedAttempt, Retry
from openmem._protocol.http_errors import Endpoint, decode_json
from openmem._protocol.http_messages import HttpReply, HttpRequest, Route, json_body
from openmem.errors import OMPError

if TYPE_CHECKING:  # it takes long to load, so that waits for the first request
    import httpx

_BASE_HEADERS = {"Accept": "application/json", "User-Agent": "openmem-python"}
_JSON = {"Content-Type": "application/json"}
_CHUNKS_AT_ONCE = 128
_DECODED_AT_ONCE = 64 * 1024
"""Bytes of JSON that the event loop decodes itself, in a millisecond at most."""


class AsyncHttp:
    """A client of one server. Opens nothing before the first request.

    Up to five redirects are followed, none of them to another origin. What is asked stays out of the logs. A reply
    takes at most 64 MiB, as it comes and as it is decoded; `gzip` and `deflate` are understood.

    Args:
        base_url: Address of the server; paths of requests are appended to it.
        headers: Sent with every request. Values of those that hold keys never reach an error message.
        provider: Name that errors carry.
        deadline_header: Header in which every request says how many seconds are left for it.
        retry: How often a request that failed for a passing reason is made again, and after how long.
        transport: Replaces the network.

    Raises:
        InvalidRequestError: The address or a header cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        provider: str | None = None,
        deadline_header: str | None = None,
        retry: Retry = DEFAULT_RETRY,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._headers = {**_BASE_HEADERS, **(headers or {})}
        self._endpoint = Endpoint.of(base_url, self._headers, provider)
        self._deadline_header = deadline_header
        self._retry = retry
        self._transport = transport
        self._clients: dict[int, httpx.AsyncClient] = {}
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        """The server."""
        return self._endpoint

    async def request_json(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        deadline: Deadline,
        retry_safe: bool = False,
    ) -> Any:
        """Send a request and return the decoded reply; an empty reply is `None`.

        Args:
            method: The HTTP method.
            path: Path below `base_url`, quoted.
            json: Body to send.
            params: Query parameters; those that are `None` are left out.
            deadline: Bounds the whole call, repeats and pauses included.
            retry_safe: The request may be carried out twice without harm. If not, it is repeated only when
                the server certainly did not act on it.

        Raises:
            OMPError: The class that fits the reply; `ProviderUnavailableError` when there is none.
            DeadlineExceededError: The deadline came first.
        """
        request = _json_request(method, path, json, params, retry_safe)
        body = (await self.send(request, deadline=deadline)).body
        if len(body) > _DECODED_AT_ONCE:
            return await async_compute(decode_json, self._endpoint, body)
        return decode_json(self._endpoint, body)

    async def send(self, request: HttpRequest, *, deadline: Deadline) -> HttpReply:
        """Send a request and return the reply, which is a success.

        Args:
            request: The request.
            deadline: Bounds the whole call, repeats and pauses included.

        Raises:
            OMPError: The class that fits the reply; `ProviderUnavailableError` when there is none.
            DeadlineExceededError: The deadline came first.
        """
        attempt = partial(self._attempt, request, deadline)
        return await async_repeat(attempt, self._retry, deadline, repeatable=request.retry_safe)

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        self._closed = True
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            with Quiet():
                await client.aclose()

    def __repr__(self) -> str:
        return show_state(self, _state(self._closed, os.getpid() in self._clients), self._endpoint.server)

    async def _attempt(self, request: HttpRequest, deadline: Deadline) -> HttpReply | FailedAttempt:
        # One limit for the whole attempt: connecting, redirects, the head and every byte of the body.
        route = Route(self._endpoint, request, self._headers)
        try:
            async with asyncio.timeout(deadline.remaining()) as limit:
                client = await self._client()
                reply = await self._exchange(client, route, deadline)
                while route.follow(reply.status, reply.headers.get("location")):
                    reply = await self._exchange(client, route, deadline)
        # 1. The deadline. Another timeout inside is the library's, and means the network.
        except TimeoutError:
            if limit.expired():
                raise deadline.exceeded() from None
            raise
        # 2. An error of ours: a reply that is too large, a redirect that is not followed, a closed client.
        except (OMPError, RuntimeError):
            raise
        # 3. The library failed.
        # 4. There is a reply: a success, or what its status means.
        except Exception as exc:  # noqa: BLE001 - what is not the library's is raised again
            failure = failure_of_exception(self._endpoint, exc, deadline)
        else:
            return outcome(self._endpoint, reply)
        return failure

    async def _exchange(self, client: httpx.AsyncClient, route: Route, deadline: Deadline) -> HttpReply:
        with Quiet():
            async with client.stream(**arguments(route, deadline, self._deadline_header)) as reply:
                received, count = Received(self._endpoint, reply), 0
                async for chunk in reply.aiter_bytes() if reply.is_stream_consumed else reply.aiter_raw():
                    received.add(chunk)
                    count += 1
                    # Thousands of tiny chunks come with one read of the socket, and nothing among them waits.
                    if not count % _CHUNKS_AT_ONCE:
                        await async_sleep(0)
        return received.reply()

    async def _client(self) -> httpx.AsyncClient:
        check_open(self._closed)
        # By process: sockets must not be shared with a forked child.
        client = self._clients.get(os.getpid())
        if client is None:
            # Loading the library and reading the certificates take long enough to hold up others.
            made = await async_to_thread(self._make)
            client = self._clients.setdefault(os.getpid(), made)
            if client is not made:
                await made.aclose()
        return client

    def _make(self) -> httpx.AsyncClient:
        import httpx

        from openmem._io.http.network import close_cancelled

        return close_cancelled(new_client(httpx.AsyncClient, transport=self._transport))


class Http:
    """A client of one server. Opens nothing before the first request. Threads may share it.

    Up to five redirects are followed, none of them to another origin. What is asked stays out of the logs. A reply
    takes at most 64 MiB, as it comes and as it is decoded; `gzip` and `deflate` are understood.

    Args:
        base_url: Address of the server; paths of requests are appended to it.
        headers: Sent with every request. Values of those that hold keys never reach an error message.
        provider: Name that errors carry.
        deadline_header: Header in which every request says how many seconds are left for it.
        retry: How often a request that failed for a passing reason is made again, and after how long.
        transport: Replaces the network.

    Raises:
        InvalidRequestError: The address or a header cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        provider: str | None = None,
        deadline_header: str | None = None,
        retry: Retry = DEFAULT_RETRY,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._headers = {**_BASE_HEADERS, **(headers or {})}
        self._endpoint = Endpoint.of(base_url, self._headers, provider)
        self._deadline_header = deadline_header
        self._retry = retry
        self._transport = transport
        self._clients: dict[int, httpx.Client] = {}
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        """The server."""
        return self._endpoint

    def request_json(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
        deadline: Deadline,
        retry_safe: bool = False,
    ) -> Any:
        """Send a request and return the decoded reply; see `AsyncHttp.request_json`."""
        request = _json_request(method, path, json, params, retry_safe)
        return decode_json(self._endpoint, self.send(request, deadline=deadline).body)

    def send(self, request: HttpRequest, *, deadline: Deadline) -> HttpReply:
        """Send a request and return the reply, which is a success; see `AsyncHttp.send`."""
        attempt = partial(self._attempt, request, deadline)
        return repeat(attempt, self._retry, deadline, repeatable=request.retry_safe)

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._closed = True
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            with Quiet():
                client.close()

    def __repr__(self) -> str:
        return show_state(self, _state(self._closed, os.getpid() in self._clients), self._endpoint.server)

    def _attempt(self, request: HttpRequest, deadline: Deadline) -> HttpReply | FailedAttempt:
        # The socket obeys the deadline: each wait on it is cut to what is left of the whole.
        deadline.check()
        route = Route(self._endpoint, request, self._headers)
        try:
            client = self._client()
            reply = self._exchange(client, route, deadline)
            while route.follow(reply.status, reply.headers.get("location")):
                reply = self._exchange(client, route, deadline)
        # 1. An error of ours: a reply that is too large, a redirect that is not followed, a closed client, the
        #    deadline.
        except (OMPError, RuntimeError):
            raise
        # 2. The library failed.
        # 3. There is a reply: a success, or what its status means.
        except Exception as exc:  # noqa: BLE001 - what is not the library's is raised again
            failure = failure_of_exception(self._endpoint, exc, deadline)
        else:
            return outcome(self._endpoint, reply)
        return failure

    def _exchange(self, client: httpx.Client, route: Route, deadline: Deadline) -> HttpReply:
        with (
            Quiet(),
            bounded_by(deadline),
            client.stream(**arguments(route, deadline, self._deadline_header)) as reply,
        ):
            received = Received(self._endpoint, reply)
            for chunk in reply.iter_bytes() if reply.is_stream_consumed else reply.iter_raw():
                received.add(chunk)
                deadline.check()  # chunks that came with one read of the socket do not wait for it
        return received.reply()

    def _client(self) -> httpx.Client:
        check_open(self._closed)
        # By process: sockets must not be shared with a forked child.
        client = self._clients.get(os.getpid())
        if client is None:
            made = self._make()
            client = self._clients.setdefault(os.getpid(), made)
            if client is not made:
                made.close()
        return client

    def _make(self) -> httpx.Client:
        import httpx

        from openmem._io.http.network import obey_deadlines

        return obey_deadlines(new_client(httpx.Client, transport=self._transport))


def _state(closed: bool, connected: bool) -> str:
    return "closed" if closed else "open" if connected else "unused"


def _json_request(method: str, path: str, json: Any, params: Mapping[str, Any] | None, retry_safe: bool) -> HttpRequest:
    given = {name: value for name, value in (params or {}).items() if value is not None}
    body = None if json is None else json_body(json)
    return HttpRequest(method, path, given, _JSON if body else {}, body, retry_safe)
