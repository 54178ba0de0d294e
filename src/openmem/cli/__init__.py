"""The command `omp`. Nothing is imported here that the extra `cli` brings: without it the command says what to do."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from typing import Final

from openmem.extras import install_extra

_NEEDED: Final = ("typer", "rich")


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    if any(find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(f"Error: the command omp needs typer and rich: {install_extra('cli')}\n")
        raise SystemExit(1)
    from openmem.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its number instead of an exception.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="omp")
    except OSError as error:  # help that cannot be printed; the commands have an ear of their own
        sys.stderr.write(f"Error: {error.strerror}\n")
        raise SystemExit(1) from None
