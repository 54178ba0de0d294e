"""Output of `omp list` and `omp recall` on terminals of several widths, as docs/cli.md has it.

python -m tests.narrow_terminals      write it there
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import openmem
from openmem import Memory
from tests.shell import start_several
from tests.terminal import all_of

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
LONG: Final = (
    "Ann prefers dark mode in every editor she uses, but light mode on the tablet, and tea instead of coffee late"
)
COMMANDS: Final = {"list": ("list",), "recall": ("recall", "dark", "mode")}
_BLOCK: Final = re.compile(
    r"^<!-- shown: (?P<width>\d+) (?P<command>\w+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL
)
_STYLE: Final = re.compile(r"\x1b\[[\d;]*m|\r")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
_SHORT_ID: Final = re.compile(r"^[0-9A-Z]{8}(?=  )", re.MULTILINE)


def fill(path: Path) -> None:
    """Store what is shown: a memory of 108 characters with a scope and two tags, and a short one."""
    with Memory(url=path, embedder="none") as memory:
        memory.add(content="Ann lives in Lisbon", user_id="ann")
        memory.add(content=LONG, user_id="ann", scope="coding/preferences", tags=["editor", "appearance"])


def on_terminal(width: int, *args: str, path: Path) -> str:
    """Return what a command shows on a real pseudo-terminal of this width, without colours."""
    return on_terminal_each(width, args, path=path)[0]


def on_terminal_each(width: int, *commands: Sequence[str], path: Path) -> list[str]:
    """Return the same for each of several commands."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"OMP_URL": str(path), "OMP_USER": "ann", "OMP_EMBEDDER": "none", "TERM": "xterm", "TZ": "UTC"}
    environment["PYTHONPATH"] = str(Path(openmem.__file__).parent.parent)
    process = subprocess.Popen(start_several(*commands), stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = all_of(ours)
    assert process.wait() == 0, shown
    *each, _ = _STYLE.sub("", shown).split("\f")
    return ["".join(f"{line.rstrip()}\n" for line in one.splitlines()) for one in each]


def steady(shown: str) -> str:
    """Return a text with ids and times that are the same every time."""
    ids = iter(("MYBR2E8A", "XV5QK2Z4", "F0D9W7TC"))
    return _TIME.sub("2026-03-02 12:27", _SHORT_ID.sub(lambda found: next(ids), shown))


def filled(page: str, path: Path) -> str:
    """Return the page with every block as a terminal shows it."""

    def block(found: re.Match[str]) -> str:
        args = COMMANDS[found["command"]]
        shown = steady(on_terminal(int(found["width"]), *args, path=path))
        heading = f"<!-- shown: {found['width']} {found['command']} -->"
        return f"{heading}\n```text\n{found['width']} columns: omp {' '.join(args)}\n\n{shown}```\n<!-- end -->"

    return _BLOCK.sub(block, page)


def blocks(page: str) -> Iterator[tuple[int, str]]:
    """Return the width and the command of every block of the page."""
    return ((int(found["width"]), found["command"]) for found in _BLOCK.finditer(page))


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.db"
        fill(path)
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), path), encoding="utf-8")


if __name__ == "__main__":
    main()
