"""The kinds of SQLite files that openmem makes. A file of one kind is never taken for one of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openmem._sql.migrations import Migrations


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of file: how it is recognised, and its schema.

    Args:
        application_id: The number in the file's header by which it is recognised.
        statements: The statements of each version of its schema, from 1 on.
        page_size: Bytes of a page.
        secure_delete: "fast" overwrites what is deleted where that costs no page more, "on" always.
    """

    application_id: int
    statements: tuple[tuple[str, ...], ...]
    page_size: int = 4096
    secure_delete: Literal["fast", "on"] = "fast"

    @property
    def migrations(self) -> Migrations:
        """The migrations of the schema of such a file."""
        return Migrations(self.statements, "the database", "sqlite")
