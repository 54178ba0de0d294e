"""Rows on a terminal: a table where its texts get enough room, else one paragraph for each row."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Row = Sequence[str]

FLEXIBLE: Final = ("memory", "scope", "tags", "grants")
"""Columns whose texts may take several lines; the first of them is what a row is about."""
_READABLE: Final = 40  # columns of a terminal that a sentence wants
_GAP: Final = 2


def show_table(columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print rows, without the columns that are empty."""
    kept = [at for at in range(len(columns)) if any(row[at] for row in rows)]
    names = [columns[at] for at in kept]
    cells = [[row[at] for at in kept] for row in rows]
    console = Console(file=sys.stdout, highlight=False)
    if is_table(names, cells, console.width):
        console.print(_table(names, cells))
    else:
        for row in cells:
            _print_paragraph(console, names, row)


def is_table(names: Sequence[str], rows: Sequence[Row], width: int) -> bool:
    """Return whether a table of this width leaves enough room for what the rows are about."""
    widths = [max(cell_len(name), *(cell_len(row[at]) for row in rows)) for at, name in enumerate(names)]
    main = next((at for at, name in enumerate(names) if name in FLEXIBLE), None)
    if main is None:
        return sum(widths) + _GAP * (len(widths) - 1) <= width
    others = sum(one for at, one in enumerate(widths) if at != main) + _GAP * (len(widths) - 1)
    return width - others >= min(widths[main], _READABLE)


def _table(names: Sequence[str], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name not in FLEXIBLE[:1] + FLEXIBLE[3:])
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _print_paragraph(console: Console, names: Sequence[str], row: Row) -> None:
    cells = {name: cell for name, cell in zip(names, row, strict=True) if cell}
    head = "  ".join(cell for name, cell in cells.items() if name not in FLEXIBLE)
    console.print(Text(head, style="bold", overflow="fold"))
    if "memory" in cells:
        _print_indented(console, cells.pop("memory"))
    annotate_errors = [f"{name}: {cell}" for name, cell in cells.items() if name in FLEXIBLE]
    line = "  ".join(annotate_errors)
    for text in [line] if cell_len(line) <= console.width - _GAP else annotate_errors:
        if text:
            _print_indented(console, text, style="dim")


def _print_indented(console: Console, text: str, *, style: str = "") -> None:
    console.print(Padding(Text(text, style=style, overflow="fold"), (0, 0, 0, _GAP), expand=False))
