"""`omp recall`, `omp context`, `omp list`, `omp get`: commands that find memories."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from openmem.cli import output
from openmem.cli.options import (
    AsOf,
    Expired,
    IdOrKey,
    Key,
    Mode,
    Order,
    Query,
    Scope,
    Since,
    Superseded,
    Tags,
    Until,
    Where,
)
from openmem.cli.session import Session
from openmem.cli.short_ids import by_id_or_key, check_named


def recall(
    session: Session,
    query: Query,
    scope: Scope = None,
    tags: Tags = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 1 to 1,000.")] = 10,
    offset: Annotated[int, typer.Option(metavar="N", help="How many of the best to leave off.")] = 0,
    min_score: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Leave out what scores lower, from 0 to 1.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(metavar="hybrid|vector|keyword", help="Search by meaning, by words, or by both.")
    ] = "hybrid",
    as_of: AsOf = None,
    superseded: Superseded = False,
    expired: Expired = False,
    where: Where = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the parts of each score (with --json).")] = False,
) -> None:
    """Find the memories that fit best, best first."""
    with session.open() as memory:
        results = memory.search(
            " ".join(query),
            session.owner(),
            scope=scope,
            limit=limit,
            offset=offset,
            min_score=min_score,
            tags=tags or None,
            mode=mode,
            as_of=as_of,
            include_superseded=superseded,
            include_expired=expired,
            where=where,
            explain=explain,
        )
    if session.as_json:
        output.show_json({"results": [output.fields_of(result) for result in results]})
        return
    rows = []
    for result in results:
        id_, created, *rest = output.memory_row(result.memory)
        rows.append([id_, f"{result.score:.2f}", created, *rest])
    output.show_rows(["id", "score", "created", "memory", "scope", "tags"], rows)
    if not results:
        output.say("Nothing found.")


def context(
    session: Session,
    query: Query,
    scope: Scope = None,
    tags: Tags = None,
    token_budget: Annotated[
        int, typer.Option("--token-budget", "--budget", metavar="N", help="Tokens that the text may have.")
    ] = 500,
    as_of: AsOf = None,
    where: Where = None,
) -> None:
    """Print the memories that fit best as text for a prompt."""
    with session.open() as memory:
        block = memory.context(
            " ".join(query),
            session.owner(),
            scope=scope,
            token_budget=token_budget,
            tags=tags or None,
            as_of=as_of,
            where=where,
        )
    if session.as_json:
        output.show_json(output.fields_of(block))
    elif block.text:
        output.show(output.printable(block.text))
    else:
        output.say("Nothing found.")


def list_(
    session: Session,
    scope: Scope = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only memories with this tag.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most, 1 to 500.")] = 50,
    cursor: Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on after the page before.")] = None,
    as_of: AsOf = None,
    superseded: Superseded = False,
    expired: Expired = False,
    order: Annotated[
        Order, typer.Option(metavar="created|updated|valid_from", help="The date by which memories are ordered.")
    ] = "created",
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Turn the order round.")] = False,
    where: Where = None,
) -> None:
    """List memories, newest first."""
    with session.open() as memory:
        page = memory.list(
            session.owner(),
            scope=scope,
            tag=tag,
            since=since,
            until=until,
            limit=limit,
            cursor=cursor,
            as_of=as_of,
            include_superseded=superseded,
            include_expired=expired,
            order=order,
            descending=not oldest_first,
            where=where,
        )
    if session.as_json:
        output.show_json(output.fields_of(page))
        return
    output.show_memories(page.items)
    if not page.items:
        output.say("No memories.")
    if page.next_cursor:
        output.say(f"There are more: repeat with --cursor {output.one_line(page.next_cursor)}")


def get(session: Session, id: IdOrKey = None, key: Key = None) -> None:
    """Show one memory with all its fields."""
    check_named(id, key)
    with session.open() as memory:
        owner = session.owner()
        record = by_id_or_key(memory, id, key, owner, partial(memory.get, user_id=owner))
    if session.as_json:
        output.show_json(output.fields_of(record))
        return
    output.show_pairs(
        (name, value if isinstance(value, str) else output.dump(value, indent=None))
        for name, value in output.fields_of(record).items()
    )
