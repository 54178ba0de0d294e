"""The settings of the server: flags before environment variables before defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from openmem.server.runtime.addresses import host_in, is_loopback

LogFormat = Literal["text", "json"]

LOG_LEVELS: Final = ("critical", "error", "warning", "info", "debug", "trace")
MIN_BODY: Final = 1024
MAX_BODY: Final = 104_857_600
# What a provider cannot do without: the setting, and the variable that is usual for it.
NEEDED: Final[Mapping[str, tuple[str, str]]] = {
    "postgres": ("url", "OMP_URL"),
    "passthrough": ("base_url", "OMP_BASE_URL"),
    "mem0": ("api_key", "MEM0_API_KEY"),
    "supermemory": ("api_key", "SUPERMEMORY_API_KEY"),
    "letta": ("api_key", "LETTA_API_KEY"),
}
# Settings and the variables they come from; any of these may end in `_FILE` and then names a file with the value.
VARIABLES: Final[Mapping[str, str]] = {
    "embedder": "OMP_EMBEDDER",
    "schema": "OMP_SCHEMA",
    "pool_size": "OMP_POOL_SIZE",
    "audit_days": "OMP_AUDIT_DAYS",
    "versions": "OMP_VERSIONS",
    "store": "OMP_SERVER_STORE",
    "host": "OMP_HOST",
    "port": "OMP_PORT",
    "workers": "OMP_WORKERS",
    "insecure": "OMP_INSECURE",
    "rate_limit_per_minute": "OMP_RATE_LIMIT",
    "max_request_bytes": "OMP_MAX_REQUEST_BYTES",
    "max_header_bytes": "OMP_MAX_HEADER_BYTES",
    "concurrency": "OMP_CONCURRENCY",
    "max_connections": "OMP_MAX_CONNECTIONS",
    "request_timeout": "OMP_REQUEST_TIMEOUT",
    "head_timeout": "OMP_HEAD_TIMEOUT",
    "body_idle_timeout": "OMP_BODY_IDLE_TIMEOUT",
    "body_timeout": "OMP_BODY_TIMEOUT",
    "write_timeout": "OMP_WRITE_TIMEOUT",
    "keep_alive_timeout": "OMP_KEEP_ALIVE_TIMEOUT",
    "boot_timeout": "OMP_BOOT_TIMEOUT",
    "drain_seconds": "OMP_DRAIN_SECONDS",
    "cors_origins": "OMP_CORS_ORIGINS",
    "allowed_host": "OMP_ALLOWED_HOST",
    "trusted_proxies": "OMP_TRUSTED_PROXIES",
    "log_level": "OMP_LOG_LEVEL",
    "log_format": "OMP_LOG_FORMAT",
    "metrics": "OMP_METRICS",
    "docs": "OMP_DOCS",
}
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "port": (0, 65_535),
    "pool_size": (1, 10_000),
    "audit_days": (0.001, 36_500),
    "versions": (0, 2_147_483_647),
    "workers": (1, 256),
    "rate_limit_per_minute": (0, 1_000_000),
    "max_request_bytes": (MIN_BODY, MAX_BODY),
    "max_header_bytes": (1024, 1_048_576),
    "concurrency": (1, 100_000),
    "max_connections": (1, 1_000_000),
    "request_timeout": (0.1, 86_400),
    "head_timeout": (0.1, 3600),
    "body_idle_timeout": (0.1, 3600),
    "body_timeout": (0.1, 86_400),
    "write_timeout": (0.1, 3600),
    "keep_alive_timeout": (1, 3600),
    "boot_timeout": (0.1, 3600),
    "drain_seconds": (0, 3600),
}
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+")
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})


class MissingConfigError(ValueError):
    """Something must be set that was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What the server is told.

    Attributes:
        provider: The memory backend; `None` is what `url` says, else the embedded store.
        url: Where the memories are: `postgresql://…`, `sqlite:///FILE` or a path.
        base_url: The address of a memory service.
        api_key: The key for that service.
        embedder: `none`, `fastembed[:MODEL[@FOLDER]]` or `openai:MODEL`.
        schema: The schema on Postgres.
        pool_size: Connections to Postgres that a process holds at most; `None` is what the provider takes.
        audit_days: Days for which audit logs keep an entry, that of the server's own store too; `None` is for ever.
        versions: How many earlier versions of each memory are kept; `None` is all.
        store: Where the server keeps its keys; `None` is next to the memories.
        host: The address to listen on.
        port: 0 to 65535; 0 is any free one.
        workers: Processes, 1 to 256.
        insecure: Listen on other addresses than loopback even if there are no keys.
        rate_limit_per_minute: Requests per key, or per address without one; 0 is no limit.
        max_request_bytes: Bytes of a body, or of a line of an import, 1 KiB to 100 MiB.
        max_header_bytes: Bytes of the head of a request.
        concurrency: Requests that a process answers at once.
        max_connections: Connections that a process holds.
        request_timeout: Seconds that a verb may take.
        head_timeout: Seconds that the head of a request may take to arrive.
        body_idle_timeout: Seconds that a body may stand still.
        body_timeout: Seconds that a body may take to arrive, unless it is an import.
        write_timeout: Seconds that a client may take nothing of an answer.
        keep_alive_timeout: Seconds that a connection stays open without a request.
        boot_timeout: Seconds that the memories, and then the store, may take to answer at the start.
        drain_seconds: Seconds that requests have to end when the server is told to stop.
        cors_origins: Web pages that may use the server from a browser, such as `https://app.example.com`.
        allowed_host: Names under which a server without keys may be asked for, such as `memories.lan`; `*` for all.
        trusted_proxies: Addresses whose `X-Forwarded-For` is believed.
        log_level: critical, error, warning, info, debug or trace.
        log_format: text or json.
        metrics: Whether there is `/metrics`.
        docs: Whether there is `/docs`.
    """

    provider: str | None = None
    url: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    embedder: str | None = None
    schema: str | None = None
    pool_size: int | None = None
    audit_days: float | None = None
    versions: int | None = None
    store: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    insecure: bool = False
    rate_limit_per_minute: int = 0
    max_request_bytes: int = 1_048_576
    max_header_bytes: int = 16_384
    concurrency: int = 256
    max_connections: int = 2048
    request_timeout: float = 30.0
    head_timeout: float = 10.0
    body_idle_timeout: float = 10.0
    body_timeout: float = 60.0
    write_timeout: float = 30.0
    keep_alive_timeout: int = 65
    boot_timeout: float = 7.0
    drain_seconds: int = 30
    cors_origins: tuple[str, ...] = ()
    allowed_host: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: LogFormat = "text"
    metrics: bool = True
    docs: bool = True

    def __post_init__(self) -> None:
        for name, (least, most) in _BOUNDS.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
                raise ValueError(f"{name} must be {least:g} to {most:.0f}")
        for name in ("cors_origins", "allowed_host", "trusted_proxies"):
            if any(not entry.strip() for entry in getattr(self, name)):
                raise ValueError(f"{name} must not have a blank entry")
        for origin in self.cors_origins:
            _check_origin(origin)
        for host in self.allowed_host:
            if host != "*" and host_in(host) != host.lower():
                raise ValueError(f"allowed_host: {host!r} is no host such as memories.example.com")
        if not self.host.strip():
            raise ValueError("host must not be blank")
        if self.log_level not in LOG_LEVELS:
            raise ValueError(f"log_level must be one of {', '.join(LOG_LEVELS)}")
        if self.log_format not in get_args(LogFormat):
            raise ValueError(f"log_format must be one of {', '.join(get_args(LogFormat))}")
        needed, variable = NEEDED.get(self.provider or "", ("", ""))
        if needed and not getattr(self, needed):
            raise MissingConfigError(f"{needed} (set {variable}): the provider {self.provider} needs it")

    @property
    def open_without_keys(self) -> bool:
        """Whether everybody may do everything as long as no key was made."""
        return self.insecure or is_loopback(self.host)

    @property
    def verb_timeout(self) -> float:
        """Seconds that a verb may take."""
        return self.request_timeout


def read_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> ServerSettings:
    """Return the settings that flags and environment make.

    Args:
        flags: What the command line gave: names of settings; `None` for what it did not.
        environ: The environment variables. Those it does not know are ignored.

    Raises:
        MissingConfigError: Something must be set.
        ValueError: A value is wrong; the message names the setting or the variable.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    values: dict[str, Any] = {**_place(given, environ), **given}
    for setting, variable in VARIABLES.items():
        if setting not in given and (text := variable_of(variable, environ)) is not None:
            values[setting] = _parsed(setting, variable, text)
    return ServerSettings(**values)


