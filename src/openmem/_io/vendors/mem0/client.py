"""Makes and closes the clients of mem0's SDK. Its telemetry is off before it is imported.

What a constructor needs of it is light; the rest is loaded by `make`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from openmem._config.extras import install_extra
from openmem._config.settings import Settings
from openmem._io.vendors.workers import workers_of
from openmem._model.checks import check_choice, check_flag
from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    from logging import LogRecord

    from openmem._io.vendors.mem0.hosted import Mem0Hosted
    from openmem._io.vendors.mem0.oss import Mem0Oss

    Mem0Backend: TypeAlias = Mem0Hosted | Mem0Oss

Mode = Literal["hosted", "oss"]

MISSING: Final = f"provider 'mem0' needs the module 'mem0': {install_extra('mem0')}"


@dataclass(frozen=True, slots=True)
class Mem0Settings:
    """The way to come by a client: a ready one, or what to make it from."""

    mode: Mode
    client: Any = None
    api_key: str | None = field(default=None, repr=False)
    host: str | None = None
    config: Mapping[str, Any] | None = field(default=None, repr=False)
    infer: bool = False


def is_installed() -> bool:
    """Return whether the SDK is there, without importing it."""
    return find_spec("mem0") is not None


def make(settings: Mem0Settings) -> Mem0Backend:
    """Return the backend. This may ask the network, and imports the SDK, which takes a second or two."""
    from openmem._io.vendors.mem0.hosted import Mem0Hosted
    from openmem._io.vendors.mem0.oss import Mem0Oss

    if settings.mode == "hosted":
        return Mem0Hosted(settings.client or _hosted(settings))
    return Mem0Oss(settings.client or _oss(settings))


def close(settings: Mem0Settings, backend: Mem0Backend) -> None:
    """Close a client that was made here; a ready one belongs to the caller."""
    if settings.client is not None:
        return
    if settings.mode == "hosted":
        backend.sdk.client.close()
        return
    store = backend.sdk.vector_store
    for each in (backend.sdk, getattr(store, "client", None), getattr(store, "connection_pool", None)):
        if each is not None and hasattr(each, "close"):
            with suppress(Exception):
                each.close()


def _hosted(settings: Mem0Settings) -> Any:
    from openmem._io.vendors.mem0.errors import NAME, ask
    from openmem._io.vendors.sdk_http import new_sdk_client

    sdk = _import()
    http = new_sdk_client(NAME)
    try:
        return ask(lambda: sdk.MemoryClient(api_key=settings.api_key, host=settings.host, client=http))
    except BaseException:
        http.close()
        raise


def _oss(settings: Mem0Settings) -> Any:
    from openmem._io.vendors.mem0.errors import NAME, ask

    sdk = _import()
    config = _with_exact_search(dict(settings.config or {}))

    def made() -> Any:
        try:
            return sdk.Memory.from_config(config)
        except (ValueError, TypeError, ImportError) as error:
            kind = type(error).__name__
        # What the SDK says of a configuration may hold its passwords and keys.
        raise InvalidRequestError(f"config: mem0 does not take it ({kind})", provider=NAME)

    return ask(made)


def _with_exact_search(config: dict[str, Any]) -> dict[str, Any]:
    store = config.get("vector_store") or {}
    if store.get("provider") != "pgvector":
        return config
    # An HNSW index looks at the nearest rows first and at the user second: it would find too little.
    return {**config, "vector_store": {**store, "config": {"hnsw": False, **(store.get("config") or {})}}}


def _import() -> Any:
    import logging

    os.environ["MEM0_TELEMETRY"] = "False"
    log = logging.getLogger("mem0")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)  # below that it tells the texts of memories
    import mem0

    logging.getLogger("mem0.memory.main").addFilter(_is_no_configuration)  # once: a filter that is there is not added
    return mem0


def _is_no_configuration(record: LogRecord) -> bool:
    """Drop what the SDK says of a configuration that it refuses: it quotes passwords and keys."""
    return not record.getMessage().startswith("Configuration validation error")


def access_of(settings: Settings) -> Mem0Settings:
    """Return how to come by a client.

    Raises:
        InvalidRequestError: An option is wrong, something is missing, or the SDK is not installed.
    """
    workers_of(settings)
    client, config = settings.options.get("client"), settings.options.get("config")
    infer = check_flag(settings.options.get("infer", False), "infer")
    if settings.url is not None:
        raise InvalidRequestError("provider 'mem0' takes base_url, config or client, not url", provider="mem0")
    if client is not None:
        found = _mode_of(client, settings.options.get("mode"))
        _check_retry(settings, found)
        return Mem0Settings(found, client=client, infer=infer)
    if not is_installed():
        raise InvalidRequestError(MISSING, provider="mem0")
    mode = check_choice(settings.options.get("mode", "hosted" if config is None else "oss"), ("hosted", "oss"), "mode")
    _check_retry(settings, mode)
    if mode == "oss":
        if not isinstance(config, Mapping):
            raise InvalidRequestError("mode='oss' needs config: what mem0.Memory.from_config takes", provider="mem0")
        return Mem0Settings("oss", config=config, infer=infer)
    if config is not None:
        raise InvalidRequestError("mode='hosted' takes no config", provider="mem0")
    if settings.api_key is None:
        raise InvalidRequestError(
            "provider 'mem0' needs api_key= or MEM0_API_KEY; for mem0 in this process give mode='oss' and config=",
            provider="mem0",
        )
    return Mem0Settings("hosted", api_key=settings.api_key, host=settings.base_url, infer=infer)


def _check_retry(settings: Settings, mode: str) -> None:
    if settings.retry is not None and mode == "oss":
        message = "retry: mem0 in this process makes its own requests, which openmem cannot repeat"
        raise InvalidRequestError(message, provider="mem0")


def _mode_of(client: object, mode: object) -> Mode:
    add = getattr(client, "add", None)
    if not callable(add) or inspect.iscoroutinefunction(add):
        raise InvalidRequestError("client must be a mem0.Memory or mem0.MemoryClient")
    found: Mode = "oss" if hasattr(client, "vector_store") else "hosted"
    if mode not in (None, found):
        raise InvalidRequestError(f"mode does not fit the client, which is {found}", provider="mem0")
    return found
