"""Names that are loaded on first use, from a package made for the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from openmem._config.lazy import homes_of, load_lazily

HOMES = homes_of({"json": "loads dumps", "fractions": "Fraction"})


@pytest.fixture
def package() -> Iterator[ModuleType]:
    module = ModuleType("lazy_package")
    module.here = 1  # type: ignore[attr-defined]
    sys.modules["lazy_package"] = module
    yield module
    del sys.modules["lazy_package"]


def test_homes_are_told_by_module() -> None:
    assert HOMES == {"loads": "json", "dumps": "json", "Fraction": "fractions"}


def test_name_is_loaded_once_and_kept(package: ModuleType) -> None:
    get, _ = load_lazily("lazy_package", HOMES)
    assert get("Fraction") is sys.modules["fractions"].Fraction
    assert vars(package)["Fraction"] is get("Fraction")
    assert "loads" not in vars(package)


def test_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    get, _ = load_lazily("lazy_package", HOMES)
    with pytest.raises(AttributeError) as caught:
        get("missing")
    assert str(caught.value) == "module 'lazy_package' has no attribute 'missing'"


def test_names_are_those_of_the_package_and_those_to_come(package: ModuleType) -> None:
    _, names = load_lazily("lazy_package", HOMES)
    assert {"here", "Fraction", "loads", "dumps"} <= set(names())
    assert names() == sorted(names())


def test_moved_name_works_and_warns_at_the_caller(package: ModuleType) -> None:
    get, _ = load_lazily("lazy_package", HOMES, {"Decimal": "decimal"})
    message = "^lazy_package.Decimal has moved: import it from decimal; the old name goes in the next version$"
    with pytest.warns(DeprecationWarning, match=message) as told:
        assert get("Decimal").__module__ == "decimal"
    assert told[0].filename == __file__
    assert "Decimal" not in vars(package)
    with pytest.raises(AttributeError):
        get("Context")
