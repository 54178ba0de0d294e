"""`omp forget`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openmem.cli import output
from openmem.cli.options import Key, json_object
from openmem.cli.session import FAILED, Session
from openmem.cli.short_ids import by_id_or_key

if TYPE_CHECKING:
    from openmem.types import ErasureReceipt


def forget(
    session: Session,
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="The id of the memory to erase, or the end of it.")
    ] = None,
    key: Key = None,
    everything: Annotated[bool, typer.Option("--all", help="Erase all memories of the user, or of a scope.")] = False,
    scope: Annotated[
        str | None, typer.Option(metavar="SCOPE", help="With --all: only this scope; coding/* takes in those below.")
    ] = None,
    where: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=json_object, help="With --all: only memories whose metadata fits."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="With --all: do not ask.")] = False,
) -> None:
    """Erase a memory for good, or all of them.

    --all asks first, and shows what was erased and that nothing is left.
    """
    if [id is not None, key is not None, everything].count(True) != 1:
        raise typer.BadParameter("give the id of a memory, --key, or --all")
    if scope is not None and not everything:
        raise typer.BadParameter("--scope goes with --all")
    if where is not None and not everything:
        raise typer.BadParameter("--where goes with --all")
    if everything:
        _forget_all(session, scope, where, yes)
    else:
        _forget_one(session, id, key)


def _forget_one(session: Session, id: str | None, key: str | None) -> None:
    with session.open() as memory:
        owner = session.owner()

        def erase(id: str = "", key: str | None = None) -> str:
            memory.delete(id or None, key=key, user_id=owner)
            return id or str(key)

        name = by_id_or_key(memory, id, key, owner, erase)
    if session.as_json:
        output.show_json({"forgotten": name})
    else:
        output.show(f"Forgotten: {output.one_line(name)}" if output.on_terminal() else output.one_line(name))


def _forget_all(session: Session, scope: str | None, where: dict[str, Any] | None, yes: bool) -> None:
    owner = session.owner()
    part = f" in {output.one_line(scope)}" if scope is not None else ""
    part += f" with {output.one_line(output.dump(where, indent=None))}" if where is not None else ""
    if not yes:
        _confirm(f"Erase all memories of {output.one_line(owner)}{part}, with their history, for good? [y/N] ")
    with session.open() as memory:
        receipt = memory.delete_all(owner, scope=scope, where=where)
    if session.as_json:
        output.show_json({**output.fields_of(receipt), "complete": receipt.complete})
    else:
        _show_receipt(receipt)
    if not receipt.complete:
        output.say("Error: something is left; run the command again")
        raise typer.Exit(FAILED)


def _confirm(question: str) -> None:
    # Not typer's, which writes to standard output, where only results belong.
    while True:
        typer.echo(question, err=True, nl=False)
        answer = sys.stdin.readline()
        if answer.strip().lower() in ("y", "yes"):
            return
        if not answer.endswith("\n"):
            output.say("")
        if answer.strip().lower() in ("", "n", "no"):
            output.say("Nothing was erased.")
            raise typer.Exit(FAILED)
        output.say("Please answer y or n.")


def _show_receipt(receipt: ErasureReceipt) -> None:
    rows = [[name, str(count), str(receipt.remaining.get(name, 0))] for name, count in receipt.erased.items()]
    output.show_rows(["store", "erased", "left"], rows)
    if receipt.purged is False:
        output.say("The bytes are still in the file, because others read it; they go when it is next tidied.")
