"""`omp history` and `omp audit`: earlier versions, and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from openmem.cli import output
from openmem.cli.options import IdOrKey, Key, Since
from openmem.cli.session import Session
from openmem.cli.short_ids import by_id_or_key, check_named

if TYPE_CHECKING:
    from openmem import HistoryPage


def history(
    session: Session,
    id: IdOrKey = None,
    key: Key = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 1 to 1,000.")] = 100,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on after the page before.")] = None,
) -> None:
    """Show earlier versions of a memory, and what it replaces."""
    check_named(id, key)
    with session.open() as memory:
        owner = session.owner()
        read: Callable[..., HistoryPage] = partial(memory.history, user_id=owner, limit=limit, cursor=cursor)
        records = by_id_or_key(memory, id, key, owner, read)
    if session.as_json:
        more = {} if records.next_cursor is None else {"next_cursor": records.next_cursor}
        output.show_json({"items": [output.fields_of(record) for record in records], **more})
        return
    output.show_memories(records, versions=True)
    if not records:
        output.say("It was never changed and replaces nothing.")
    if records.next_cursor:
        output.say(f"There are more: repeat with --cursor {output.one_line(records.next_cursor)}")


def audit(
    session: Session,
    by: Annotated[str | None, typer.Option(metavar="APP", help="Only what this app did.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 1 to 1,000.")] = 100,
) -> None:
    """Show who did what to a user's memories, newest first."""
    with session.open() as memory:
        entries = memory.audit(session.owner(), app=by, since=since, limit=limit)
    if session.as_json:
        output.show_json({"entries": [output.fields_of(entry) for entry in entries]})
        return
    rows = [
        [output.at(entry.timestamp), entry.app or "", entry.action or "", entry.memory_id or "", entry.scope or ""]
        for entry in entries
    ]
    output.show_rows(["when", "app", "action", "id", "scope"], rows)
    if not entries:
        output.say("The audit log has no entry.")
