"""The files that asyncpg would read for each connection, read once and beside the event loop: keys, certificates,
the password file.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import Any, Final

import asyncpg

from openmem._io.postgres.options import PoolOptions, Target, asyncpg_arguments, asyncpg_tls
from openmem._io.postgres.target import find_target
from openmem._sql.postgres.errors import TLS_FAILED, unreachable, unusable
from openmem.errors import OMPError

_UNSET: Final = (*("passfile", "ssl", "service", "servicefile", "direct_tls", "target_session_attrs"), "krbsrvname")


class ConnectArguments:
    """The arguments for new connections, and the modes of TLS to try.

    Args:
        target: Where to.
        arguments: Arguments for the driver.
        tls_attempts: For `ssl`, in the order in which they are tried: a context, `False` for none.
    """

    def __init__(self, target: Target, arguments: dict[str, Any], tls_attempts: tuple[Any, ...] = ()) -> None:
        self.target = target
        self._arguments = arguments
        self._tls_attempts = tls_attempts

    async def connect(self, **arguments: Any) -> Any:
        """Return a new connection of the driver; the arguments go before those that were found."""
        arguments = {**self._arguments, **arguments}
        # 1. The driver finds out by itself.
        if not self._tls_attempts:
            return await asyncpg.connect(**arguments)
        # 2. Two ways, the preferred one first: it may turn out that the server wants the other.
        for attempt in self._tls_attempts[:-1]:
            with contextlib.suppress(_TryNextTlsMode):
                return await self._try(attempt, arguments)
        # 3. One way, or the last one: its error counts.
        return await asyncpg.connect(ssl=self._tls_attempts[-1], **arguments)

    async def _try(self, attempt: Any, arguments: dict[str, Any]) -> Any:
        try:
            connection = await asyncpg.connect(ssl=attempt, **arguments)
        # The server speaks no TLS, or the wrong one.
        except ssl.SSLError:
            raise _TryNextTlsMode from None
        except (ConnectionError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            # Without TLS at all, or with it, as the server's rules want it.
            if type(error) is ConnectionError or getattr(error, "sqlstate", None) == "28000":
                raise _TryNextTlsMode from None
            raise
        # It worked: further connections try no other.
        self._tls_attempts = (attempt,)
        return connection


class _TryNextTlsMode(Exception):
    """The server wants TLS, or does not."""


def find_connect_arguments(options: PoolOptions) -> ConnectArguments:
    """Read what the driver would read. It blocks: not for the event loop.

    Raises:
        InvalidRequestError: A parameter cannot be used.
        ProviderUnavailableError: A key or a certificate cannot be read.
    """
    target = find_target(options)
    arguments = asyncpg_arguments(target, options)
    dsn, direct = asyncpg_tls(target, certificate=os.path.exists(target.parameters.get("sslcert", "")))
    if direct:
        arguments["direct_tls"] = True
    if target.trusts_system_roots:
        return ConnectArguments(target, arguments, (ssl.create_default_context(),))
    found = _tls(dsn, direct, arguments)
    if isinstance(found, OMPError):
        raise found
    if found is None:  # another version of the driver: it reads for itself
        return ConnectArguments(target, {**arguments, "dsn": dsn})
    context, mode = found
    tls_attempts = {"prefer": (context, False), "allow": (False, context)}
    return ConnectArguments(target, arguments, tls_attempts.get(mode, (context,)))


def _tls(dsn: str, direct: bool, arguments: dict[str, Any]) -> tuple[Any, str] | OMPError | None:
    """Return the driver's context for TLS and its mode; or an error, so that it has no context of its own."""
    given: dict[str, Any] = dict.fromkeys((*_UNSET, "gsslib", "server_settings"))
    given |= {name: arguments[name] for name in ("host", "port", "user", "password", "database")}
    given |= {"dsn": dsn, "direct_tls": direct or None}
    try:
        _, found = asyncpg.connect_utils._parse_connect_dsn_and_args(**given)
        return found.ssl or False, found.sslmode.name
    except OSError:
        return unreachable(TLS_FAILED)
    except ValueError as error:
        missing = "certificate" in str(error)
        return unreachable(TLS_FAILED) if missing else unusable()
    except (AttributeError, TypeError):
        return None
