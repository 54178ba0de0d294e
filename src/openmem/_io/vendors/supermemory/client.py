"""Makes and closes the client of supermemory's SDK. What a constructor needs is light; the rest is loaded by `make`."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from openmem._config.extras import install_extra
from openmem._config.settings import Settings
from openmem._io.vendors.workers import workers_of
from openmem._model.checks import check_choice
from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    from openmem._io.vendors.supermemory.store import SupermemoryStore

MISSING: Final = f"provider 'supermemory' needs the module 'supermemory': {install_extra('supermemory')}"


@dataclass(frozen=True, slots=True)
class SupermemorySettings:
    """The way to come by a client: a ready one, or what to make it from."""

    client: Any = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)
    task_type: str = "superrag"
    dreaming: str = "dynamic"


def is_installed() -> bool:
    """Return whether the SDK is there, without importing it."""
    return find_spec("supermemory") is not None


def make(settings: SupermemorySettings) -> SupermemoryStore:
    """Return the backend. This imports the SDK and makes no request."""
    from openmem._io.vendors.supermemory.sending import SDK
    from openmem._io.vendors.supermemory.store import SupermemoryStore

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

    from openmem._protocol.http_errors import check_service_url

    named = os.environ.get("SUPERMEMORY_BASE_URL")
    if settings.base_url is None and named:
        check_service_url(named, "SUPERMEMORY_BASE_URL")  # the SDK would read it, and log it

    return supermemory.Supermemory(
        api_key=settings.api_key, base_url=settings.base_url, max_retries=0, http_client=http
    )


def _http_client() -> Any:
    from openmem._io.vendors.sdk_http import new_sdk_client
    from openmem._io.vendors.supermemory.items import NAME

    return new_sdk_client(NAME)


def access_of(settings: Settings) -> SupermemorySettings:
    """Return how to come by a client.

    Raises:
        InvalidRequestError: An option is wrong, something is missing, or the SDK is not installed.
    """
    workers_of(settings)
    options = settings.options
    task_type = check_choice(options.get("task_type", "superrag"), ("superrag", "memory"), "task_type")
    dreaming = check_choice(options.get("dreaming", "dynamic"), ("dynamic", "instant"), "dreaming")
    if "dreaming" in options and task_type != "memory":
        raise InvalidRequestError("dreaming needs task_type='memory'", provider="supermemory")
    if settings.url is not None:
        raise InvalidRequestError("provider 'supermemory' takes base_url or client, not url", provider="supermemory")
    client = options.get("client")
    if client is not None:
        add = getattr(client, "add", None)
        if not callable(add) or inspect.iscoroutinefunction(add) or not hasattr(client, "documents"):
            raise InvalidRequestError("client must be a supermemory.Supermemory", provider="supermemory")
        return SupermemorySettings(client, task_type=task_type, dreaming=dreaming)
    if not is_installed():
        raise InvalidRequestError(MISSING, provider="supermemory")
    if settings.api_key is None:
        raise InvalidRequestError(
            "provider 'supermemory' needs api_key= or SUPERMEMORY_API_KEY", provider="supermemory"
        )
    return SupermemorySettings(None, settings.api_key, settings.base_url, task_type, dreaming)
