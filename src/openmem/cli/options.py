"""Options that several commands have in common."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias

import typer

_AGO: Final = re.compile(r"(\d{1,6})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

_WHEN: Final = "A date, a time in ISO 8601 (local unless it has an offset), or 30m, 12h, 7d, 2w ago."


def moment(text: str) -> datetime:
    """Return the time that a text names.

    Args:
        text: ISO 8601, of the local clock unless it has an offset, or how long ago: `30m`, `12h`, `7d`, `2w`.

    Raises:
        typer.BadParameter: It names no time.
    """
    try:
        ago = _AGO.fullmatch(text)
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is no time. {_WHEN}") from None


def json_object(text: str) -> dict[str, Any]:
    """Return the JSON object that a text holds.

    Raises:
        typer.BadParameter: It holds none, or names a member twice.
    """
    from openmem._protocol.json_bodies import parse_object
    from openmem.errors import InvalidRequestError

    try:
        return parse_object(text.encode())
    except UnicodeEncodeError:
        raise typer.BadParameter("no lone surrogates, please") from None
    except InvalidRequestError as error:
        raise typer.BadParameter(error.message.replace("the body", "the value", 1)) from None


def later(text: str) -> datetime:
    """Return the time that a text names, in the same ways, except that `90d` is 90 days from now.

    Raises:
        typer.BadParameter: It names no time.
    """
    span = _AGO.fullmatch(text)
    if not span:
        return moment(text)
    try:
        return datetime.now(UTC) + timedelta(**{_UNITS[span[2]]: int(span[1])})
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too far away") from None


Mode: TypeAlias = Literal["hybrid", "vector", "keyword"]
Order: TypeAlias = Literal["created", "updated", "valid_from"]

IdOrKey = Annotated[
    str | None, typer.Argument(metavar="ID", help="The memory's id, or the end of it as lists show it.")
]
Key = Annotated[str | None, typer.Option(metavar="KEY", help="Your own name of the memory, in the place of its id.")]
Query = Annotated[list[str], typer.Argument(metavar="QUERY", help="What is looked for; needs no quotes.")]
Scope = Annotated[
    str | None,
    typer.Option(metavar="SCOPE", help="Only this scope, such as coding; coding/* takes in those below."),
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Only memories with this tag; may be repeated.")
]
AsOf = Annotated[datetime | None, typer.Option(metavar="WHEN", parser=moment, help=f"What held at that time. {_WHEN}")]
Since = Annotated[
    datetime | None, typer.Option(metavar="WHEN", parser=moment, help=f"Only what is as new as this. {_WHEN}")
]
Until = Annotated[datetime | None, typer.Option(metavar="WHEN", parser=moment, help="Only what is older than this.")]
Superseded = Annotated[bool, typer.Option("--superseded", help="Show memories that others replace, too.")]
Expired = Annotated[bool, typer.Option("--expired", help="Show memories that are no longer or not yet valid, too.")]
Where = Annotated[
    dict[str, Any] | None,
    typer.Option(
        metavar="JSON",
        parser=json_object,
        help='Only memories whose metadata fits: {"lang": "py", "n": {"$gt": 9}}.',
    ),
]
