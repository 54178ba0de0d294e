"""`omp-server`: the verbs over HTTP. Nothing is imported here that the extra `server` brings."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from openmem._config.extras import install_extra
from openmem._config.lazy import homes_of, load_lazily

if TYPE_CHECKING:
    from openmem._model.hooks import DeadLetter, HookInfo, NewHook
    from openmem._model.keys import KeyInfo, NewKey, Remembered, StoredReply
    from openmem.server.runtime.app import create_app

__all__ = [
    "DeadLetter",
    "HookInfo",
    "KeyInfo",
    "NewHook",
    "NewKey",
    "Remembered",
    "StoredReply",
    "create_app",
    "main",
]

NEEDED: Final = ("starlette", "uvicorn", "prometheus_client", "pydantic_settings")
"""Packages without which the server cannot start; the extra `server` brings them."""
MISSING: Final = f"the server needs Starlette and uvicorn: {install_extra('server')}"

_load, __dir__ = load_lazily(
    __name__,
    homes_of(
        {
            "openmem._model.hooks": "DeadLetter HookInfo NewHook",
            "openmem._model.keys": "KeyInfo NewKey Remembered StoredReply",
            "openmem.server.runtime.app": "create_app",
        }
    ),
)


def __getattr__(name: str) -> Any:
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in NEEDED:
            raise
        raise ImportError(MISSING) from error


def main() -> None:
    """Run the command `omp-server` with the arguments of this process, and exit."""
    if any(find_spec(name) is None for name in NEEDED):
        sys.stderr.write(f"omp-server: {MISSING}\n")
        raise SystemExit(1)
    from openmem.server.runtime.cli import main as run

    raise SystemExit(run())
