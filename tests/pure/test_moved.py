"""Modules under the names that they had before, and the options of the built-in providers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

import pytest

from openmem._config.moved import MovedModules, find_moved_modules
from openmem._config.registry import BUILT_IN, built_in_options


@pytest.fixture
def old_name() -> Iterator[str]:
    """The old name of a module, under which it is not imported yet."""
    before = sys.modules.pop("openmem.scopes", None)
    yield "openmem.scopes"
    sys.modules.pop("openmem.scopes", None)
    if before is not None:
        sys.modules["openmem.scopes"] = before


def test_moved_module_is_found_and_nothing_else() -> None:
    spec = MovedModules().find_spec("openmem.scopes")
    assert spec is not None
    assert (spec.name, type(spec.loader).__name__) == ("openmem.scopes", "MovedModules")
    assert MovedModules().find_spec("openmem.mammoth") is None


def test_moved_module_is_that_of_today_with_a_warning_where_it_is_imported(old_name: str) -> None:
    message = (
        "^openmem.scopes has moved: import its names from openmem.providers; the old name goes in the next version$"
    )
    with pytest.warns(DeprecationWarning, match=message) as told:
        MovedModules().exec_module(ModuleType(old_name))
    assert told[0].filename == __file__
    assert sys.modules[old_name] is import_module("openmem.providers")


def test_finder_of_moved_modules_comes_last_and_once() -> None:
    before = sys.meta_path[:]
    try:
        sys.meta_path[:] = [finder for finder in before if not isinstance(finder, MovedModules)]
        others = len(sys.meta_path)
        find_moved_modules()
        find_moved_modules()
        assert [isinstance(finder, MovedModules) for finder in sys.meta_path] == [False] * others + [True]
    finally:
        sys.meta_path[:] = before


def test_options_of_a_built_in_provider_are_those_of_its_spec() -> None:
    assert built_in_options("sqlite") == {"synchronous", "cache_mb", "audit_days", "versions"}
    assert built_in_options("letta") == BUILT_IN["letta"].options
