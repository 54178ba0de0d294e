"""`omp changes`: the feed of changes, page by page or as they come."""

from __future__ import annotations

from time import sleep  # noqa: TID251 - between two questions of --follow; what entries may import has no pause
from typing import TYPE_CHECKING, Annotated, Final

import typer

from openmem.cli import output
from openmem.cli.session import Session
from openmem.cli.short_ids import shortened

if TYPE_CHECKING:
    from openmem import Memory
    from openmem.types import Change, ChangePage

_COLUMNS: Final = ("when", "action", "id", "scope", "version", "app")
_PAUSE: Final = 1.0  # seconds between two questions of --follow


def changes(
    session: Session,
    all_users: Annotated[bool, typer.Option("--all-users", help="The changes of all users.")] = False,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on there; begins with the oldest change unless given.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most at once, 1 to 1,000.")] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show new ones as they come, until Ctrl-C; with --json one on each line.")
    ] = False,
) -> None:
    """Show what was added, updated, deleted and erased, oldest first."""
    owner = None if all_users else session.owner()
    with session.open() as memory:
        if follow:
            _follow(memory, owner, cursor, limit, session.as_json)
            return
        page = memory.changes(owner, cursor=cursor, limit=limit)
    if session.as_json:
        output.show_json(output.fields_of(page))
    else:
        _show(page, all_users)


def _show(page: ChangePage, all_users: bool) -> None:
    columns = [*_COLUMNS, *(["user"] if all_users else [])]
    output.show_rows(columns, [_row(change, all_users) for change in page])
    if not page:
        output.say("No changes.")
    more = "There are more: repeat" if page.has_more else "For later ones: repeat"
    output.say(f"{more} with --cursor {output.one_line(page.next_cursor)}")


def _follow(memory: Memory, owner: str | None, cursor: str | None, limit: int, as_json: bool) -> None:
    """Show changes until something ends it, and then say where to go on; as JSON, each one says that itself."""
    from openmem import OMPError

    try:
        while True:
            page = memory.changes(owner, cursor=cursor, limit=limit)
            for change in page:
                output.show(_line(change, owner is None, as_json))
                cursor = change.cursor or cursor
            cursor = page.next_cursor
            if not page.has_more:
                sleep(_PAUSE)
    except (KeyboardInterrupt, OMPError):
        if cursor is not None and not as_json:
            output.say(f"To go on: repeat with --cursor {output.one_line(cursor)}")
        raise


def _line(change: Change, with_user: bool, as_json: bool) -> str:
    if as_json:
        return output.dump(output.fields_of(change), indent=None)
    cells = [output.one_line(cell) for cell in _row(change, with_user)]
    if not output.on_terminal():
        return "\t".join(cells)
    cells[1:3] = [f"{cells[1]:<10}", *shortened(cells[2:3])]
    return "  ".join(cell for cell in cells if cell)


def _row(change: Change, with_user: bool) -> list[str]:
    version = "" if change.version is None else str(change.version)
    row = [output.at(change.timestamp), change.action, change.memory_id or "", change.scope or "", version]
    return [*row, change.app or "", *([change.user_id] if with_user else [])]
