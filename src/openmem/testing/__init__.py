"""The conformance kit: prove that a provider keeps the contract, by subclassing one pytest class.

    from openmem.testing import AsyncProviderSuite

    class TestAcme(AsyncProviderSuite):
        temporal = False                      # declared absent: the kit checks that it is refused

        @pytest.fixture
        def open_memory(self, tmp_path):
            def open_memory(**overrides):     # always the same store, which starts empty for every test
                return AsyncMemory("acme", url=f"acme://{tmp_path}", **overrides)
            return open_memory

`AsyncProviderSuite` needs pytest-asyncio with `asyncio_mode = "auto"`, `ProviderSuite` pytest alone; both
need hypothesis. `HashEmbedder` needs neither and serves the tests of applications too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from openmem._config.extras import install_extra

if TYPE_CHECKING:
    from openmem.testing._async.suite import AsyncProviderSuite
    from openmem.testing._sync.suite import ProviderSuite
    from openmem.testing.embedder import HashEmbedder

__all__ = ["AsyncProviderSuite", "HashEmbedder", "ProviderSuite"]

_HOMES = {
    "AsyncProviderSuite": "openmem.testing._async.suite",
    "ProviderSuite": "openmem.testing._sync.suite",
    "HashEmbedder": "openmem.testing.embedder",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name != "HashEmbedder":
        _show_values_in_failures()
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _show_values_in_failures() -> None:
    """Have pytest rewrite the kit's assertions; it must be told before the rules are imported."""
    try:
        import pytest
    except ImportError as error:
        raise ImportError(f"the conformance kit needs pytest and hypothesis: {install_extra('testing')}") from error
    pytest.register_assert_rewrite("openmem.testing._async", "openmem.testing._sync")


if "pytest" in sys.modules:  # now, since a test may import the rules without asking here for a suite
    _show_values_in_failures()
