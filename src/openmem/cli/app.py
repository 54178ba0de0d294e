"""The commands of `omp` in the order in which help lists them. A command is loaded when it is called."""

from __future__ import annotations

from typing import Annotated, Final

import typer

import openmem
from openmem.cli.commands import Commands

HELP_WIDTH: Final = 100

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openmem {openmem.__version__}")
        raise typer.Exit


@app.callback()
def omp(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Remember things about people, and find them again.

    Results go to standard output: tables on a terminal, tab-separated fields elsewhere, JSON with --json. Everything
    else goes to standard error. The exit code is 0 when done, 1 when something failed, 2 when it was called wrongly.

    What every command takes may also stand before the command: omp --json list. The commands add, search and delete are
    remember, recall and forget.
    """
