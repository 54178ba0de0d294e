"""The place of the server's own store: given, or next to the memories."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final
from warnings import warn

from openmem._config.settings import provider_of_url, resolve_settings, sqlite_path
from openmem._io.paths import user_data_dir
from openmem._io.plugins import provider_of_scheme
from openmem._model.urls import check_file_name, is_url
from openmem.errors import InvalidRequestError

VARIABLE: Final = "OMP_SERVER_STORE"
SUFFIX: Final = "-server.db"


def server_store_url(
    url: str | os.PathLike[str] | None = None,
    *,
    store: str | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    environ: Mapping[str, str] | None = None,
    platform: str | None = None,
    home: str | None = None,
) -> str:
    """Return where a server over these memories keeps its keys, as `ServerStore` takes it.

    `store`, else `OMP_SERVER_STORE`, else by where the memories are: the same Postgres database, a file next to
    the SQLite file, or for any other provider a file in the user's data folder.

    Args:
        url: Where the memories are; `None` is what the environment says.
        store: Where the server's store is, if that was said.
        provider: The name of the provider, if that was said.
        base_url: The address of the provider, if that was said.
        environ: Variables to read instead of those of this process.
        platform: Deprecated: the user's data folder is that of this process, as for the memories.
        home: Deprecated, like `platform`.

    Raises:
        InvalidRequestError: One of them cannot be a place.
    """
    if platform is not None or home is not None:
        warn("server_store_url(platform=, home=) count for nothing, and go in the next version", DeprecationWarning, 2)
    # 1. Named by the caller.
    # 2. Named by the environment.
    environ = os.environ if environ is None else environ
    given = store if store is not None else environ.get(VARIABLE) or None
    if given is not None:
        return check_store_url(given)
    # 3. By where the memories are: in the same database, so that one backup has both.
    settings = resolve_settings(provider, url, base_url, None, None, {}, environ, provider_of_scheme)
    if settings.provider == "postgres" and settings.url is not None:
        return settings.url
    # 4. In the user's folder, where the provider is no place of this machine.
    if settings.provider != "sqlite":
        return os.path.join(user_data_dir(), "server.db")
    # 5. Beside the file, and not in it: another process may copy the file alone.
    path = sqlite_path(settings.url) if settings.url else os.path.join(user_data_dir(), "memories.db")
    return path + SUFFIX


def check_store_url(url: object) -> str:
    """Return the address of a store.

    Raises:
        InvalidRequestError: It names neither a Postgres database nor a file.
    """
    if not isinstance(url, str) or not url.strip():
        raise InvalidRequestError("the server's store must be a non-blank string")
    if provider_of_url(url) not in ("postgres", "sqlite"):
        raise InvalidRequestError("the server's store must be postgresql://, sqlite:///FILE or a path")
    return url if is_url(url) else check_file_name(url, "the server's store")
