"""Effects of mem0 on the process around it: nothing is sent, nothing imported before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openmem import InvalidRequestError, Memory
from tests.vendor.mem0_oss import NEEDED

PROGRAM = Path(__file__).parent / "programs" / "mem0_quiet.py"


def test_mem0_sends_nothing_and_is_imported_by_the_first_verb(tmp_path: Path) -> None:
    pytest.importorskip("mem0", reason=NEEDED)
    paths = os.pathsep.join([str(PROGRAM.parent.parent.parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": paths, "MEM0_DIR": str(tmp_path / "mem0"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)], capture_output=True, text=True, env=env, timeout=50
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"tried": [], "early": False, "found": 1, "telemetry": False, "threads": []}


def test_missing_sdk_is_named_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mem0", None)  # as if it were not there
    with pytest.raises(InvalidRequestError, match=r"pip install 'openmem-sdk\[mem0\]'"):
        Memory("mem0", api_key="k")
