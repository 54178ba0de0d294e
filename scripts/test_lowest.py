"""Runs a slice of the tests on the lowest versions that pyproject.toml allows, and on other versions of Python.

    python scripts/test_lowest.py FOLDER [ARGUMENTS OF PYTEST …]

Environments are made in the folder by uv, from the registry that pip uses, and kept until pyproject.toml changes. A
version of Python that is not on this machine is left out by name.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = "cli,postgres"
OTHERS = ("3.12", "3.13")
SLICE = (
    *("tests/pure/test_urls.py", "tests/pure/test_postgres_url.py", "tests/test_sqlite_placeholders.py"),
    *("tests/_async/test_facade.py", "tests/_sync/test_facade.py", "tests/_async/test_pg_seam.py"),
    *("tests/_sync/test_pg_seam.py", "tests/_async/test_postgres_recovery.py", "tests/_sync/test_postgres_recovery.py"),
)


def main(folder: Path, arguments: list[str]) -> int:
    """Run the slice in every environment; return the first exit code that is not 0."""
    uv = _uv(folder)
    environments = [("lowest", f"{sys.version_info[0]}.{sys.version_info[1]}", "lowest-direct")]
    environments += [(version, version, "highest") for version in OTHERS]
    for name, version, resolution in environments:
        base = _base(uv, version)
        if base is None:
            print(f"test-lowest: skipped: there is no Python {version} on this machine", flush=True)
            continue
        python = _environment(uv, folder / name, base, resolution)
        print(f"test-lowest: {name}", flush=True)
        tests = SLICE if resolution != "highest" else SLICE[:3] + SLICE[4:5]
        command = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *tests, *arguments]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


def _base(uv: Path, version: str) -> str | None:
    """Return an interpreter of a version: this one, one that uv finds, or one of pyenv's."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    find = [str(uv), "python", "find", "--no-python-downloads", "--no-project", version]
    found = subprocess.run(find, capture_output=True, text=True, check=False)
    if not found.returncode:
        return found.stdout.strip()
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted(root.glob(f"versions/{version}.*/bin/python"))
    return str(kept[-1]) if kept else None


def _uv(folder: Path) -> Path:
    home = folder / "uv"
    uv = home / ("Scripts/uv.exe" if sys.platform == "win32" else "bin/uv")
    if not uv.exists():
        venv.create(home, with_pip=True)
        python = uv.with_name("python.exe" if sys.platform == "win32" else "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"], check=True)
    return uv


def _environment(uv: Path, home: Path, base: str, resolution: str) -> Path:
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp, wanted = home / "stamp", hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", base, home], check=True)
    # Wheels only: what an old version needs to be built is not what is to be found out.
    install = [str(uv), "pip", "install", "--quiet", "--python", str(python), "--resolution", resolution]
    wheels = ["--only-binary", ":all:", "--no-binary", "forbiddenfruit", "--no-binary", "openmem-sdk"]
    ours = ["--editable", f"{ROOT}[{EXTRAS}]", "--group", f"{ROOT}/pyproject.toml:slice"]
    subprocess.run([*install, *wheels, *ours], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
