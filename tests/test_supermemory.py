"""Requirements of the supermemory provider, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openmem import InvalidRequestError, Memory
from tests.vendor.supermemory import NEEDED


def test_missing_sdk_is_named_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supermemory", None)  # as if it were not there
    with pytest.raises(InvalidRequestError, match=r"pip install 'openmem-sdk\[supermemory\]'"):
        Memory("supermemory", api_key="k")


def test_sdk_is_not_imported_before_the_first_verb() -> None:
    pytest.importorskip("supermemory", reason=NEEDED)
    program = "import sys, openmem; openmem.Memory('supermemory', api_key='k'); print('supermemory' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=19)
    assert done.stdout.strip() == "False"
