"""Messages to addresses that others have named: by default only to the public internet, and bounded in every way.

The name is looked up here, every address of it is checked, and the connection goes to a checked address itself: nothing
is looked up again in between. `Host` and the name for TLS stay those of the URL. No proxy of the environment is used,
as it would look the name up by itself. No redirect is followed, and of the reply only the head is read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import httpcore

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_to_thread
from openmem._io.http.exchange import Quiet, bounded_by, trusted
from openmem._io.http.network import ClosingBackend, TimedBackend, addresses_of
from openmem._protocol.public_addresses import is_public

_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
    ValueError,
)


class Answer(NamedTuple):
    """The end of an attempt: the `status` of the reply, or the `trouble` for which there is none."""

    status: int | None
    trouble: str | None = None


class PrivateAddressError(Exception):
    """A host has an address that does not belong to the public internet."""


class AsyncPublicPost:
    """Posts messages, each on a connection of its own.

    Args:
        allow_private: Whether any address may be connected to.
    """

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    async def post(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """Send a message; return how that ended. Nothing is raised for what the other side does.

        Args:
            url: An address of `http` or `https`.
            headers: The headers.
            body: The body.
            seconds: The most that all of it may take.
        """
        backend = _AsyncPublicBackend(allow_private=self._allow_private)
        try:
            with Quiet():
                async with (
                    asyncio.timeout(seconds),
                    httpcore.AsyncConnectionPool(
                        ssl_context=await async_to_thread(trusted), network_backend=backend
                    ) as pool,
                    pool.stream("POST", url, headers=_pairs(headers), content=body) as reply,
                ):
                    return Answer(reply.status)
        except (TimeoutError, httpcore.TimeoutException):
            return _late(seconds)
        except PrivateAddressError as error:
            return Answer(None, str(error))
        except _FAILURES as error:
            return _failure(error)


class PublicPost:
    """Posts messages, each on a connection of its own.

    Args:
        allow_private: Whether any address may be connected to.
    """

    def __init__(self, *, allow_private: bool = False) -> None:
        self._allow_private = allow_private

    def post(self, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """Send a message; return how that ended. Nothing is raised for what the other side does.

        Args:
            url: An address of `http` or `https`.
            headers: The headers.
            body: The body.
            seconds: The most that all of it may take.
        """
        backend = _PublicBackend(allow_private=self._allow_private)
        try:
            with (
                Quiet(),
                bounded_by(Deadline.after(seconds)),
                httpcore.ConnectionPool(ssl_context=trusted(), network_backend=backend) as pool,
                pool.stream("POST", url, headers=_pairs(headers), content=body) as reply,
            ):
                return Answer(reply.status)
        except (TimeoutError, httpcore.TimeoutException):
            return _late(seconds)
        except PrivateAddressError as error:
            return Answer(None, str(error))
        except _FAILURES as error:
            return _failure(error)


class _AsyncPublicBackend(ClosingBackend):
    """Connects to the first address of a host that answers, if all of them may be connected to."""

    def __init__(self, *, allow_private: bool) -> None:
        super().__init__()
        self._allow_private = allow_private

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await async_to_thread(addresses_of, host, port, _LOOK_UP_SECONDS)
        addresses = _checked(found, allow_private=self._allow_private)
        for rest in range(len(addresses), 0, -1):
            try:
                return await super().connect_tcp(
                    addresses[-rest], port, _CONNECT_SECONDS / len(addresses), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if rest == 1:
                    raise
        raise httpcore.ConnectError("the host has no address")


class _PublicBackend(TimedBackend):
    """Connects to the first address of a host that answers, if all of them may be connected to."""

    def __init__(self, *, allow_private: bool) -> None:
        super().__init__()
        self._allow_private = allow_private

    def addresses_of(self, host: str, port: int, seconds: float | None) -> list[str]:
        return _checked(super().addresses_of(host, port, seconds), allow_private=self._allow_private)


_LOOK_UP_SECONDS = 10.0
_CONNECT_SECONDS = 10.0


def _checked(addresses: list[str], *, allow_private: bool) -> list[str]:
    """Return the addresses, if all may be connected to: a name with a private one among them is a trap or a mistake."""
    if not allow_private and not all(map(is_public, addresses)):
        raise PrivateAddressError("the host has a private or reserved address, to which nothing is sent")
    return addresses


def _pairs(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]


def _late(seconds: float) -> Answer:
    return Answer(None, f"no reply within {seconds:g} seconds")


def _failure(error: Exception) -> Answer:
    # The text of the exception may quote what the other side sent: it stays out of the store and of the log.
    if any(isinstance(cause, ssl.SSLError) for cause in error.args):  # the pool leaves no cause at its errors
        return Answer(None, "the TLS handshake failed, or the certificate is not to be trusted")
    if isinstance(error, httpcore.ConnectError):
        return Answer(None, "no connection")
    if isinstance(error, httpcore.ProtocolError):
        return Answer(None, "the reply was no HTTP, or the connection was closed before it")
    return Answer(None, "the connection broke")
