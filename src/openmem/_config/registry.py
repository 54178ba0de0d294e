"""Provider names and where their classes are. A reference is text: nothing is imported before the first use.

Built-in and third-party providers take the same road. A third party's package announces a `ProviderSpec` as an
entry point of the group `openmem.providers`; its name is what users pass as `provider=`. What a spec says of its
provider is checked by the constructor of an instance; the class is loaded by the first verb, where that waits.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, Final

from openmem._config.extras import pip_install, requirement
from openmem._config.settings import Settings, check_options
from openmem._model.retention import OPTIONS
from openmem._model.urls import is_url
from openmem._text.misspellings import closest
from openmem.errors import InvalidRequestError, UnsupportedProviderError

ENTRY_POINT_GROUP: Final = "openmem.providers"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """Where a provider's two classes are, and what can be known of it without loading one.

    Args:
        name: What users pass as `provider=`.
        async_provider: `package.module:Class`, a subclass of `AsyncProvider`.
        provider: The same for `Provider`; `None` if there is no such form.
        extra: What to install when a module of the provider is missing, such as `openmem-sdk[postgres]`.
        schemes: Further schemes of `url=` that mean this provider; its name is always one, as in `acme://host`.
        options: The keyword arguments that only this provider knows, as its classes say. `None` leaves that to the
            classes: one is loaded at once when an option or an embedder is given, else by the first verb.
        embeds: Whether the provider uses an embedder of this side, as its classes say.
        check: `package.module:function`, which is called with the `Settings` of a new instance and raises
            `InvalidRequestError`. It loads nothing heavy, and does no I/O. If what it returns has a `place`, that is
            where the store is; else it is the address.
        async_needs: Modules that `async_provider` needs; the constructor looks whether they are there.
        needs: The same for `provider`.
    """

    name: str
    async_provider: str
    provider: str | None
    extra: str | None = None
    schemes: tuple[str, ...] = ()
    options: frozenset[str] | None = None
    embeds: bool = False
    check: str | None = None
    async_needs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


BUILT_IN: Final[dict[str, ProviderSpec]] = {
    "sqlite": ProviderSpec(
        "sqlite",
        "openmem._async.providers.sqlite:AsyncSqliteProvider",
        "openmem._sync.providers.sqlite:SqliteProvider",
        options=frozenset({"synchronous", "cache_mb"}) | OPTIONS,
        embeds=True,
        check="openmem._config.options.sqlite:check",
    ),
    "postgres": ProviderSpec(
        "postgres",
        "openmem._async.providers.postgres:AsyncPostgresProvider",
        "openmem._sync.providers.postgres:PostgresProvider",
        requirement("postgres"),
        options=frozenset({"schema", "text_search", "migrate", "pool_min_size", "pool_max_size", "pool_timeout"})
        | {"statement_cache", "group_adds", "distribute", "hnsw", "hnsw_from"}
        | OPTIONS,
        embeds=True,
        check="openmem._config.options.postgres:check",
        async_needs=("asyncpg",),
        needs=("psycopg",),
    ),
    "passthrough": ProviderSpec(
        "passthrough",
        "openmem._async.providers.passthrough:AsyncPassthroughProvider",
        "openmem._sync.providers.passthrough:PassthroughProvider",
        options=frozenset({"capabilities", "transport"}),
        check="openmem._config.options.passthrough:check",
    ),
    "mem0": ProviderSpec(
        "mem0",
        "openmem._async.providers.mem0:AsyncMem0Provider",
        "openmem._sync.providers.mem0:Mem0Provider",
        requirement("mem0"),
        options=frozenset({"mode", "config", "client", "infer", "workers"}),
        check="openmem._io.vendors.mem0.client:access_of",
    ),
    "supermemory": ProviderSpec(
        "supermemory",
        "openmem._async.providers.supermemory:AsyncSupermemoryProvider",
        "openmem._sync.providers.supermemory:SupermemoryProvider",
        requirement("supermemory"),
        options=frozenset({"client", "task_type", "dreaming", "workers"}),
        check="openmem._io.vendors.supermemory.client:access_of",
    ),
    "letta": ProviderSpec(
        "letta",
        "openmem._async.providers.letta:AsyncLettaProvider",
        "openmem._sync.providers.letta:LettaProvider",
        requirement("letta"),
        options=frozenset({"embedding", "client", "workers"}),
        check="openmem._io.vendors.letta.client:access_of",
    ),
}


@dataclass(frozen=True, slots=True)
class ProviderClass:
    """A provider's class of one form, which need not be loaded yet.

    Attributes:
        spec: What is known of the provider.
        reference: Where the class is.
        needs: Modules that it needs.
    """

    spec: ProviderSpec
    reference: str
    needs: tuple[str, ...]

    def load(self) -> Any:
        """Return the class. The first time that takes long, so it is not for an event loop.

        Raises:
            InvalidRequestError: A module is missing; the message says what to install.
        """
        return self._load(self.reference)

    def check(self, settings: Settings) -> object:
        """Check what an instance is to be made from without the class, and return what the spec's `check` did.

        Raises:
            InvalidRequestError: An option is unknown or wrong, or something is missing.
        """
        for module in (self.reference.partition(":")[0].partition(".")[0], *self.needs):
            if sys.modules.get(module) is None and importlib.util.find_spec(module) is None:
                raise self._missing(module)
        if self.spec.options is not None and settings.provider == settings.entrance:
            check_options(self.spec.name, settings.options, self.spec.options)
        if self.spec.check is None:
            return None
        check: Callable[[Settings], object] = self._load(self.spec.check)
        return check(settings)

    def _load(self, reference: str) -> Any:
        module, _, attribute = reference.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if self.spec.extra is None:
                raise
            raise self._missing(error.name) from error

    def _missing(self, module: str | None) -> Exception:
        message = f"provider {self.spec.name!r} needs the module {module!r}"
        if self.spec.extra is None:
            return ModuleNotFoundError(message, name=module)
        return InvalidRequestError(f"{message}: {pip_install(self.spec.extra)}", provider=self.spec.name)


def find_spec(name: str) -> ProviderSpec:
    """Return the spec of a provider.

    Raises:
        UnsupportedProviderError: None of that name is built in or installed.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = _announced(name)
    if isinstance(found, ProviderSpec):
        return found
    if found is not None:
        raise UnsupportedProviderError(f"provider {name!r}: its entry point is no ProviderSpec", provider=name)
    installed = ", ".join(_names())
    if is_url(name) or "/" in name or "." in name or "=" in name or "@" in name:
        # It may hold a password, so neither the message nor the error's own fields show it.
        raise UnsupportedProviderError(f"there is no such provider; for a place give url=…; installed are: {installed}")
    message = f"there is no provider {name!r}; installed are: {installed}"
    meant = closest(name, _names())
    raise UnsupportedProviderError(message if meant is None else f"{message}; did you mean {meant!r}?", provider=name)


