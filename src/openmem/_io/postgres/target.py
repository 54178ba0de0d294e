"""The server to connect to: the URL, and what libpq would take from a service, the environment and a password file.

Both drivers are told the outcome, so that both forms reach the same database. It reads files: not for an event loop.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Final

from openmem._io.postgres.options import PoolOptions, Target, split_parameters
from openmem._sql.postgres.errors import PROVIDER
from openmem._sql.postgres.url import (
    KNOWN,
    check_parameters,
    environment_parameters,
    parse_database_url,
    password_in,
    service_parameters,
)
from openmem.errors import InvalidRequestError

_LOG: Final = logging.getLogger("openmem")
_SOCKET_FOLDERS: Final = ("/run/postgresql", "/var/run/postgresql", "/tmp", "/private/tmp")


def find_target(options: PoolOptions) -> Target:
    """Return where to connect to; each parameter is taken from the first that has it.

    The URL, the service that it or `PGSERVICE` names, the environment, the defaults.

    Raises:
        InvalidRequestError: The service is not known, or a parameter cannot be used.
    """
    from_url = parse_database_url(options.dsn)
    environment = environment_parameters(os.environ)
    service = from_url.get("service") or environment.get("service")
    from_service = _service(service) if service else {}
    check_parameters(environment, "the environment")
    check_parameters(from_service, "the service file")
    # Later ones win: the environment, then the service, then the URL.
    found, settings = split_parameters({**environment, **from_service, **from_url})
    found.setdefault("port", "5432")
    if not found.get("host"):
        found["host"] = found.get("hostaddr") or _default_host(found["port"])
    # As libpq: the user of the system, and a database of the name of the user.
    found.setdefault("user", _login_name())
    found.setdefault("dbname", found["user"])
    target = Target(found, settings)
    # Last, for which entry of the file counts depends on host, port, database and user.
    if "password" not in found:
        password = _password(target)
        if password is not None:
            found["password"] = password
    return target


def _service(name: str) -> dict[str, str]:
    own = os.environ.get("PGSERVICEFILE")
    candidates = [Path(own)] if own else [_home() / ".pg_service.conf"]
    if os.environ.get("PGSYSCONFDIR"):
        candidates.append(Path(os.environ["PGSYSCONFDIR"]) / "pg_service.conf")
    # A file that names the service wins; one that does not is passed over.
    for file in candidates:
        found = service_parameters(_read(file), name)
        if found is not None:
            unknown = sorted(name for name in found if name not in KNOWN or name == "service")
            if unknown:
                raise InvalidRequestError(
                    f"the service file: a service has no parameter {', '.join(unknown)}", provider=PROVIDER
                )
            return found
    raise InvalidRequestError(
        "the service that the url or PGSERVICE names is not in the service file: see PGSERVICEFILE", provider=PROVIDER
    )


def _password(target: Target) -> str | None:
    file = _password_file(target)
    # As libpq: a file that others can read is not used, for its secrets may be known.
    if file is None or not _is_private(file):
        return None
    hosts, ports = target.hosts
    given = target.parameters
    return password_in(_read(file), hosts, map(str, ports), given["dbname"], given["user"])


def _password_file(target: Target) -> Path | None:
    named = target.parameters.get("passfile")
    if named:
        return Path(named)
    if sys.platform == "win32":
        folder = os.environ.get("APPDATA")
        return Path(folder) / "postgresql" / "pgpass.conf" if folder else None
    return _home() / ".pgpass"


def _is_private(file: Path) -> bool:
    try:
        mode = file.stat().st_mode
    except OSError:
        return False
    if sys.platform != "win32" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        _LOG.warning("the password file for Postgres is not used, as others may read it: chmod 600")
        return False
    return stat.S_ISREG(mode)


def _read(file: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return file.read_text(encoding="utf-8")
    return ""


def _default_host(port: str) -> str:
    """Return the folder in which a server on this machine has its socket, or the name of the machine."""
    if sys.platform != "win32":
        for folder in _SOCKET_FOLDERS:
            if os.path.exists(f"{folder}/.s.PGSQL.{port}"):
                return folder
    return "localhost"


def _login_name() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):
        if sys.platform != "win32":
            import pwd

            return pwd.getpwuid(os.geteuid()).pw_name
    with contextlib.suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return ""


def _home() -> Path:
    with contextlib.suppress(RuntimeError, KeyError):
        return Path.home()
    return Path("/nonexistent")
