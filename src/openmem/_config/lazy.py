"""Packages whose names are loaded on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any
from warnings import warn


def load_lazily(
    package: str,
    homes: Mapping[str, str],
    moved: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package (PEP 562).

    Args:
        package: The name of the package.
        homes: The module that each name comes from.
        moved: Names that are found elsewhere now, with the public module to import them from. They still work, with a
            `DeprecationWarning`.
        renamed: Old names of names of this package, with those of today. They still work in the same way.
    """

    def get(name: str) -> Any:
        if moved and name in moved:
            message = f"{package}.{name} has moved: import it from {moved[name]}; the old name goes in the next version"
            warn(message, DeprecationWarning, stacklevel=2)
            return getattr(import_module(moved[name]), name)
        if renamed and name in renamed:
            message = f"{package}.{name} is called {renamed[name]}; the old name goes in the next version"
            warn(message, DeprecationWarning, stacklevel=2)
            name = renamed[name]
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names


def homes_of(names_by_module: Mapping[str, str]) -> dict[str, str]:
    """Return the module of each name, from the names of each module with spaces between them."""
    return {name: module for module, names in names_by_module.items() for name in names.split()}
