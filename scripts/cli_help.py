"""Write the `--help` texts of `omp` into docs/cli.md.

    python -m scripts.cli_help            write them
    python -m scripts.cli_help --check    change nothing; exit 1 if the page is not up to date

A block between the lines `<!-- help: NAME -->` and `<!-- end -->` is replaced by the help of that command, without
the options that every command has: these are shown once, in the block `<!-- help: * -->`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from openmem.cli.app import HELP_WIDTH, app
from openmem.cli.session import SHARED_OPTIONS

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

_BLOCK: Final = re.compile(r"^<!-- help: (?P<name>\S+) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)
_OPTION: Final = re.compile(r"^  (?:-\w, )?(--[a-z-]+).*\n(?: {3,}.*\n)*", re.MULTILINE)


def help_of(*command: str) -> str:
    """Return the help of a command as a terminal of the page's width shows it."""
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="omp", terminal_width=HELP_WIDTH)
    if done.exit_code:
        raise SystemExit(f"omp {' '.join(command)} --help failed: {done.output}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def own_help(command: str) -> str:
    """Return the help of a command without the options that every command has."""
    text = _OPTION.sub(lambda found: "" if found[1] in SHARED_OPTIONS else found[0], help_of(command))
    return re.sub(r"\nOptions:\n(?=\n|\Z)", "", text)


def shared_help() -> str:
    """Return the options that every command has."""
    return "".join(found[0] for found in _OPTION.finditer(help_of("get")) if found[1] in SHARED_OPTIONS)


def filled(page: str) -> str:
    """Return the page with every block up to date."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        text = help_of() if name == "omp" else shared_help() if name == "*" else own_help(name)
        return f"<!-- help: {name} -->\n```text\n{text}```\n<!-- end -->"

    return _BLOCK.sub(block, page)


def main() -> None:
    """Write or check the page."""
    old = PAGE.read_text(encoding="utf-8")
    new = filled(old)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
    elif new != old:
        raise SystemExit("docs/cli.md is not up to date: python -m scripts.cli_help")


if __name__ == "__main__":
    main()
