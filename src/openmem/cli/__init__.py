"""The command `omp`. Nothing is imported here that the extra `cli` brings: without it the command says what to do."""

from __future__ import annotations

import gc
import io
import os
import sys
from importlib.util import find_spec
from typing import Final

from openmem._config.extras import install_extra

__all__ = ["collect_as_usual", "main"]

COLLECT_AFTER: Final = 200_000  # new objects; starting makes fewer than half of that
_BLAS: Final = "OPENBLAS_NUM_THREADS"
_PLUGINS: Final = "PYDANTIC_DISABLE_PLUGINS"
_USUAL: Final = gc.get_threshold()
_NEEDED: Final = ("typer", "rich")


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    if any(find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(f"Error: the command omp needs typer and rich: {install_extra('cli')}\n")
        raise SystemExit(1)
    # What starting makes stays to the end: collections that walk over it again and again take a sixth of the time.
    gc.set_threshold(COLLECT_AFTER, *_USUAL[1:])
    os.environ.setdefault(_BLAS, "1")  # a command computes with a matrix once: threads for it are made in vain
    os.environ.setdefault(_PLUGINS, "__all__")  # pydantic reads what is said of every installed package to find some
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
    finally:
        gc.freeze()  # the process ends: looking through everything for what may go first would take as long as all else


def collect_as_usual() -> None:
    """Have the collector of garbage run as often as in any other program."""
    gc.set_threshold(*_USUAL)
