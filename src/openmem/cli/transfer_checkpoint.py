"""Notes of how far a copy is, for the case of an interruption."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from openmem.types import TransferProgress


class Notes:
    """The progress of a copy in a file, so that a later run goes on there.

    Args:
        path: The file. Its folder is made when it is needed.
        copy: Which copy the notes are of.
    """

    def __init__(self, path: Path, copy: str) -> None:
        self._path, self._copy = path, copy

    def read(self) -> TransferProgress | None:
        """Return what the file says, or `None` if there is none.

        Raises:
            typer.BadParameter: The file holds something else, which must not be overwritten.
        """
        from openmem.types import TransferProgress

        try:
            notes = json.loads(self._path.read_text(encoding="utf-8"))
            copy, progress = notes["copy"], TransferProgress.model_validate(notes["progress"])
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, LookupError):
            raise typer.BadParameter(f"{self._path}: holds no notes of a copy; name another file") from None
        if copy != self._copy:
            raise typer.BadParameter(f"{self._path}: holds the notes of another copy; name another file or remove it")
        return progress

    def write(self, progress: TransferProgress) -> None:
        """Note how far it is, in one piece."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}.part")
        part.write_text(json.dumps({"copy": self._copy, "progress": progress.model_dump()}), encoding="utf-8")
        part.replace(self._path)

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
