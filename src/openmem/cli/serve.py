"""`omp serve`: the server, with the flags of `omp-server`."""

from __future__ import annotations

from importlib.util import find_spec

import typer

from openmem.cli import collect_as_usual
from openmem.server import MISSING, NEEDED


def serve(context: typer.Context) -> None:
    """Serve memories over HTTP; it takes the flags of omp-server."""
    if any(find_spec(name) is None for name in NEEDED):
        typer.echo(f"Error: {MISSING}", err=True)
        raise typer.Exit(1)
    collect_as_usual()  # a server lives long
    from openmem.server.runtime.cli import main

    raise typer.Exit(main(context.args, program="omp serve"))


def register(app: typer.Typer) -> None:
    """Add the command, whose options are those of the server."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command("serve", add_help_option=False, context_settings=settings)(serve)
