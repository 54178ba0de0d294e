"""`omp scopes`, `omp tags` and `omp users`: what there is, with counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from openmem.cli import output
from openmem.cli.options import Scope
from openmem.cli.session import Session

if TYPE_CHECKING:
    from openmem.types import ScopeInfo, UserInfo

_COUNTS = ["current", "superseded", "expired", "last change"]


def scopes(
    session: Session,
    prefix: Annotated[
        str | None, typer.Option(metavar="SCOPE", help="Only this scope and those below it, such as coding.")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(metavar="N", help="Count what lies deeper as part of what is above it, 1 to 256.")
    ] = None,
) -> None:
    """Show the scopes of a user's memories, with counts."""
    with session.open() as memory:
        found = memory.scopes(session.owner(), prefix=prefix, depth=depth)
    if session.as_json:
        output.show_json({"scopes": [output.fields_of(one) for one in found], **_more(found.truncated)})
        return
    nothing = "(none)" if output.on_terminal() else ""
    output.show_rows(["scope", *_COUNTS], [[one.scope or nothing, *_counts(one)] for one in found])
    _say(found, found.truncated, "No memories.")


def tags(session: Session, scope: Scope = None) -> None:
    """Show the tags of a user's memories, with how many have each."""
    with session.open() as memory:
        found = memory.tags(session.owner(), scope=scope)
    if session.as_json:
        output.show_json({"tags": [output.fields_of(one) for one in found], **_more(found.truncated)})
        return
    output.show_rows(["tags", "memories"], [[one.tag, str(one.count)] for one in found])
    _say(found, found.truncated, "No tags.")


def users(
    session: Session,
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only users whose ids begin with this text.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 1 to 1,000.")] = 100,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on after the page before.")] = None,
) -> None:
    """Show the users who have memories, with counts."""
    with session.open() as memory:
        page = memory.users(prefix=prefix, limit=limit, cursor=cursor)
    if session.as_json:
        output.show_json(output.fields_of(page))
        return
    output.show_rows(["user", *_COUNTS], [[one.user_id, *_counts(one)] for one in page.items])
    if not page.items:
        output.say("No users.")
    if page.next_cursor:
        output.say(f"There are more: repeat with --cursor {output.one_line(page.next_cursor)}")


def _counts(info: ScopeInfo | UserInfo) -> list[str]:
    return [str(info.current), str(info.superseded), str(info.expired), output.at(info.last_change)]


def _more(truncated: bool) -> dict[str, bool]:
    return {"truncated": True} if truncated else {}


def _say(found: Sequence[object], truncated: bool, nothing: str) -> None:
    if not found:
        output.say(nothing)
    if truncated:
        output.say("There are more: ask for a part of the scopes.")
