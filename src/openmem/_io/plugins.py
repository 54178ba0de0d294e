"""Providers by name: those built in, and those of packages that announce one. A class is loaded on its first use."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

from openmem._config.extras import pip_install
from openmem._config.registry import BUILT_IN, ENTRY_POINT_GROUP, ProviderSpec
from openmem._config.settings import Settings, check_options
from openmem._model.urls import is_url
from openmem._text.misspellings import closest
from openmem.errors import InvalidRequestError, UnsupportedProviderError

_loaded: dict[str, tuple[Any, Any]] = {}
"""Classes that were loaded, with their modules: an instance for each request must not wait for a thread each time."""


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
        kind = self._load(self.reference)
        _loaded[self.reference] = sys.modules.get(self.reference.partition(":")[0]), kind
        return kind

    @property
    def loaded(self) -> Any:
        """The class, if it was loaded before and its module is still the same; else `None`."""
        module, kind = _loaded.get(self.reference, (None, None))
        return kind if module is not None and sys.modules.get(self.reference.partition(":")[0]) is module else None

    def check(self, settings: Settings) -> object:
        """Check what an instance is to be made from without the class, and return what the spec's `check` did.

        Raises:
            InvalidRequestError: An option is unknown or wrong, or something is missing.
        """
        # 1. What must be installed. The class itself is not loaded: that waits for the first verb.
        for module in (self.reference.partition(":")[0].partition(".")[0], *self.needs):
            if sys.modules.get(module) is None and importlib.util.find_spec(module) is None:
                raise self._missing(module)
        # 2. Unknown options, unless an OMP server may stand behind the address.
        # 3. What the provider itself checks.
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
    # 1. Built in: no package can take its name.
    # 2. Announced by a package.
    # 3. Announced wrongly.
    # 4. No such provider.
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


def provider_of_scheme(scheme: str) -> str | None:
    """Return the name of the installed provider for a scheme of `url=`, or `None`."""
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
