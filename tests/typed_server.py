"""An `omp-server` that a page of the documentation starts, in the background of its terminal."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BOOT_SECONDS: Final = 40
STOP_SECONDS: Final = 20

_STARTS: Final = re.compile(r"(?:\w+=\S+ )*(?:omp-server|omp serve)\b(?!.* --(?:help|version)\b)")
_LOG: Final = re.compile(r" 2> *(\S+)$")


class TypedServer:
    """A server that was started in a shell.

    Args:
        command: The line as it was typed, variables before it included.
        folder: The working folder of the shell.
        environment: The environment variables of the shell.
    """

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        named = _LOG.search(command)
        self._log = folder / (named[1] if named else ".server.log")
        self._is_shown = named is None
        variables, _, program = command.rpartition("omp")
        # With exec the signals of `stop` reach the server, not a shell around it.
        line = f"{variables}exec omp{program}" if named else f"{variables}exec omp{program} 2> {self._log.name}"
        self._log.write_bytes(b"")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", line], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    @staticmethod
    def is_started_by(command: str) -> bool:
        """Return whether a command starts a server."""
        return _STARTS.match(command) is not None

    def first_lines(self) -> str:
        """Return what it says until it serves, or gives up."""
        end = time.monotonic() + BOOT_SECONDS
        while True:
            has_ended = self._process.poll() is not None
            said = self._log.read_text(encoding="utf-8")
            if has_ended or (": serving " in said and said.endswith("\n")):
                return self._until_serving(said) if self._is_shown else ""
            assert time.monotonic() < end, said
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as Ctrl-C does; it must end well unless it never served."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                code = self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise
            assert code == 0, self._log.read_text(encoding="utf-8")
        elif self._process.returncode == 0:
            raise AssertionError("the server ended before it was told to")

    @staticmethod
    def _until_serving(said: str) -> str:
        lines = said.splitlines(keepends=True)
        served = next((number for number, line in enumerate(lines) if ": serving " in line), len(lines) - 1)
        return "".join(lines[: served + 1])
