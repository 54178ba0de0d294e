"""The face: one list of names, and every one of them is there."""

from __future__ import annotations

import inspect

import pytest

import openmem
from openmem import errors

PROMISED = {
    "AsyncMemory",
    "Memory",
    "MemoryRecord",
    "MemoryPage",
    "SearchResult",
    "ContextBlock",
    "__version__",
}
VERBS = (
    "add add_many get update delete delete_all list iterate scopes tags users search context history audit "
    "capabilities wait_for_ingest export import_ health close"
)


def test_list_of_names_has_no_doubles() -> None:
    assert len(openmem.__all__) == len(set(openmem.__all__))


def test_promised_names_are_listed() -> None:
    assert set(openmem.__all__) >= PROMISED


@pytest.mark.parametrize("name", sorted(openmem.__all__))
def test_listed_name_resolves(name: str) -> None:
    assert getattr(openmem, name) is not None


def test_star_import_gives_exactly_the_listed_names() -> None:
    namespace: dict[str, object] = {}
    exec("from openmem import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(openmem.__all__)


def test_dir_shows_the_listed_names() -> None:
    assert set(dir(openmem)) >= set(openmem.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Mammoth"):
        _ = openmem.Mammoth


def test_every_error_of_the_tree_is_public() -> None:
    tree = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, errors.OMPError)
    }
    assert tree <= set(errors.__all__)


@pytest.mark.parametrize("name", ["AsyncMemory", "Memory"])
def test_face_has_every_verb(name: str) -> None:
    face = getattr(openmem, name)
    assert [verb for verb in VERBS.split() if not callable(getattr(face, verb, None))] == []
