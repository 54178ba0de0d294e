"""Sockets of HTTP clients. Those of blocking ones obey one deadline: it bounds the sum of all waiting, not each wait.

The HTTP library applies its timeouts to each operation on a socket by itself. A peer that sends the head of a reply
byte by byte, or interim replies without end, keeps every one of them and yet never comes to an end. On an event loop
the whole exchange is cancelled at the deadline; there the library forgets to close a socket in the middle of a TLS
handshake.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import httpcore

from openmem._io.http.exchange import exchange_deadline

if TYPE_CHECKING:
    import httpx

E = TypeVar("E", bound=Exception)


def obey_deadlines(client: httpx.Client) -> httpx.Client:
    """Have a client open sockets that look at `bounded_by`, through proxies of the environment too.

    The library has no public way to hand a network to a client that keeps the proxies of the environment.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:  # a transport of the caller's own has none
            pool._network_backend = TimedBackend()
    return client


def close_cancelled(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Have a client close the socket of a TLS handshake that is cancelled."""
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            pool._network_backend = ClosingBackend()
    return client


class ClosingBackend(httpcore.AsyncNetworkBackend):
    """Opens sockets that are closed when their TLS handshake is cancelled."""

    def __init__(self) -> None:
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host."""
        return _ClosingStream(await self._plain.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._plain.sleep(seconds)


class _ClosingStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        # Handed on as they are: each is called for every part of every exchange.
        self.read, self.write, self.aclose = stream.read, stream.write, stream.aclose  # type: ignore[method-assign]
        self.get_extra_info = stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _ClosingStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise


class TimedBackend(httpcore.NetworkBackend):
    """Opens sockets that obey the deadline of `bounded_by`."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers.

        Raises:
            httpcore.ConnectTimeout: The time was over first, the search for the host's addresses included.
            httpcore.ConnectError: No address took the connection.
        """
        # 1. The addresses of the host, within the time.
        # 2. Each in turn, with a fair share of what is left.
        left = _left(timeout, httpcore.ConnectTimeout)
        until = None if left is None else time.monotonic() + left
        addresses = self.addresses_of(host, port, left)
        for rest in range(len(addresses), 0, -1):
            # An address that swallows everything must leave some time for the others.
            own = None if until is None else max(0.001, until - time.monotonic()) / rest
            try:
                stream = self._plain.connect_tcp(addresses[-rest], port, own, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if rest == 1:
                    raise
            else:
                return _TimedStream(stream)
        raise httpcore.ConnectError("the host has no address")

    def addresses_of(self, host: str, port: int, seconds: float | None) -> list[str]:
        """Return the addresses of a host in the order in which to try them."""
        return addresses_of(host, port, seconds)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._plain.sleep(seconds)


class _TimedStream(httpcore.NetworkStream):
    """A connected socket, with or without TLS."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._socket: socket.socket = stream.get_extra_info("socket")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # The library's own loop gives each part of the buffer the whole time again.
        rest = memoryview(buffer)
        while rest:
            left = _left(timeout, httpcore.WriteTimeout)
            try:
                self._socket.settimeout(left)
                rest = rest[self._socket.send(rest) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        # TLS to a proxy carries TLS to the server. A handshake waits several times, so it is cut off from outside.
        inside = isinstance(self._socket, ssl.SSLSocket)
        with _cut_off(self._socket, timeout, httpcore.ConnectTimeout) as left:
            stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _TunnelledStream(stream, self._socket) if inside else _TimedStream(stream)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _TunnelledStream(httpcore.NetworkStream):
    """TLS within the TLS of a proxy: one operation waits several times, so the socket is closed under it when late."""

    def __init__(self, stream: httpcore.NetworkStream, carrier: socket.socket) -> None:
        self._stream, self._carrier = stream, carrier

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _cut_off(self._carrier, timeout, httpcore.ReadTimeout) as left:
            return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _cut_off(self._carrier, timeout, httpcore.WriteTimeout) as left:
            self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, late: type[E]) -> float | None:
    """Return the seconds that an operation may take, `None` without a limit."""
    # 1. No deadline: the library's own limit.
    # 2. Passed: at once.
    # 3. The smaller of the two.
    at = exchange_deadline().at
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        raise late("the deadline of the call has passed")
    return left if timeout is None else min(left, timeout)


@contextmanager
def _cut_off(carrier: socket.socket, timeout: float | None, late: type[E]) -> Iterator[float | None]:
    """Shut a socket down once the time is over, whatever waits for it then."""
    left = _left(timeout, late)
    if left is None:
        yield None
        return
    fired = threading.Event()

    def cut() -> None:
        fired.set()
        try:
            socket.socket.shutdown(carrier, socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already

    # A thread for each such operation. They are rare: a proxy that is reached by TLS, and a handshake.
    timer = threading.Timer(left, cut)
    timer.daemon = True
    timer.start()
    try:
        yield left
    except Exception as error:
        if fired.is_set() and not isinstance(error, late):
            raise late("the deadline of the call has passed") from error
        raise
    finally:
        timer.cancel()


def addresses_of(host: str, port: int, seconds: float | None) -> list[str]:
    """Return the addresses of a host in the order in which to try them. The system's search takes no time limit."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        answer: SimpleQueue[list[str] | Exception] = SimpleQueue()
    # A thread that cannot be stopped: it ends by itself when the system gives up, and holds nothing up at exit.
    threading.Thread(target=_look_up, args=(host, port, answer), name="openmem-resolver", daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except Empty:
        raise httpcore.ConnectTimeout("the addresses of the host were not found in time") from None
    if isinstance(found, Exception):
        raise httpcore.ConnectError(str(found)) from found
    return found


def _look_up(host: str, port: int, answer: SimpleQueue[list[str] | Exception]) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer.put(list(dict.fromkeys(str(address[0]) for *_, address in found)))
    except (OSError, UnicodeError) as error:  # a label of a name may be too long to be encoded
        answer.put(error)
