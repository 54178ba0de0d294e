"""Third-party providers take the same road as the built-in ones: an entry point, then the registry."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openmem import InvalidRequestError, Memory
from openmem._config.registry import BUILT_IN, ProviderSpec
from openmem._io.plugins import find_spec, load_async_provider, load_provider
from openmem.errors import UnsupportedProviderError
from openmem.providers import ProviderName, Retry

_PACKAGE = """
from openmem.providers import Provider, ProviderSpec
from openmem.types import MemoryRecord

SPEC = ProviderSpec("acme", "acme_openmem:AsyncAcme", "acme_openmem:Acme", schemes=("acme-red",))
ASYNC_ONLY = ProviderSpec("acme-async", "acme_openmem:AsyncAcme", None)
STUBBORN = ProviderSpec("acme-stubborn", "acme_openmem:AsyncAcme", "acme_openmem:Stubborn")
NO_SPEC = "acme"
UNINSTALLED = ProviderSpec("acme-driver", "acme_no_such_driver:A", "acme_no_such_driver:B", "acme[driver]")


class Acme(Provider):
    name = "acme"
    options = frozenset({"colour"})

    def get(self, id, user_id, call):
        return MemoryRecord(id=id, content=self.settings.options["colour"], user_id="ann", created_at=call.now)


class Stubborn(Acme):
    options = frozenset()
    takes_retry = True

    def get(self, id, user_id, call):
        often = str(self.settings.retry.retries)
        return MemoryRecord(id=id, content=often, user_id="ann", created_at=call.now)
"""
_ENTRY_POINTS = """[openmem.providers]
acme = acme_openmem:SPEC
acme-stubborn = acme_openmem:STUBBORN
acme-async = acme_openmem:ASYNC_ONLY
acme-broken = acme_openmem:NO_SPEC
acme-driver = acme_openmem:UNINSTALLED
"""


@pytest.fixture(autouse=True)
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    info = tmp_path / "acme_openmem-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-openmem\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    (tmp_path / "acme_openmem.py").write_text(_PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield
    sys.modules.pop("acme_openmem", None)


def test_policy_of_repeats_reaches_a_provider_that_says_it_follows_one() -> None:
    with Memory(ProviderName("acme-stubborn"), retry=Retry(7)) as memory:
        assert memory.get("x").content == "7"
    with pytest.raises(InvalidRequestError, match="retry: provider 'acme' makes no requests"):
        Memory(ProviderName("acme"), colour="red", retry=Retry(7))


def test_an_installed_provider_is_found_by_its_name() -> None:
    with Memory(ProviderName("acme"), colour="red") as memory:
        assert memory.get("x").content == "red"


@pytest.mark.parametrize("url", ["acme://host/x", "ACME://host", "acme-red://host"])
def test_an_installed_provider_is_found_by_the_scheme_of_a_url(url: str) -> None:
    with Memory(url=url, colour="red") as memory:  # type: ignore[call-overload]  # an option of another provider
        assert memory.get("x").content == "red"


def test_scheme_without_a_provider_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="the scheme 'acmf' is unknown"):
        Memory(url="acmf://host")


def test_a_verb_that_a_provider_lacks_is_refused_under_its_name() -> None:
    with (
        Memory(ProviderName("acme"), colour="red") as memory,
        pytest.raises(Exception, match="search is not supported") as caught,
    ):
        memory.search("x", "ann")
    assert (caught.value.code, caught.value.provider) == ("unsupported_capability", "acme")  # type: ignore[attr-defined]


def test_an_option_that_a_provider_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"no option 'shape'; it knows: colour"):
        Memory(ProviderName("acme"), shape="round")


def test_a_provider_without_a_plain_form_says_so() -> None:
    with pytest.raises(UnsupportedProviderError, match="works with AsyncMemory only"):
        load_provider("acme-async")


def test_an_entry_point_that_is_no_spec_is_refused() -> None:
    with pytest.raises(UnsupportedProviderError, match="no ProviderSpec"):
        find_spec("acme-broken")


def test_a_missing_module_says_what_to_install() -> None:
    with pytest.raises(InvalidRequestError, match=r"pip install 'acme\[driver\]'"):
        load_provider("acme-driver")


def test_an_unknown_provider_names_those_there_are() -> None:
    with pytest.raises(
        UnsupportedProviderError, match=r"acme, acme-async, acme-broken, acme-driver, .*postgres.*sqlite"
    ):
        find_spec("redis")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_providers_can_be_loaded_in_both_forms(name: str) -> None:
    assert load_async_provider(name).name == load_provider(name).name == name
    assert isinstance(find_spec(name), ProviderSpec)


def test_class_is_loaded_once_for_many_instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Memory(url=f"sqlite:///{tmp_path / 'first.db'}", embedder="none") as memory:
        memory.add("tea", user_id="ann")
    loads: list[object] = []
    monkeypatch.setattr("openmem._io.plugins.ProviderClass.load", lambda self: loads.append(self))
    with Memory(url=f"sqlite:///{tmp_path / 'second.db'}", embedder="none") as memory:
        assert memory.list("ann").items == []
    assert loads == []
