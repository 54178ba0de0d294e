"""`omp remember` and `omp update`."""

from __future__ import annotations

import sys
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final

import typer

from openmem.cli import output
from openmem.cli.options import IdOrKey, Key, json_object, moment
from openmem.cli.session import Session
from openmem.cli.short_ids import by_id_or_key, check_named

CLEARABLE: Final = ("scope", "tags", "confidence", "valid-to", "supersedes", "metadata")


def remember(
    session: Session,
    text: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="What to remember, or - to read it from standard input.")
    ],
    scope: Annotated[str | None, typer.Option(metavar="SCOPE", help="A path, such as coding/preferences.")] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="TAG", help="A label; may be repeated.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Your own name for it; the same key again replaces the memory.")
    ] = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Store it only if no memory has the key yet.")] = False,
    if_version: Annotated[
        int | None, typer.Option(metavar="N", help="Replace the memory with the key only if this is its version.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="NUMBER", help="How sure it is, from 0 to 1.")] = None,
    valid_from: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=moment, help="From when on it holds.")
    ] = None,
    valid_to: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=moment, help="Until when it holds.")
    ] = None,
    supersedes: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A memory that this one replaces; may be repeated.")
    ] = None,
    ref: Annotated[str | None, typer.Option(metavar="TEXT", help="A pointer to where it comes from.")] = None,
    metadata: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=json_object, help="A JSON object of your own to keep with it."),
    ] = None,
    searchable: Annotated[
        bool, typer.Option("--searchable/--not-searchable", help="Whether searches and contexts may find it.")
    ] = True,
) -> None:
    """Store a memory and print its id."""
    content = _from_stdin() if text == ["-"] else " ".join(text)
    source = {"app": session.app, "type": "explicit", "ref": ref}
    with session.open(writes=True) as memory:
        record = memory.add(
            content=content,
            user_id=session.owner(),
            scope=scope,
            tags=tag or None,
            source={name: value for name, value in source.items() if value is not None},
            confidence=confidence,
            valid_from=valid_from,
            valid_to=valid_to,
            supersedes=supersedes or None,
            key=key,
            if_absent=if_absent,
            if_version=if_version,
            metadata=metadata,
            searchable=searchable,
        )
    if session.as_json:
        output.show_json(output.fields_of(record))
    elif output.on_terminal():
        what = "Remembered" if record.version == 1 else f"Replaced (now version {record.version})"
        output.show(f"{what}: {output.one_line(record.id)}")
    else:
        output.show(output.one_line(record.id))


def update(
    session: Session,
    id: IdOrKey = None,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="The new text, or - to read it from standard input.")
    ] = None,
    key: Key = None,
    scope: Annotated[str | None, typer.Option(metavar="SCOPE", help="The new scope.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A new tag instead of the old ones; may be repeated.")
    ] = None,
    confidence: Annotated[float | None, typer.Option(metavar="NUMBER", help="How sure it is, from 0 to 1.")] = None,
    valid_to: Annotated[
        datetime | None, typer.Option(metavar="WHEN", parser=moment, help="Until when it holds.")
    ] = None,
    supersedes: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="What it replaces, instead of the old list; may be repeated.")
    ] = None,
    metadata: Annotated[
        dict[str, Any] | None,
        typer.Option(metavar="JSON", parser=json_object, help="A JSON object, instead of the metadata it has."),
    ] = None,
    metadata_patch: Annotated[
        dict[str, Any] | None,
        typer.Option(
            metavar="JSON", parser=json_object, help="Members to set in its metadata; null takes one away (RFC 7396)."
        ),
    ] = None,
    searchable: Annotated[
        bool | None,
        typer.Option("--searchable/--not-searchable", help="Whether searches and contexts may find it."),
    ] = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(CLEARABLE), help="Take this away; may be repeated."),
    ] = None,
    if_version: Annotated[
        int | None, typer.Option(metavar="N", help="Change it only if this is still its version.")
    ] = None,
) -> None:
    """Change a memory. What is not given stays; the version before goes to its history."""
    if key is not None:  # then all words are the text
        text = [word for word in (id, *(text or [])) if word is not None]
        id = None
    check_named(id, key)
    given: dict[str, Any] = {
        "content": None if not text else _from_stdin() if text == ["-"] else " ".join(text),
        "scope": scope,
        "tags": tag or None,
        "confidence": confidence,
        "valid_to": valid_to,
        "supersedes": supersedes or None,
        "metadata": metadata,
        "metadata_patch": metadata_patch,
        "searchable": searchable,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if unknown := sorted({*(clear or [])} - {*CLEARABLE}):
        raise typer.BadParameter(f"--clear: {unknown[0]!r} is none of {', '.join(CLEARABLE)}")
    cleared: dict[str, Any] = {name.replace("-", "_"): None for name in clear or []}
    if both := sorted(changes.keys() & cleared.keys()):
        raise typer.BadParameter(f"{both[0]} is both given and cleared")
    if not changes and not cleared:
        raise typer.BadParameter("give what to change: a text, an option, or --clear")
    with session.open() as memory:
        owner = session.owner()
        change = partial(memory.update, user_id=owner, if_version=if_version, **changes, **cleared)
        record = by_id_or_key(memory, id, key, owner, change)
    if session.as_json:
        output.show_json(output.fields_of(record))
    elif output.on_terminal():
        output.show(f"Changed (now version {record.version}): {output.one_line(record.id)}")
    else:
        output.show(output.one_line(record.id))


def _from_stdin() -> str:
    from openmem import InvalidRequestError

    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidRequestError("standard input is not UTF-8") from None
