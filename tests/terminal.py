"""A terminal as a reader of the documentation has it: the commands are on the path, and whatever else a page needs."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openmem
from tests.typed_server import TypedServer

PROMPT = "$ "
_KEY_ID = r"(?:^|(?<=the key )|(?<=revoke )|(?<=Revoked: ))[0-9a-z]{12}(?=\s|\.|$)"
_VARYING = (
    r"^[0-9A-HJKMNP-TV-Z]{8}(?=  )|(?<=omp forget )[0-9A-HJKMNP-TV-Z]{8}$",  # an id by its end
    *(r"hook_[0-9a-z]{12}", r"whsec_[A-Za-z0-9+/]{43}="),
    *(r"mem_[0-9A-Z]{26}", r"omp_[0-9a-z]{12}_[\w-]{43}", _KEY_ID),
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d\.\d+(?:Z|\+00:00))?)?",  # times of the table, of JSON and of logs
    *(
        r"\b[0-9a-f]{32}\b",
        r"\bWz[\w-]{20,}",
        r"\b\d+ms\b",
        r'(?<="milliseconds": )\d+',
        r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT",
    ),
)
VARIES = re.compile("|".join(_VARYING), re.MULTILINE)
SHOWN_PORT = ":8080"
_STYLE = re.compile(r"\x1b\[[\d;]*m|\x1b\]8;;.*?\x1b\\|\x1b\[\?25[hl]|\r")  # colours, links, ends of lines, the cursor
_UP, _ERASE = "\x1b[1A", "\x1b[2K"  # what a bar of progress does before it is drawn again, and when it goes away


class Terminal:
    """Types what a page types.

    Args:
        folder: Where the commands run.
        programs: Folders of further programs.
    """

    def __init__(self, folder: Path, *programs: Path) -> None:
        own = folder / ".programs"
        own.mkdir()
        for name, module in (("omp", "openmem.cli"), ("omp-server", "openmem.server"), ("python", "")):
            (own / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module and f"-m {module}"} "$@"\n')
            (own / name).chmod(0o755)
        self._folder = folder
        self._path = os.pathsep.join([str(own), *map(str, programs), os.environ["PATH"]])
        self._real: dict[str, str] = {}  # an id or a time of the page: what it is here
        self._page: dict[str, str] = {}  # the other way round
        self._server: TypedServer | None = None
        self._port = f":{_free_port()}"  # what 8080 of the page is here

    def follow(self, shown: str) -> str:
        """Type every line after a prompt, and return the whole as this terminal shows it.

        Ids, times and the port of a server differ every time: they are returned as the page has them, and typed as
        they are here. A page may break the lines of one JSON document as it likes. A server that is started goes on
        until the next one is, or until the terminal is closed.
        """
        lines = []
        for command, expected in exchanges(shown):
            printed = _on_one_line(self._do(self.typed(command)))
            plain = _on_one_line(expected)
            for there, here in zip(VARIES.findall(plain), VARIES.findall(printed), strict=False):
                self._real[there], self._page[here] = here, there
            printed = self.shown(printed)
            lines.append(f"{PROMPT}{command}\n{expected if printed == plain else printed}")
        return "".join(lines)

    def typed(self, text: str) -> str:
        """Return a text of the page as it is here."""
        return self._translated(text, self._real).replace(SHOWN_PORT, self._port)

    def shown(self, text: str) -> str:
        """Return a text from here as the page has it."""
        return self._translated(text.replace(self._port, SHOWN_PORT), self._page)

    def close(self) -> None:
        """Stop the server, if there is one."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _do(self, command: str) -> str:
        if not TypedServer.is_started_by(command):
            return self._type(command)
        self.close()
        environment = self._environment() | {"OMP_PORT": self._port[1:]}
        self._server = TypedServer(command, self._folder, environment)
        return self._server.first_lines()

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": self._path,
            "PYTHONPATH": str(Path(openmem.__file__).parent.parent),
            "TERM": "xterm",
            "COLUMNS": "120",
        }

    def drawn_by(self, command: str) -> str:
        """Type a command, and return everything that it drew, without colours; `left_of` says what is left of it."""
        import pty

        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=self._folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = all_of(ours)
        assert process.wait() == 0, f"{command}: {shown}"
        return _STYLE.sub("", shown)

    def _type(self, command: str) -> str:
        return "".join(f"{line.rstrip()}\n" for line in left_of(self.drawn_by(command)).splitlines())

    @staticmethod
    def _translated(text: str, words: dict[str, str]) -> str:
        return VARIES.sub(lambda found: words.get(found[0], found[0]), text)


def exchanges(shown: str) -> Iterator[tuple[str, str]]:
    """Return what is typed and what it prints, one after the other."""
    for part in re.split(rf"^{re.escape(PROMPT)}", shown, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def all_of(end: int) -> str:
    """Return what is written to a pseudo-terminal until its other end is closed, and close this one."""
    shown = b""
    try:
        while part := os.read(end, 65_536):
            shown += part
    except OSError:  # the way in which Linux says that the other end was closed
        pass
    finally:
        os.close(end)
    return shown.decode()


def left_of(shown: str) -> str:
    """Return what is left to see of lines that were drawn over."""
    lines, row = [""], 0
    for part in re.split(r"(\n|\x1b\[1A|\x1b\[2K)", shown):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == _UP:
            row -= 1
        else:
            lines[row] = "" if part == _ERASE else lines[row] + part
    return "\n".join(lines)


def _on_one_line(shown: str) -> str:
    """Return a text with the JSON document at its end, if there is one, on one line and with the same spaces always."""
    head, brace, rest = shown.partition("{")
    if not brace or (head and not head.endswith("\n")):
        return shown
    try:
        document = json.loads(brace + rest)
    except ValueError:
        return shown
    return f"{head}{json.dumps(document, ensure_ascii=False)}\n"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
