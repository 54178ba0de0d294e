"""A test that is run at length in one form is always run in the other one."""

from __future__ import annotations

from pathlib import Path

import pytest

from openmem.testing import AsyncProviderSuite
from tests.one_form import AT_LENGTH, is_at_length, names_in, twin_of

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("path", AT_LENGTH)
def test_twin_of_a_file_that_is_run_at_length_is_always_run(path: str) -> None:
    assert (ROOT / path).exists()
    assert (ROOT / twin_of(path)).exists()
    assert twin_of(path) != path
    assert twin_of(path) not in AT_LENGTH
    assert AT_LENGTH[path].reason


@pytest.mark.parametrize("path", AT_LENGTH)
def test_test_that_is_named_exists(path: str) -> None:
    names = names_in((ROOT / path).read_text("utf-8")) | {*dir(AsyncProviderSuite)}
    assert set(AT_LENGTH[path].named) <= names


def test_other_tests_of_a_file_are_left_to_the_long_run() -> None:
    path = "tests/_async/test_letta_conformance.py"
    assert is_at_length(path, "test_get_returns_what_was_added[1]")
    assert not is_at_length(path, "test_any_order_of_calls_agrees_with_a_dictionary")
    assert not is_at_length(twin_of(path), "test_get_returns_what_was_added[1]")


def test_mark_reaches_the_tests_of_the_file(request: pytest.FixtureRequest) -> None:
    """The hook of `tests/conftest.py` is what marks them."""
    marked = [item for item in request.session.items if is_at_length(_path(item), item.name)]
    assert [item.nodeid for item in marked if item.get_closest_marker("long") is None] == []


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(item.config.rootpath).as_posix()
