"""The settings of the server: flags before environment variables before defaults."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from openmem._config.settings import location_in
from openmem._protocol.hosts import host_in, is_loopback

LogFormat = Literal["text", "json"]
LogLevel = Literal["critical", "error", "warning", "info", "debug", "trace"]

# What a provider cannot do without: the setting, and the variable that is usual for it.
NEEDED: Final[Mapping[str, tuple[str, str]]] = {
    "postgres": ("url", "OMP_URL"),
    "passthrough": ("base_url", "OMP_BASE_URL"),
    "mem0": ("api_key", "MEM0_API_KEY"),
    "supermemory": ("api_key", "SUPERMEMORY_API_KEY"),
    "letta": ("api_key", "LETTA_API_KEY"),
}
LOCATION: Final = ("provider", "url", "base_url", "api_key")
"""Settings that come from several variables: those of the protocol's first client, and those of a provider."""
_LOCATIONS: Final = (
    *("OMP_PROVIDER", "OMP_URL", "OMP_POSTGRES_URL", "OMP_DB_PATH"),
    *("OMP_BASE_URL", "OMP_PASSTHROUGH_BASE_URL", "SUPERMEMORY_BASE_URL"),
)
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+")
_KINDS: Final[Mapping[str, str]] = {"int": "a whole number", "float": "a number", "bool": "true or false"}


class MissingConfigError(ValueError):
    """Something must be set that was not."""


class WrongSettingError(ValueError):
    """A value is wrong; `reason` does not quote it, as it may be a secret."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}{reason}" if reason.startswith(":") else f"{name} {reason}")


def entries_of(text: Any) -> Any:
    """Return the entries of a list with commas."""
    return tuple(entry.strip() for entry in text.split(",")) if isinstance(text, str) else text


def _parser(kind: type[int] | type[float]) -> BeforeValidator:
    """Return what reads the text of a variable; all else must be of the kind itself: True is not 1."""

    def parse(value: Any) -> Any:
        try:
            return kind(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"must be {_KINDS[kind.__name__]}") from None

    return BeforeValidator(parse)


def _not_blank(entries: tuple[str, ...]) -> tuple[str, ...]:
    if any(not entry.strip() for entry in entries):
        raise ValueError("must not have a blank entry")
    return entries


def _origins(entries: tuple[str, ...]) -> tuple[str, ...]:
    if not all(entry == "*" or _ORIGIN.fullmatch(entry) for entry in entries):
        raise ValueError(": an entry is no origin such as https://app.example.com")
    return entries


def _hosts(entries: tuple[str, ...]) -> tuple[str, ...]:
    for host in entries:
        if host != "*" and host_in(host) != host.lower():
            raise ValueError(f": {host!r} is no host such as memories.example.com")
    return entries


Whole: TypeAlias = Annotated[int, Field(strict=True), _parser(int)]
Number: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False), _parser(float)]
Entries: TypeAlias = Annotated[tuple[str, ...], NoDecode, BeforeValidator(entries_of), AfterValidator(_not_blank)]


class ServerSettings(BaseSettings):
    """The settings. Made like this they read no environment; `read_settings` does.

    The description of a setting is what `--help` says; a value outside of its bounds is refused.
    """

    model_config = SettingsConfigDict(env_prefix="OMP_", extra="forbid", frozen=True, hide_input_in_errors=True)

    provider: str | None = Field(None, description="sqlite, postgres or another")
    url: str | None = Field(None, repr=False, description="a file or postgresql://…")
    base_url: str | None = Field(None, repr=False, description="address of a memory service")
    api_key: str | None = Field(None, repr=False)
    embedder: str | None = Field(None, description="none, fastembed[:MODEL[@FOLDER]], openai:MODEL")
    schema_name: str | None = Field(None, description="the schema on Postgres")
    pool_size: Whole | None = Field(None, ge=1, le=10_000, description="connections to Postgres, 10")
    audit_days: Number | None = Field(None, ge=0.001, le=36_500, description="days that audit entries are kept, all")
    versions: Whole | None = Field(None, ge=0, le=2**31 - 1, description="earlier versions kept of each memory, all")
    store: str | None = Field(None, repr=False, description="where the keys are kept")

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Whole = Field(8080, ge=0, le=65_535, description="0 is any free one")
    workers: Whole = Field(1, ge=1, le=256, description="processes")
    insecure: bool = Field(False, description="listen on other addresses even without keys")
    cors_origins: Annotated[Entries, AfterValidator(_origins)] = Field((), description="web pages that may use it")
    allowed_host: Annotated[Entries, AfterValidator(_hosts)] = Field(
        (), description="names it may be asked for without keys"
    )
    trusted_proxies: Entries = Field((), description="whose X-Forwarded-For counts")

    rate_limit_per_minute: Whole = Field(0, ge=0, le=1_000_000, description="requests a minute per key, 0 for no limit")
    max_request_bytes: Whole = Field(1_048_576, ge=1024, le=104_857_600, description="bytes of a body, or of a line")
    max_header_bytes: Whole = Field(16_384, ge=1024, le=1_048_576, description="bytes of a head")
    concurrency: Whole = Field(256, ge=1, le=100_000, description="requests at once")
    max_connections: Whole = Field(2048, ge=1, le=1_000_000, description="connections at once")
    request_timeout: Number = Field(30.0, ge=0.1, le=86_400, description="seconds for a verb")
    head_timeout: Number = Field(10.0, ge=0.1, le=3600, description="seconds for a head to arrive")
    body_idle_timeout: Number = Field(10.0, ge=0.1, le=3600, description="seconds a body may stand still")
    body_timeout: Number = Field(60.0, ge=0.1, le=86_400, description="seconds for a body to arrive")
    write_timeout: Number = Field(30.0, ge=0.1, le=3600, description="seconds a client may take nothing")
    keep_alive_timeout: Whole = Field(65, ge=1, le=3600, description="seconds between requests")
    boot_timeout: Number = Field(7.0, ge=0.1, le=3600, description="seconds the store may take to answer at the start")
    drain_seconds: Whole = Field(30, ge=0, le=3600, description="seconds to end requests when stopping")

    log_level: LogLevel = Field("info", description="how much is logged")
    log_format: LogFormat = Field("text", description="how it is written")
    metrics: bool = Field(True, description="serve /metrics")
    docs: bool = Field(True, description="serve /docs")
    allow_private_hooks: bool = Field(False, description="send to hooks at private addresses, too")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
        else:
            return
        # Raised here, without a cause: what pydantic says of it may quote a value.
        raise WrongSettingError(str(first["loc"][0]), _reason(first))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is given and nothing else."""
        return (init_settings,)

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if not host.strip():
            raise ValueError("must not be blank")
        return host

    @property
    def open_without_keys(self) -> bool:
        """Whether every request may do everything as long as no key was made."""
        return self.insecure or is_loopback(self.host)

    @property
    def verb_timeout(self) -> float:
        """Seconds that a verb may take."""
        return self.request_timeout


