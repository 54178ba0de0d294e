"""Each pair of twins looks the same: methods, parameters, defaults, annotations, docstrings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import openmem
import openmem._async
import openmem._io
import openmem.testing._async

SYNC_NAMES = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}


def modules_in(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def classes_in(module: ModuleType) -> dict[str, type]:
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


def in_sync(text: str) -> str:
    """Return the text as it reads in the sync form."""
    return re.sub(r"\bAsync(?=[A-Z])", "", text).replace("_async", "_sync")


def face_of(cls: type) -> dict[str, Any]:
    """Return the methods and properties that a user sees, by their sync names."""
    members = {name: inspect.getattr_static(cls, name) for name in dir(cls)}
    return {
        SYNC_NAMES.get(name, name): getattr(member, "__func__", getattr(member, "fget", member))
        for name, member in members.items()
        if name == "__init__" or name in SYNC_NAMES or name in SYNC_NAMES.values() or not name.startswith("_")
    }


def parameters(function: Any) -> list[tuple[Any, ...]]:
    if not inspect.isfunction(function):
        return []
    return [(each.name, each.kind, repr(each.default)) for each in inspect.signature(function).parameters.values()]


def annotations_of(function: Any) -> dict[str, str]:
    return {name: in_sync(str(text)) for name, text in getattr(function, "__annotations__", {}).items()}


MIRRORED = [
    (cls, getattr(importlib.import_module(in_sync(module.__name__)), in_sync(name)))
    for package in (openmem._async, openmem.testing._async)
    for module in modules_in(package)
    for name, cls in classes_in(module).items()
]
# The pair over Postgres is AsyncPg and Pg; what each driver needs beneath it differs by nature.
SEAM_MODULES = [module for module in modules_in(openmem._io) if not module.__name__.startswith("openmem._io.postgres.")]
SEAM_CLASSES = [
    (cls, classes_in(module).get(in_sync(name)))
    for module in SEAM_MODULES
    for name, cls in classes_in(module).items()
    if name.startswith("Async")
]
SEAM_FUNCTIONS = [
    (function, getattr(module, name.removeprefix("async_"), None))
    for module in SEAM_MODULES
    for name, function in vars(module).items()
    if name.startswith("async_") and getattr(function, "__module__", "") == module.__name__
]


def pair_name(value: object) -> str:
    return getattr(value, "__qualname__", str(value))


def test_the_two_faces_are_among_the_pairs() -> None:
    assert (openmem.AsyncMemory, openmem.Memory) in MIRRORED
    assert len(SEAM_CLASSES) > 2
    assert len(SEAM_FUNCTIONS) > 2


@pytest.mark.parametrize(("one", "two"), MIRRORED, ids=pair_name)
def test_mirrored_twins_have_the_same_members_and_parameters(one: type, two: type) -> None:
    ours, theirs = face_of(one), face_of(two)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert parameters(ours[name]) == parameters(theirs[name]), name


@pytest.mark.parametrize(("one", "two"), MIRRORED, ids=pair_name)
def test_mirrored_twins_have_the_same_annotations_and_docstrings(one: type, two: type) -> None:
    ours, theirs = face_of(one), face_of(two)
    assert in_sync(one.__doc__ or "") == (two.__doc__ or "")
    for name in ours:
        assert annotations_of(ours[name]) == annotations_of(theirs[name]), name
        assert in_sync(inspect.getdoc(ours[name]) or "") == (inspect.getdoc(theirs[name]) or ""), name


@pytest.mark.parametrize("name", sorted(vars(openmem.AsyncMemory)))
def test_public_method_of_the_face_has_a_docstring(name: str) -> None:
    member = inspect.getattr_static(openmem.AsyncMemory, name)
    if inspect.isfunction(member) and not name.startswith("_"):
        assert inspect.getdoc(member)


@pytest.mark.parametrize(("one", "two"), SEAM_CLASSES, ids=pair_name)
def test_hand_written_twins_have_the_same_members_and_parameters(one: type, two: type | None) -> None:
    assert two is not None, f"{one.__name__} has no twin in its module"
    ours, theirs = face_of(one), face_of(two)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert parameters(ours[name]) == parameters(theirs[name]), name


@pytest.mark.parametrize(("one", "two"), SEAM_FUNCTIONS, ids=pair_name)
def test_hand_written_functions_have_the_same_parameters(one: Any, two: Any) -> None:
    assert two is not None, f"{one.__name__} has no twin in its module"
    assert parameters(one) == parameters(two)
