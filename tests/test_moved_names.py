"""Names that have moved still work for one version, and say where they are."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import openmem
from openmem import AsyncMemory, Memory
from openmem._async.providers.sqlite import AsyncSqliteProvider
from openmem._config.moved import MOVED_MODULES
from openmem._sync.providers.sqlite import SqliteProvider
from openmem.providers import Call
from openmem.server import create_app
from openmem.server.middleware.admission import Admission

MOVED = sorted(openmem._MOVED.items())


@pytest.mark.parametrize(("name", "home"), MOVED)
def test_moved_name_works_and_says_where_it_is(name: str, home: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"openmem.{name} has moved: import it from {home}"):
        found = getattr(openmem, name)
    assert found is getattr(import_module(home), name)
    assert name not in openmem.__all__


@pytest.mark.parametrize(("name", "home"), sorted(MOVED_MODULES.items()))
def test_moved_module_can_be_imported_and_says_where_it_is(name: str, home: str) -> None:
    program = f"import warnings; warnings.simplefilter('always'); import {name}; print({name}.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{home}\n"
    assert f"{name} has moved: import its names from {home}" in done.stderr


def test_create_app_takes_the_old_name_of_its_admission(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="admission="):
        app = create_app(AsyncMemory(url=tmp_path / "m.db", embedder="none"), gate=Admission())
    assert app.routes


@pytest.mark.parametrize(("old", "name"), sorted(openmem._RENAMED.items()))
def test_renamed_name_works_and_says_its_new_one(old: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"openmem.{old} is called {name}"):
        assert getattr(openmem, old) is getattr(openmem, name)
    assert old not in openmem.__all__


@pytest.mark.parametrize("kind", [AsyncMemory, Memory])
def test_acting_is_the_old_name_of_for_caller(kind: type[Any], tmp_path: Path) -> None:
    memory = kind(url=tmp_path / "m.db", embedder="none")
    with pytest.warns(DeprecationWarning, match="for_caller") as said:
        view = memory.acting(app="notes", request_id="r-1", timeout=2.0)
    assert said[0].filename == __file__
    assert (view._app, view._request_id, view._timeout) == ("notes", "r-1", 2.0)


def test_acting_of_a_call_is_the_old_name_of_for_caller() -> None:
    with pytest.warns(DeprecationWarning, match="for_caller") as said:
        made = Call().acting("notes", "r-1", None, None)
    assert said[0].filename == __file__
    assert (made.app, made.request_id) == ("notes", "r-1")


@pytest.mark.parametrize("base", [AsyncSqliteProvider, SqliteProvider])
@pytest.mark.parametrize("value", [False, True])
def test_provider_may_say_under_the_old_name_whether_it_enforces_access(base: type[Any], value: bool) -> None:
    with pytest.warns(DeprecationWarning, match="Own.enforces is called enforces_access") as said:
        made: Any = type("Own", (base,), {"enforces": value})
    assert said[0].filename == __file__
    assert made.enforces_access is value
    assert base.enforces_access is True


def test_module_that_never_was_is_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match="mammoth"):
        import_module("openmem.mammoth")
