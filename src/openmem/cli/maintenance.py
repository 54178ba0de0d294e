"""`omp reembed`, `omp migrate` and `omp maintain`: work on the store itself."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from openmem.cli import output
from openmem.cli.progress import Progress
from openmem.cli.session import Session


def reembed(session: Session) -> None:
    """Move all memories to the model of the embedder.

    It moves those of all users. If it was interrupted, it goes on where it stopped.
    """
    with Progress("embedded", quiet=session.as_json) as progress, session.open(long=True) as memory:
        report = memory.reembed(on_progress=progress, timeout=session.timeout)
    if session.as_json:
        output.show_json(output.fields_of(report))
    else:
        output.show(f"{report.done:,} of {output.plural(report.total)} have the model {output.one_line(report.model)}")


def migrate(
    session: Session,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the SQL for Postgres instead, for someone who may run it.")
    ] = False,
    partitions: Annotated[
        int | None, typer.Option(metavar="N", min=2, max=4096, help="With --sql: hash-partition the tables by bucket.")
    ] = None,
    distribute: Annotated[
        bool, typer.Option("--distribute", help="Spread the tables over the servers of a Citus cluster, too.")
    ] = False,
) -> None:
    """Bring the tables of the store up to date.

    The embedded store does so by itself. --sql connects to nothing.
    """
    if distribute and partitions is not None:
        raise typer.BadParameter("--distribute and --partitions exclude each other")
    if sql:
        _show_script(session, partitions, distribute)
        return
    if partitions is not None:
        raise typer.BadParameter("--partitions goes with --sql: the tables must be made partitioned")
    with session.memory(long=True, create=True, **({"distribute": True} if distribute else {})) as memory:
        health = memory.health()
    if session.as_json:
        output.show_json(output.fields_of(health))
    elif health.provider == "sqlite":
        version = health.detail.get("schema")
        if memory.made_store:
            output.show(f"A new store was made: {output.one_line(memory.place or '')}")
        output.show(f"Nothing to do: the embedded store migrates its file when it opens it (schema {version}).")
    else:
        done = "were made" if memory.made_store else "are up to date"
        output.show(f"The tables of {output.one_line(health.provider)} {done}.")


def maintain(
    session: Session,
    audit_days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Remove audit entries that are older.  [env var: OMP_AUDIT_DAYS]"),
    ] = None,
    versions: Annotated[
        int | None,
        typer.Option(metavar="N", help="Keep so many earlier versions of each memory.  [env var: OMP_VERSIONS]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much would be removed.")] = False,
) -> None:
    """Remove old audit entries and versions, and shrink the file.

    It does so for all users. Nothing is removed unless one of the two limits is given or set.
    """
    with session.open(long=True) as memory:
        report = memory.maintain(audit_days=audit_days, versions=versions, dry_run=dry_run, timeout=session.timeout)
    if session.as_json:
        output.show_json(output.fields_of(report))
        return
    done = "would be removed" if report.dry_run else "removed"
    output.show(f"audit entries: {report.entries:,} {done}")
    output.show(f"earlier versions: {report.versions:,} {done}")
    if report.bytes_before is not None and report.bytes_after is not None:
        output.show(f"size of the file: {report.bytes_before:,} bytes before, {report.bytes_after:,} after")
    if report.purged is False:
        output.say("The bytes are still in the file, because others read it; they go when it is next tidied.")


def _show_script(session: Session, partitions: int | None, distribute: bool) -> None:
    from openmem import migration_script

    schema = session.schema or os.environ.get("OMP_SCHEMA") or None
    options = {} if schema is None else {"schema": schema}
    script = migration_script(**options, partitions=partitions, distribute=distribute)
    if session.as_json:
        output.show_json({"sql": script})
    else:
        output.show(script.rstrip("\n"))
