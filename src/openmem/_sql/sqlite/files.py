"""The kinds of SQLite files that openmem makes. A file of one kind is never taken for one of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from openmem._sql.sqlite.schema import APPLICATION_ID, MIGRATIONS, PAGE_SIZE


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file holds.

    Args:
        application_id: The number in the file's header by which it is recognised.
        migrations: The statements of each version, from 1 on.
        page_size: Bytes of a page.
        secure_delete: "fast" overwrites what is deleted where that costs no page more, "on" always.
    """

    application_id: int
    migrations: tuple[tuple[str, ...], ...]
    page_size: int = 4096
    secure_delete: Literal["fast", "on"] = "fast"

    @property
    def version(self) -> int:
        """The version that this code brings a file to."""
        return len(self.migrations)


MEMORIES: Final = FileKind(APPLICATION_ID, MIGRATIONS, PAGE_SIZE)
