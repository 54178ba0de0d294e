"""Makes and closes the client of Letta's SDK. What a constructor needs of it is light; the rest is loaded by `make`."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from openmem._config.extras import install_extra
from openmem._config.settings import Settings
from openmem._io.vendors.workers import workers_of
from openmem._model.checks import check_text
from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    from openmem._io.vendors.letta.store import LettaStore

EMBEDDING: Final = "openai/text-embedding-3-small"
"""The model that makes the vectors of a new archive, unless the option `embedding` says otherwise."""
MISSING: Final = f"provider 'letta' needs the module 'letta_client': {install_extra('letta')}"


@dataclass(frozen=True, slots=True)
class LettaSettings:
    """The way to come by a client: a ready one, or what to make it from."""

    embedding: str
    client: Any = None
    api_key: str | None = field(default=None, repr=False)
    base_url: str | None = field(default=None, repr=False)


def is_installed() -> bool:
    """Return whether the SDK is there, without importing it."""
    return find_spec("letta_client") is not None


def make(settings: LettaSettings) -> LettaStore:
    """Return the backend. This imports the SDK and makes no request."""
    from openmem._io.vendors.letta.store import LettaStore
    from openmem._io.vendors.letta.wire import SDK

    return LettaStore(settings.client or SDK.ask(lambda: _client(settings)), settings.embedding)


def close(settings: LettaSettings, backend: LettaStore) -> None:
    """Close a client that was made here; a ready one belongs to the caller."""
    if settings.client is None:
        backend.sdk.close()


def _client(settings: LettaSettings) -> Any:
    import letta_client

    from openmem._io.vendors.letta.items import NAME
    from openmem._io.vendors.sdk_http import new_sdk_client
    from openmem._protocol.http_errors import check_service_url

    named = os.environ.get("LETTA_BASE_URL")
    if settings.base_url is None and named:
        check_service_url(named, "LETTA_BASE_URL")  # the SDK would read it, and log it

    return letta_client.Letta(
        api_key=settings.api_key, base_url=settings.base_url, max_retries=0, http_client=new_sdk_client(NAME)
    )


def access_of(settings: Settings) -> LettaSettings:
    """Return how to come by a client.

    Raises:
        InvalidRequestError: An option is wrong, something is missing, or the SDK is not installed.
    """
    workers_of(settings)
    client = settings.options.get("client")
    embedding = check_text(settings.options.get("embedding", EMBEDDING), "embedding", 256)
    if settings.url is not None:
        raise InvalidRequestError("provider 'letta' takes base_url or client, not url", provider="letta")
    if client is not None:
        search = getattr(getattr(client, "passages", None), "search", None)
        if not callable(search) or inspect.iscoroutinefunction(search):
            raise InvalidRequestError("client must be a letta_client.Letta", provider="letta")
        return LettaSettings(embedding, client=client)
    if not is_installed():
        raise InvalidRequestError(MISSING, provider="letta")
    if settings.api_key is None and settings.base_url is None:
        raise InvalidRequestError(
            "provider 'letta' needs api_key= or LETTA_API_KEY for the cloud, or base_url= for a server of your own",
            provider="letta",
        )
    return LettaSettings(embedding, api_key=settings.api_key, base_url=settings.base_url)
