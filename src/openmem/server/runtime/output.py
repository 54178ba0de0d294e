"""Lines for the person who started the server, besides its log."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(f"omp-server: {text}\n")
    sys.stderr.flush()
