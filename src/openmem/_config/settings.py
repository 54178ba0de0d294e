"""The provider that is meant: by argument, by the scheme of a URL, by the environment, or the embedded one."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from openmem._model.retention import options_from
from openmem._model.retry import Retry
from openmem._model.urls import check_file_name, check_path, is_bare_name, is_url, parse_url
from openmem._text.misspellings import closest, did_you_mean, shown
from openmem.errors import InvalidRequestError

_SCHEMES: Final = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "sqlite": "sqlite",
    "http": "passthrough",
    "https": "passthrough",
}
_KEY_OF: Final = {"mem0": "MEM0_API_KEY", "supermemory": "SUPERMEMORY_API_KEY", "letta": "LETTA_API_KEY"}

_VARIABLE_OF: Final = {"postgres": "OMP_POSTGRES_URL", "sqlite": "OMP_DB_PATH"}
_ARGUMENTS: Final = ("provider", "url", "base_url", "api_key", "embedder", "app", "timeout", "retry", "create")
# What others call these arguments, or who comes from another library would.
_MEANT: Final = {
    **dict.fromkeys(("path", "file", "filename", "db", "db_path", "database", "dsn", "uri", "store"), "url"),
    **dict.fromkeys(("connection_string", "conninfo", "database_url", "postgres_url"), "url"),
    **dict.fromkeys(("host", "endpoint", "server", "server_url", "api_base", "baseurl"), "base_url"),
    **dict.fromkeys(("key", "token", "apikey", "secret"), "api_key"),
    **dict.fromkeys(("model", "embedding_model", "embeddings", "embedding_function", "use_openai"), "embedder"),
    **dict.fromkeys(("app_id", "app_name", "application", "client_name"), "app"),
    **dict.fromkeys(("backend", "vector_store", "kind"), "provider"),
    **dict.fromkeys(("retries", "max_retries", "retry_policy"), "retry"),
    "executor_max_workers": "workers",
}
_ADDRESS_OF: Final = {"passthrough": "OMP_PASSTHROUGH_BASE_URL", "supermemory": "SUPERMEMORY_BASE_URL"}
MAX_INGEST: Final = 600
"""Most seconds that `OMP_INGEST_TIMEOUT` may say."""

ProviderOfScheme: TypeAlias = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """The parts that a provider is built from. `options` are the arguments that only the provider knows.

    `remote_key` is the key for an OMP server: the one that was given, but none that the environment holds for
    another service. `ingest_timeout` is how many seconds `wait_for_ingest` waits, if the environment says so, and
    `ingest_block` whether an `add` waits as well. `create` says whether a store
    is made where there is none, and `retry` how requests are repeated, if the caller says so.
    """

    provider: str
    url: str | None = field(default=None, repr=False)  # it may hold a password
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    embedder: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    remote_key: str | None = field(default=None, repr=False)
    ingest_timeout: float | None = None
    ingest_block: bool = False
    create: bool = True
    retry: Retry | None = None

    @property
    def entrance(self) -> str:
        """The provider to begin with: behind an address may be an OMP server, whatever was named."""
        return self.provider if self.base_url is None else "passthrough"


def resolve_settings(
    provider: str | None,
    url: str | os.PathLike[str] | None,
    base_url: str | None,
    api_key: str | None,
    embedder: Any,
    options: Mapping[str, Any],
    environ: Mapping[str, str],
    provider_of_scheme: ProviderOfScheme = lambda scheme: None,
) -> Settings:
    """Choose the provider; the first of these that is given wins.

    `provider=`, the scheme of `url=`, `base_url=`, `OMP_PROVIDER`, `OMP_URL`, `OMP_POSTGRES_URL`, `OMP_DB_PATH`,
    `OMP_BASE_URL`, `OMP_PASSTHROUGH_BASE_URL`, else `sqlite` on its default file.

    Raises:
        InvalidRequestError: An argument is no string, is blank, or a URL has an unknown scheme; or a location is given
            both as `url` and as `base_url`.
    """
    url = _path_of(url) if isinstance(url, os.PathLike) else url
    for name, value in (("provider", provider), ("url", url), ("base_url", base_url), ("api_key", api_key)):
        _check_text(name, value)
    if url is not None and base_url is not None:
        raise InvalidRequestError("give url= or base_url=, not both")
    chosen = provider
    if chosen is None and url is None and base_url is None:
        chosen, url, base_url = _from_environment(environ)
    if chosen is None and url is not None:
        chosen = provider_of_url(url, provider_of_scheme)
    chosen = chosen or ("passthrough" if base_url is not None else "sqlite")
    if url is None and base_url is None and provider is not None:
        url, base_url = _location_of(chosen, environ)
    if chosen == "sqlite" and url is not None and not is_url(url):
        check_file_name(url)
    if chosen == "passthrough" and url is not None:
        base_url, url = _web_address(url), None
    options = dict(options)
    if chosen == "postgres" and environ.get("OMP_SCHEMA"):
        options.setdefault("schema", environ["OMP_SCHEMA"])
    return Settings(
        provider=chosen,
        url=url,
        base_url=base_url,
        api_key=api_key or environ.get(_KEY_OF.get(chosen, "OMP_API_KEY")) or None,
        embedder=embedder if embedder is not None else (environ.get("OMP_EMBEDDER") or None),
        options=options_from(environ, chosen, options),
        remote_key=api_key or environ.get("OMP_API_KEY") or None,
        ingest_timeout=_ingest_timeout(environ.get("OMP_INGEST_TIMEOUT")),
        ingest_block=environ.get("OMP_INGEST_BLOCK") == "1",
    )


def location_in(environ: Mapping[str, str], provider: str | None = None) -> tuple[str | None, str | None, str | None]:
    """Return the provider, the `url` and the `base_url` that the environment names.

    Args:
        environ: The environment variables.
        provider: The provider, if that was said: variables of others count for nothing.
    """
    return _from_environment(environ) if provider is None else (provider, *_location_of(provider, environ))


def provider_of_url(url: str, provider_of_scheme: ProviderOfScheme = lambda scheme: None) -> str:
    """Return the provider that a URL's scheme names; a path is a file of the embedded store.

    Args:
        url: The URL.
        provider_of_scheme: Knows the schemes of providers that others have installed.

    Raises:
        InvalidRequestError: It cannot be read, or no provider has that scheme.
    """
    if not is_url(url):
        check_path(url)
        return "sqlite"
    scheme = parse_url(url).scheme
    other = None if scheme in _SCHEMES else provider_of_scheme(scheme)
    if other is not None:
        return other
    if scheme not in _SCHEMES:
        known = (
            f"the scheme {scheme!r} is unknown" if re.fullmatch(r"[a-z+]{1,30}", scheme) else "its scheme is unknown"
        )
        raise InvalidRequestError(f"url: {known}; use postgresql://, sqlite:///FILE, http(s):// or a path")
    return _SCHEMES[scheme]


def sqlite_path(url: str) -> str:
    """Return the file that `sqlite:///FILE` or a path names.

    `sqlite:///notes.db` is relative to the working folder, `sqlite:////var/notes.db` is absolute.

    Raises:
        InvalidRequestError: There is no file in it, or it asks for a database in memory.
    """
    path = url
    if is_url(url):
        parts = parse_url(url)
        has_more = parts.hosts or parts.user or parts.password or parts.query or parts.fragment
        if parts.scheme != "sqlite" or has_more:
            raise InvalidRequestError("url: the embedded store takes sqlite:///FILE, with three slashes, or a path")
        path = unquote(parts.path[1:])
    else:
        check_file_name(path)  # errors name the file, so it must be none that holds a password
    if not path or "\0" in path or path == ":memory:":
        raise InvalidRequestError("url: the embedded store needs the name of a file, such as sqlite:///notes.db")
    return path


def check_options(provider: str, options: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse options that the provider does not know.

    Raises:
        InvalidRequestError: Names the option and those there are.
    """
    for name in options:
        if name not in known:
            meant = _MEANT.get(name.casefold().replace("-", "_")) or closest(name, [*_ARGUMENTS, *sorted(known)])
            there = f"; it knows: {', '.join(sorted(known)) or 'none'}" if meant is None else did_you_mean(f"{meant}=")
            raise InvalidRequestError(f"provider {provider!r} has no option {shown(name)}{there}", provider=provider)


