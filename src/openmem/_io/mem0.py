"""Makes and closes the clients of mem0's SDK. Its telemetry is off before it is imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, Literal

from openmem._io.mem0_errors import NAME, ask
from openmem._io.mem0_hosted import Mem0Hosted
from openmem._io.mem0_oss import Mem0Oss
from openmem._io.sdk_http import new_sdk_client
from openmem.errors import InvalidRequestError
from openmem.extras import install_extra

Mem0Backend = Mem0Hosted | Mem0Oss
Mode = Literal["hosted", "oss"]

MISSING: Final = f"provider 'mem0' needs the module 'mem0': {install_extra('mem0')}"


@dataclass(frozen=True, slots=True)
class Mem0Settings:
    """How to come by a client: a ready one, or what to make it from."""

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
    if settings.mode == "hosted":
        return Mem0Hosted(settings.client or _hosted(settings))
    return Mem0Oss(settings.client or _oss(settings))


def close(settings: Mem0Settings, backend: Mem0Backend) -> None:
    """Close a client that was made here; a ready one belongs to the caller."""
    if settings.client is not None:
        return
    if isinstance(backend, Mem0Hosted):
        backend.sdk.client.close()
        return
    store = backend.sdk.vector_store
    for each in (backend.sdk, getattr(store, "client", None), getattr(store, "connection_pool", None)):
        if each is not None and hasattr(each, "close"):
            with suppress(Exception):
                each.close()


def _hosted(settings: Mem0Settings) -> Any:
    sdk = _import()
    http = new_sdk_client(NAME)
    try:
        return ask(lambda: sdk.MemoryClient(api_key=settings.api_key, host=settings.host, client=http))
    except BaseException:
        http.close()
        raise


def _oss(settings: Mem0Settings) -> Any:
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
    os.environ["MEM0_TELEMETRY"] = "False"
    log = logging.getLogger("mem0")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)  # below that it tells the texts of memories
    import mem0

    quiet = logging.getLogger("mem0.memory.main")
    if not any(isinstance(each, _NoConfigurations) for each in quiet.filters):
        quiet.addFilter(_NoConfigurations())
    return mem0


class _NoConfigurations(logging.Filter):
    """Drops what the SDK says of a configuration that it refuses: it quotes passwords and keys."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to keep a message."""
        return not record.getMessage().startswith("Configuration validation error")