def built_in_options(name: str) -> frozenset[str]:
    """Return the options that a built-in provider knows."""
    return BUILT_IN[name].options or frozenset()


def provider_of_scheme(scheme: str) -> str | None:
    """Return the name of the provider that somebody installed for a scheme of `url=`, or `None`."""
    others = [*entry_points(group=ENTRY_POINT_GROUP)]
    if any(entry.name == scheme for entry in others):
        return scheme
    specs = [(entry.name, entry.load()) for entry in others]
    return next((name for name, spec in specs if isinstance(spec, ProviderSpec) and scheme in spec.schemes), None)


def find_async_provider(name: str) -> ProviderClass:
    """Return where the class of a provider for `AsyncMemory` is."""
    spec = find_spec(name)
    return ProviderClass(spec, spec.async_provider, spec.async_needs)


def find_provider(name: str) -> ProviderClass:
    """Return where the class of a provider for `Memory` is.

    Raises:
        UnsupportedProviderError: There is none of that form.
    """
    spec = find_spec(name)
    if spec.provider is None:
        raise UnsupportedProviderError(f"provider {name!r} works with AsyncMemory only", provider=name)
    return ProviderClass(spec, spec.provider, spec.needs)


def load_async_provider(name: str) -> Any:
    """Return the class of a provider for `AsyncMemory`."""
    return find_async_provider(name).load()


def load_provider(name: str) -> Any:
    """Return the class of a provider for `Memory`."""
    return find_provider(name).load()


def _announced(name: str) -> Any:
    for found in (_quickly_found, entry_points):
        for entry in found(group=ENTRY_POINT_GROUP, name=name):
            return entry.load()
    return None


def _quickly_found(group: str, name: str) -> Iterator[EntryPoint]:
    """Yield the entry points of packages in plain folders, as nearly all are.

    `entry_points` parses what all packages announce, which takes ten times as long; it finds the others.
    """
    for folder in sys.path:
        try:
            entries = [*os.scandir(folder or ".")]
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith(".dist-info") and group.encode() in _read(f"{entry.path}/entry_points.txt"):
                yield from Distribution.at(entry.path).entry_points.select(group=group, name=name)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _names() -> list[str]:
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=ENTRY_POINT_GROUP))})
