"""docs/write-a-provider.md works as written: its files, put into an empty folder, pass the conformance kit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from openmem.testing import AsyncProviderSuite

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "write-a-provider.md"
OTHERS = [f"-pno:{plugin}" for plugin in ("schemathesis", "anyio", "xdist", "randomly", "timeout")]
"""Plugins of this project that the page does not install."""
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Write the files of the page, and what installing them would write."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    for name, text in blocks:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    entry = re.search(r"^acme = \"(.+)\"$", (tmp_path / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert entry is not None
    installed = tmp_path / "src" / "openmem_acme-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: openmem-acme\nVersion: 0.1.0\n", encoding="utf-8")
    (installed / "entry_points.txt").write_text(f"[openmem.providers]\nacme = {entry[1]}\n", encoding="utf-8")
    return tmp_path


def run_kit(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *OTHERS, *options]
    path = {"PYTHONPATH": f"{project / 'src'}{os.pathsep}{ROOT / 'src'}"}
    return subprocess.run(command, cwd=project, env=_environment() | path, capture_output=True, text=True, check=False)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


def test_provider_of_the_page_passes_the_kit(project: Path) -> None:
    done = run_kit(project)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > len([name for name in dir(AsyncProviderSuite) if name.startswith("test_")]) > 150
    assert "skipped" not in done.stdout


@pytest.mark.parametrize(
    ("honest", "broken", "rule"),
    [
        pytest.param(
            'raise self.cannot("a time of validity")\n            if draft.supersedes',
            "pass\n            if draft.supersedes",
            "test_memory_outside_its_window_is_hidden",
            id="argument-ignored",
        ),
        pytest.param(
            "if record.user_id == view.user_id", "if True", "test_two_users_see_only_their_own", id="users-mixed"
        ),
        pytest.param(
            "or user_id not in (None, record.user_id)", "", "test_foreign_memory_is_as_if_missing", id="foreign-shown"
        ),
        pytest.param("< last]", "<= last]", "test_pages_hold_everything_once_in_order", id="page-repeats-its-last"),
        pytest.param("temporal=False", "temporal=True", "test_capabilities_agree_with_the_declarations", id="claim"),
        pytest.param("key=lambda result: (-", "key=lambda result: (", "test_scores_lie_between", id="worst-first"),
    ],
)
def test_kit_notices_a_broken_provider(project: Path, honest: str, broken: str, rule: str) -> None:
    module = project / "src" / "openmem_acme" / "provider.py"
    text = module.read_text(encoding="utf-8")
    assert text.count(honest) == 1
    module.write_text(text.replace(honest, broken), encoding="utf-8")
    done = run_kit(project, "-k", rule)
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"::{rule}" in done.stdout
