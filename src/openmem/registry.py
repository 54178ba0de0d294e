"""Provider names and where their classes are. A reference is text: nothing is imported before the first use.

Built-in and third-party providers take the same road. A third party's package announces a `ProviderSpec` as an
entry point of the group `openmem.providers`; its name is what users pass as `provider=`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final

from openmem.errors import InvalidRequestError, UnsupportedProviderError
from openmem.extras import pip_install, requirement
from openmem.misspellings import closest
from openmem.urls import is_url

ENTRY_POINT_GROUP: Final = "openmem.providers"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """Where a provider's two classes are.

    Args:
        name: What users pass as `provider=`.
        async_provider: `package.module:Class`, a subclass of `AsyncProvider`.
        provider: The same for `Provider`; `None` if there is no such form.
        extra: What to install when a module of the provider is missing, such as `openmem-sdk[postgres]`.
        schemes: Further schemes of `url=` that mean this provider; its name is always one, as in `acme://host`.
    """

    name: str
    async_provider: str
    provider: str | None
    extra: str | None = None
    schemes: tuple[str, ...] = ()


BUILT_IN: Final[dict[str, ProviderSpec]] = {
    "sqlite": ProviderSpec(
        "sqlite",
        "openmem._async.providers.sqlite:AsyncSqliteProvider",
        "openmem._sync.providers.sqlite:SqliteProvider",
    ),
    "postgres": ProviderSpec(
        "postgres",
        "openmem._async.providers.postgres:AsyncPostgresProvider",
        "openmem._sync.providers.postgres:PostgresProvider",
        requirement("postgres"),
    ),
    "passthrough": ProviderSpec(
        "passthrough",
        "openmem._async.providers.passthrough:AsyncPassthroughProvider",
        "openmem._sync.providers.passthrough:PassthroughProvider",
    ),
    "mem0": ProviderSpec(
        "mem0",
        "openmem._async.providers.mem0:AsyncMem0Provider",
        "openmem._sync.providers.mem0:Mem0Provider",
        requirement("mem0"),
    ),
    "supermemory": ProviderSpec(
        "supermemory",
        "openmem._async.providers.supermemory:AsyncSupermemoryProvider",
        "openmem._sync.providers.supermemory:SupermemoryProvider",
        requirement("supermemory"),
    ),
    "letta": ProviderSpec(
        "letta",
        "openmem._async.providers.letta:AsyncLettaProvider",
        "openmem._sync.providers.letta:LettaProvider",
        requirement("letta"),
    ),
}


def find_spec(name: str) -> ProviderSpec:
    """Return the spec of a provider.

    Raises:
        UnsupportedProviderError: None of that name is built in or installed.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    for entry in entry_points(group=ENTRY_POINT_GROUP, name=name):
        found = entry.load()
        if isinstance(found, ProviderSpec):
            return found
        raise UnsupportedProviderError(f"provider {name!r}: its entry point is no ProviderSpec", provider=name)
    installed = ", ".join(_names())
    if is_url(name) or "/" in name or "." in name or "=" in name or "@" in name:
        # It may hold a password, so neither the message nor the error's own fields show it.
        raise UnsupportedProviderError(f"there is no such provider; for a place give url=…; installed are: {installed}")
    message = f"there is no provider {name!r}; installed are: {installed}"
    meant = closest(name, _names())
    raise UnsupportedProviderError(message if meant is None else f"{message}; did you mean {meant!r}?", provider=name)


def provider_of_scheme(scheme: str) -> str | None:
    """Return the name of the provider that somebody installed for a scheme of `url=`, or `None`."""
    others = [*entry_points(group=ENTRY_POINT_GROUP)]
    if any(entry.name == scheme for entry in others):
        return scheme
    specs = [(entry.name, entry.load()) for entry in others]
    return next((name for name, spec in specs if isinstance(spec, ProviderSpec) and scheme in spec.schemes), None)


def load_async_provider(name: str) -> Any:
    """Return the class of a provider for `AsyncMemory`."""
    spec = find_spec(name)
    return _load(spec, spec.async_provider)


def load_provider(name: str) -> Any:
    """Return the class of a provider for `Memory`."""
    spec = find_spec(name)
    if spec.provider is None:
        raise UnsupportedProviderError(f"provider {name!r} works with AsyncMemory only", provider=name)
    return _load(spec, spec.provider)


def _load(spec: ProviderSpec, reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if spec.extra is None:
            raise
        raise InvalidRequestError(
            f"provider {spec.name!r} needs the module {error.name!r}: {pip_install(spec.extra)}",
            provider=spec.name,
        ) from error


def _names() -> list[str]:
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))})
