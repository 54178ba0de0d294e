"""Output that is safe for a terminal: tables on one, tab-separated fields elsewhere, JSON on request.

A memory may hold anything, also bytes that would make a terminal hide, colour or type something. Such characters
are shown as escapes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from datetime import datetime

    from openmem import MemoryRecord

Row = Sequence[str]

# Controls, what turns the reading direction, what shows nothing but hides text, and halves of characters.
_RISKY: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
_LINE: Final = re.compile(r"[\t\n]")
_MEMORY_COLUMNS: Final = ("id", "created", "memory", "scope", "tags")


def printable(text: str) -> str:
    """Return the text with every character that a terminal could obey shown as an escape; line ends stay."""
    return _RISKY.sub(lambda found: _escape(found[0]), text)


def one_line(text: str) -> str:
    """Return the same on one line: line ends and tabs are shown as escapes, too."""
    return _LINE.sub(lambda found: _escape(found[0]), printable(text))


def dump(value: object, *, indent: int | None = 2) -> str:
    """Return a value as JSON that is safe to print: the same value, with risky characters as `\\u` escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    return safe_json(text)


def safe_json(text: str) -> str:
    """Return JSON with the risky characters inside its strings as `\\u` escapes."""
    return _RISKY.sub(lambda found: json.dumps(found[0])[1:-1], text)


def say(text: str) -> None:
    """Print a line to standard error."""
    typer.echo(text, err=True)


def show(text: str) -> None:
    """Print a line to standard output."""
    typer.echo(text)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    show(dump(value))


def on_terminal() -> bool:
    """Return whether a person reads standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def show_rows(columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Print rows: on a terminal a table or paragraphs, without empty columns; elsewhere tab-separated fields.

    On a terminal, ids that a machine made are shown by their ends, which commands take as well.

    Args:
        columns: Their names. `memory` gets the room that is left.
        rows: One text per column.
    """
    clean = [[one_line(cell) for cell in row] for row in rows]
    if on_terminal():
        if clean:
            from openmem.cli.tables import show_table

            show_table(columns, _with_short_ids(columns, clean))
    else:
        for row in clean:
            show("\t".join(row))


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; on a terminal in two columns, elsewhere with a tab between."""
    known = [(one_line(name), value) for name, value in pairs]
    if not on_terminal():
        for name, value in known:
            show(f"{name}\t{one_line(value)}")
        return
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        indented = printable(value).replace("\n", "\n" + " " * (width + 2))
        show(f"{name:<{width}}  {indented}")


def show_memories(records: Iterable[MemoryRecord], *, versions: bool = False) -> None:
    """Print memories as rows, with their versions on request."""
    columns = [*_MEMORY_COLUMNS, *(["version"] if versions else [])]
    rows = (memory_row(record) + ([str(record.version)] if versions else []) for record in records)
    show_rows(columns, rows)


def memory_row(record: MemoryRecord) -> list[str]:
    """Return the fields of a memory's row: id, created, memory, scope, tags."""
    return [record.id, at(record.created_at), record.content, record.scope or "", ", ".join(record.tags or [])]


def at(moment: datetime | None) -> str:
    """Return a time: of the local clock on a terminal, elsewhere in UTC and exact."""
    if moment is None:
        return ""
    if not on_terminal():
        return moment.isoformat()
    try:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):  # its local time has no year, or the system knows no zone then
        return moment.strftime("%Y-%m-%d %H:%M UTC")


def plural(count: int, noun: str = "memory") -> str:
    """Return a number with its noun, such as `1 memory` or `2,000 memories`."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else many}"


def what_failed(error: OSError) -> str:
    """Return what the system says of a file or stream."""
    reason = (error.strerror or type(error).__name__).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def fields_of(model: Any) -> dict[str, Any]:
    """Return a model's fields that have a value, ready for JSON."""
    found: dict[str, Any] = model.model_dump(mode="json", exclude_none=True)
    return found


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def _with_short_ids(columns: Sequence[str], rows: list[list[str]]) -> list[list[str]]:
    from openmem.cli.short_ids import shortened

    if "id" not in columns:
        return rows
    at = columns.index("id")
    short = shortened([row[at] for row in rows])
    return [[*row[:at], id_, *row[at + 1 :]] for row, id_ in zip(rows, short, strict=True)]
