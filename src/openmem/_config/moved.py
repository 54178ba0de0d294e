"""Modules that were public under another name: they can be imported under it for one more minor version."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final
from warnings import warn

# The old module, and the one to import instead.
MOVED_MODULES: Final = {
    "openmem.access": "openmem",
    "openmem.analysis": "openmem.providers",
    "openmem.candidates": "openmem.providers",
    "openmem.cursors": "openmem.providers",
    "openmem.embedding": "openmem",
    "openmem.ids": "openmem.providers",
    "openmem.keys": "openmem.server",
    "openmem.registry": "openmem.providers",
    "openmem.requests": "openmem.providers",
    "openmem.scopes": "openmem.providers",
    "openmem.settings": "openmem.providers",
}


class MovedModules:
    """Finds a module under its old name, for `sys.meta_path`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for a module that has moved, `None` for any other."""
        return ModuleSpec(name, self) if name in MOVED_MODULES else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today in the place of the old one."""
        name = module.__name__
        home = MOVED_MODULES[name]
        message = f"{name} has moved: import its names from {home}; the old name goes in the next version"
        warn(message, DeprecationWarning, stacklevel=2)
        sys.modules[name] = import_module(home)


def find_moved_modules() -> None:
    """Have the import system find modules by their old names, after all that it finds by itself."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(MovedModules())
