"""Advice to install what is missing: the name of the distribution, its extras, and the one wording of the advice."""

from __future__ import annotations

from typing import Final

DISTRIBUTION: Final = "openmem-sdk"  # what pip installs; the import is `openmem`


def requirement(*extras: str) -> str:
    """Return what names this distribution with some of its extras, such as `openmem-sdk[postgres]`."""
    return f"{DISTRIBUTION}[{','.join(extras)}]" if extras else DISTRIBUTION


def pip_install(*requirements: str) -> str:
    """Return the command that installs requirements, quoted for a shell.

    With this distribution installed, pip takes the extras of that one and looks for no other release of it.
    """
    quoted = (f"'{one}'" if not one.replace("-", "").isalnum() else one for one in requirements)
    return f"pip install {' '.join(quoted)}"


def install_extra(*extras: str) -> str:
    """Return the command that installs extras, such as `pip install 'openmem-sdk[postgres]'`."""
    return pip_install(requirement(*extras))
