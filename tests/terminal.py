"""A terminal as a reader of the documentation has it: `omp` is on the path, and whatever else a page needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openmem

PROMPT = "$ "
VARIES = re.compile(r"mem_[0-9A-Z]{26}|\d{4}-\d\d-\d\d(?: \d\d:\d\d)?")
_STYLE = re.compile(r"\x1b\[[\d;]*m")


class Terminal:
    """Types what a page types.

    Args:
        folder: Where the commands run.
        programs: Folders of further programs.
    """

    def __init__(self, folder: Path, *programs: Path) -> None:
        own = folder / ".programs"
        own.mkdir()
        (own / "omp").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m openmem.cli "$@"\n')
        (own / "omp").chmod(0o755)
        self._folder = folder
        self._path = os.pathsep.join([str(own), *map(str, programs), os.environ["PATH"]])
        self._real: dict[str, str] = {}  # an id or a time of the page: what it is here
        self._page: dict[str, str] = {}  # the other way round

    def follow(self, shown: str) -> str:
        """Type every line after a prompt, and return the whole as this terminal shows it.

        Ids and times differ every time: they are returned as the page has them, and typed as they are here.
        """
        lines = []
        for command, expected in exchanges(shown):
            printed = self._type(self._translated(command, self._real))
            for there, here in zip(VARIES.findall(expected), VARIES.findall(printed), strict=False):
                self._real[there], self._page[here] = here, there
            lines.append(f"{PROMPT}{command}\n{self._translated(printed, self._page)}")
        return "".join(lines)

    def _type(self, command: str) -> str:
        import pty

        ours, theirs = pty.openpty()
        environment = os.environ | {
            "PATH": self._path,
            "PYTHONPATH": str(Path(openmem.__file__).parent.parent),
            "TERM": "xterm",
            "COLUMNS": "120",
        }
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = _all_of(ours)
        assert process.wait() == 0, f"{command}: {shown}"
        return "".join(f"{line.rstrip()}\n" for line in _STYLE.sub("", shown).splitlines())

    @staticmethod
    def _translated(text: str, words: dict[str, str]) -> str:
        return VARIES.sub(lambda found: words.get(found[0], found[0]), text)


def exchanges(shown: str) -> Iterator[tuple[str, str]]:
    """Return what is typed and what it prints, one after the other."""
    for part in re.split(rf"^{re.escape(PROMPT)}", shown, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def _all_of(end: int) -> str:
    shown = b""
    try:
        while part := os.read(end, 65_536):
            shown += part
    except OSError:  # the way in which Linux says that the other end was closed
        pass
    finally:
        os.close(end)
    return shown.decode()