def _check_text(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise InvalidRequestError(f"{name} must be a non-blank string")


def _from_environment(environ: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    name = environ.get("OMP_PROVIDER") or None
    if name is not None:
        return name, *_location_of(name, environ)
    for variable, implied in (("OMP_URL", None), ("OMP_POSTGRES_URL", "postgres"), ("OMP_DB_PATH", "sqlite")):
        if environ.get(variable):
            return implied, environ[variable], None
    return None, None, environ.get("OMP_BASE_URL") or environ.get("OMP_PASSTHROUGH_BASE_URL") or None


def _ingest_timeout(text: str | None) -> float | None:
    if not text:
        return None
    seconds = int(text) if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) else 0
    if 0 < seconds <= MAX_INGEST:
        return float(seconds)
    # The protocol's first client goes on, too: an address may be shared with programs that read it in another way.
    message = f"OMP_INGEST_TIMEOUT must be a whole number of seconds from 1 to {MAX_INGEST}; it is ignored"
    warnings.warn(message, stacklevel=4)
    return None


def _location_of(name: str, environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    url = environ.get("OMP_URL")
    if url and provider_of_url(url, lambda scheme: scheme) == name:
        return url, None
    own = _VARIABLE_OF.get(name)
    if own is not None:
        return environ.get(own) or None, None
    return None, environ.get("OMP_BASE_URL") or environ.get(_ADDRESS_OF.get(name, "")) or None


def _path_of(given: os.PathLike[str]) -> str:
    path = os.fspath(given)
    # An object for a path cannot be anything else, be it a single word. One of bytes is refused later.
    return f"./{path}" if type(path) is str and path and is_bare_name(path) else path


def _web_address(url: str) -> str:
    if provider_of_url(url) != "passthrough":
        raise InvalidRequestError("url: provider 'passthrough' takes an address that starts with http:// or https://")
    return url.strip()
