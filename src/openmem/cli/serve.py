"""`omp serve`: the server, with the flags of `omp-server`."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from openmem._config.extras import install_extra
from openmem.cli import collect_as_usual

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def serve(context: typer.Context) -> None:
    """Serve memories over HTTP; it takes the flags of omp-server."""
    if any(find_spec(name) is None for name in NEEDED):
        typer.echo(f"Error: the server needs FastAPI and uvicorn: {install_extra('server')}", err=True)
        raise typer.Exit(1)
    collect_as_usual()  # a server lives long
    from openmem.server.runtime.cli import main

    raise typer.Exit(main(context.args, program="omp serve"))


def register(app: typer.Typer) -> None:
    """Add the command, whose options are those of the server."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command("serve", add_help_option=False, context_settings=settings)(serve)
