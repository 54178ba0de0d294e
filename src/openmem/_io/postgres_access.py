"""What asyncpg would read from files for each connection, read once and beside the event loop: keys, certificates,
the password file.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Final

import asyncpg

from openmem._io.postgres_options import PoolOptions, asyncpg_arguments, trusts_system_roots
from openmem.postgres_errors import TLS_FAILED, unreachable

_UNSET: Final = (
    *("host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile"),
    *("direct_tls", "target_session_attrs", "krbsrvname", "gsslib"),
)


class Access:
    """How to get in.

    Args:
        arguments: More arguments for the driver.
        ways: For `ssl`, in the order in which they are tried: a context, `False` for none.
    """

    def __init__(self, arguments: dict[str, Any], ways: tuple[Any, ...] = ()) -> None:
        self._arguments = arguments
        self._ways = ways

    async def connect(self, **arguments: Any) -> Any:
        """Return a new connection of the driver."""
        arguments |= self._arguments
        if not self._ways:
            return await asyncpg.connect(**arguments)
        for way in self._ways[:-1]:
            with contextlib.suppress(_OtherWay):
                return await self._try(way, arguments)
        return await asyncpg.connect(ssl=self._ways[-1], **arguments)

    async def _try(self, way: Any, arguments: dict[str, Any]) -> Any:
        try:
            connection = await asyncpg.connect(ssl=way, **arguments)
        except ssl.SSLError:
            raise _OtherWay from None
        except (ConnectionError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            # Without TLS at all, or with it, as the server's rules want it.
            if type(error) is ConnectionError or getattr(error, "sqlstate", None) == "28000":
                raise _OtherWay from None
            raise
        self._ways = (way,)
        return connection


class _OtherWay(Exception):
    """The server wants TLS, or does not."""


def find_access(options: PoolOptions) -> Access:
    """Read what the driver would read. It blocks: not for the event loop.

    Raises:
        ProviderUnavailableError: A key or a certificate cannot be read.
    """
    given = asyncpg_arguments(options)
    try:
        _, found = asyncpg.connect_utils._parse_connect_dsn_and_args(
            dsn=given["dsn"], server_settings=given["server_settings"], **dict.fromkeys(_UNSET)
        )
        password, context, mode = found.password or "", found.ssl or False, found.sslmode.name
    except OSError as error:
        raise unreachable(TLS_FAILED) from error
    except (AttributeError, TypeError):  # another version of the driver: it reads for itself
        return Access({}, (ssl.create_default_context(),) if trusts_system_roots(options) else ())
    if trusts_system_roots(options):
        return Access({"password": password}, (ssl.create_default_context(),))
    ways = {"prefer": (context, False), "allow": (False, context)}
    return Access({"password": password}, ways.get(mode, (context,)))
