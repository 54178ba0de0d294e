"""The commands of `omp`, put together in the order in which help lists them."""

from __future__ import annotations

from typing import Annotated, Final

import typer

import openmem
from openmem.cli import asking, copying, doctor, erasing, journal, keeping, keys, moving, serving, upkeep
from openmem.cli.session import command

HELP_WIDTH: Final = 100

app = typer.Typer(
    add_completion=False,
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
    """


command(app)(keeping.remember)
command(app)(asking.recall)
command(app)(asking.context)
command(app, "list")(asking.list_)
command(app)(asking.get)
command(app)(erasing.forget)
command(app)(journal.history)
command(app)(journal.audit)
command(app)(moving.export)
command(app, "import")(moving.import_)
copying.register(app)
command(app)(upkeep.reembed)
command(app)(upkeep.migrate)
command(app)(doctor.doctor)
app.add_typer(keys.app, name="keys")
app.command(
    "serve",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)(serving.serve)
