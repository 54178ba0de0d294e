"""Makes and closes the client of supermemory's SDK."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final

from openmem._io.supermemory_items import NAME
from openmem._io.supermemory_sending import SDK
from openmem._io.supermemory_store import SupermemoryStore
from openmem.extras import install_extra
from openmem.http_errors import check_service_url

MISSING: Final = f"provider 'supermemory' needs the module 'supermemory': {install_extra('supermemory')}"


@dataclass(frozen=True, slots=True)
class SupermemorySettings:
    """How to come by a client: a ready one, or what to make it from."""

    client: Any = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)
    task_type: str = "superrag"
    dreaming: str = "dynamic"


def is_installed() -> bool:
    """Return whether the SDK is there, without importing it."""
    return find_spec("supermemory") is not None


def make(settings: SupermemorySettings) -> SupermemoryStore:
    """Return the backend. This imports the SDK and asks nobody anything."""
    if settings.client is not None:
        return SupermemoryStore(settings.client, settings.task_type, settings.dreaming)
    http = SDK.ask(_http_client)
    store = SupermemoryStore(SDK.ask(lambda: _client(settings, http)), settings.task_type, settings.dreaming)
    store.http = http
    return store


def close(settings: SupermemorySettings, backend: SupermemoryStore) -> None:
    """Close a client that was made here; a ready one belongs to the caller."""
    if settings.client is None:
        backend.sdk.close()
        if backend.http is not None:  # which the SDK leaves open, since it was handed over
            backend.http.close()


def _client(settings: SupermemorySettings, http: Any) -> Any:
    import supermemory

    named = os.environ.get("SUPERMEMORY_BASE_URL")
    if settings.base_url is None and named:
        check_service_url(named, "SUPERMEMORY_BASE_URL")  # the SDK would read it, and log it

    return supermemory.Supermemory(
        api_key=settings.api_key, base_url=settings.base_url, max_retries=0, http_client=http
    )


def _http_client() -> Any:
    from openmem._io.sdk_http import new_sdk_client

    return new_sdk_client(NAME)