# Settings and the variables they come from; any of these may end in `_FILE` and then names a file with the value.
_OWN_VARIABLES: Final = {
    "schema_name": "OMP_SCHEMA",
    "store": "OMP_SERVER_STORE",
    "rate_limit_per_minute": "OMP_RATE_LIMIT",
}
VARIABLES: Final[Mapping[str, str]] = {
    name: _OWN_VARIABLES.get(name, f"OMP_{name.upper()}")
    for name in ServerSettings.model_fields
    if name not in LOCATION
}


class _Variables(EnvSettingsSource):
    """The environment, or the files that it names, as a source of settings."""

    def __init__(self, environ: Mapping[str, str], wanted: Iterable[str]) -> None:
        self._given = {
            f"omp_{name}": text for name in wanted if (text := variable_of(VARIABLES[name], environ)) is not None
        }
        super().__init__(ServerSettings)

    def _load_env_vars(self) -> Mapping[str, str]:
        return self._given


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
    read = _Variables(environ, VARIABLES.keys() - given.keys())()
    try:
        settings = ServerSettings(**{**_location(given, environ), **read, **given})
    except WrongSettingError as error:
        if error.name in read and error.reason.removeprefix("must be ") in _KINDS.values():
            raise WrongSettingError(VARIABLES[error.name], error.reason) from None
        raise
    needed, variable = NEEDED.get(settings.provider or "", ("", ""))
    if needed and not getattr(settings, needed):
        raise MissingConfigError(f"{needed} (set {variable}): the provider {settings.provider} needs it")
    return settings


def _reason(error: ErrorDetails) -> str:
    """Return what is wrong with a value, without the value."""
    kind, field = error["type"], ServerSettings.model_fields.get(str(error["loc"][0]))
    if field is None:
        return "is unknown"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "literal_error":
        return f"must be one of {', '.join(get_args(field.annotation))}"
    if kind in ("greater_than_equal", "less_than_equal", "finite_number"):
        bounds = {type(one).__name__: one for one in field.metadata}
        return f"must be {bounds['Ge'].ge:g} to {bounds['Le'].le:.0f}"
    return f"must be {_KINDS.get(kind.partition('_')[0], 'text')}"


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


def _location(given: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return where the environment says the memories are, as far as the flags say nothing of it."""
    provider, url, base_url = given.get("provider"), None, None
    if "url" not in given and "base_url" not in given:
        texts = {name: text for name in _LOCATIONS if (text := variable_of(name, environ)) is not None}
        provider, url, base_url = location_in(texts, provider)
    location = {"provider": provider, "url": url, "base_url": base_url}
    needed, variable = NEEDED.get(provider or "", ("", ""))
    location["api_key"] = variable_of(variable if needed == "api_key" else "OMP_API_KEY", environ)
    return location
