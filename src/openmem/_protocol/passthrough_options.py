"""The options of the provider on a remote OMP server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from openmem._config.settings import Settings
from openmem._protocol.http_errors import Endpoint
from openmem.errors import InvalidRequestError
from openmem.types import Capabilities

NAME: Final = "passthrough"


def check(settings: Settings) -> None:
    """Check what a provider is to be built from, without asking the server.

    Raises:
        InvalidRequestError: There is no address, or it or the key cannot be used; or the given capabilities are none.
    """
    if not settings.base_url:
        raise InvalidRequestError(
            "provider 'passthrough' requires base_url=..., the address of an OMP server", provider=NAME
        )
    given_capabilities(settings)
    Endpoint.of(settings.base_url, headers_of(settings), NAME)


def headers_of(settings: Settings) -> Mapping[str, str]:
    """Return the headers that every request takes along."""
    return {"Authorization": f"Bearer {settings.remote_key}"} if settings.remote_key else {}


def given_capabilities(settings: Settings) -> Capabilities | None:
    """Return what the caller says that the server can do.

    Raises:
        InvalidRequestError: It is neither a `Capabilities` nor a mapping of its fields.
    """
    value: Any = settings.options.get("capabilities")
    if value is None:
        return None
    try:
        return Capabilities.model_validate(value)
    except ValueError:  # pydantic's is one
        raise InvalidRequestError("capabilities must be a Capabilities object, or a mapping of its fields") from None