def variable_of(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the value of a variable, or the first line of the file that `NAME_FILE` names.

    Raises:
        ValueError: Both are set, or the file cannot be read.
    """
    value, path = environ.get(name) or None, environ.get(f"{name}_FILE") or None
    if path is None:
        return value
    if value is not None:
        raise ValueError(f"{name} and {name}_FILE are both set")
    text = reason = ""
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is no UTF-8 text"
    # The value of the variable is not quoted: it may be the secret itself instead of a file's name.
    if reason:
        raise ValueError(f"{name}_FILE: cannot read the file that it names: {reason}")
    if not text.strip():
        raise ValueError(f"{name}_FILE: the file that it names is empty")
    return text


def _place(given: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return where the environment says the memories are, as far as the flags say nothing of it."""
    provider: str | None = given.get("provider")
    if provider is None and "url" not in given and "base_url" not in given:
        provider = variable_of("OMP_PROVIDER", environ)
    place: dict[str, Any] = {"provider": provider}
    if "url" not in given and "base_url" not in given:
        place.update(_url(provider, environ))
        place["base_url"] = _address(provider, environ) if place.get("url") is None else None
    needed, variable = NEEDED.get(provider or "", ("", ""))
    place["api_key"] = variable_of(variable if needed == "api_key" else "OMP_API_KEY", environ)
    return place


def _address(provider: str | None, environ: Mapping[str, str]) -> str | None:
    own = {"supermemory": "SUPERMEMORY_BASE_URL"}.get(provider or "", "OMP_PASSTHROUGH_BASE_URL")
    address = variable_of("OMP_BASE_URL", environ)
    return (
        variable_of(own, environ) if address is None and provider in (None, "passthrough", "supermemory") else address
    )


def _url(provider: str | None, environ: Mapping[str, str]) -> dict[str, Any]:
    own = {"OMP_POSTGRES_URL": "postgres", "OMP_DB_PATH": "sqlite"}
    for variable in ("OMP_URL", *own):
        of = own.get(variable, provider)
        url = variable_of(variable, environ)
        if url is None or (provider is not None and not _fits(provider, of, url)):
            continue
        return {"url": url, "provider": of}
    return {}


def _fits(provider: str, of: str | None, url: str) -> bool:
    scheme = url.strip().partition("://")[0].lower() if "://" in url else "sqlite"
    is_postgres = scheme in ("postgres", "postgresql")
    return of == provider and (is_postgres if provider == "postgres" else not is_postgres)


def _parsed(setting: str, variable: str, text: str) -> Any:
    kind = next(str(item.type) for item in fields(ServerSettings) if item.name == setting).removesuffix(" | None")
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "bool":
            return _truth(text)
    except ValueError:
        raise ValueError(f"{variable} must be {_KINDS[kind]}") from None
    return entries_of(text) if kind.startswith("tuple") else text


_KINDS: Final = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def entries_of(text: str) -> tuple[str, ...]:
    """Return the entries of a list with commas."""
    return tuple(entry.strip() for entry in text.split(","))


def _truth(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered not in _YES | _NO:
        raise ValueError
    return lowered in _YES


def _check_origin(origin: str) -> None:
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError("cors_origins: an entry is no origin such as https://app.example.com")
