"""`omp-server`: the verbs over HTTP. Nothing is imported here that the extra `server` brings."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from openmem._config.extras import install_extra

if TYPE_CHECKING:
    from openmem.server.runtime.app import create_app

__all__ = ["create_app", "main"]

_NEEDED: Final = ("fastapi", "uvicorn", "prometheus_client")

_HOME_OF: Final = {"create_app": "openmem.server.runtime.app"}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("fastapi", "starlette"):
            raise
        raise ImportError(f"the server needs FastAPI: {install_extra('server')}") from error


def main() -> None:
    """Run the command `omp-server` with the arguments of this process, and exit."""
    if any(find_spec(name) is None for name in _NEEDED):
        sys.stderr.write(f"omp-server: it needs FastAPI and uvicorn: {install_extra('server')}\n")
        raise SystemExit(1)
    from openmem.server.runtime.cli import main as run

    raise SystemExit(run())
