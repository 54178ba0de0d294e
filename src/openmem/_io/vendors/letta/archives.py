"""One archive for each user, known by its name. Two processes may make two of one name: then both are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from openmem._io.vendors.letta.wire import Item, LettaWire
from openmem._io.vendors.writer_locks import WriterLocks

PREFIX: Final = "openmem-user:"
CHANGING: Final = "openmem is changing the memory "
"""Begins the description of an archive while a memory is replaced in it."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The archives that hold the memories of a user.

    Attributes:
        id: What Letta calls it.
        user_id: Whose it is.
        changing: The id of a memory that may be there twice, because its change did not come to an end.
    """

    id: str
    user_id: str
    changing: str | None


class Archives:
    """The archives of users.

    Args:
        wire: The requests.
        embedding: The model of archives that are made, in Letta's own words.
    """

    def __init__(self, wire: LettaWire, embedding: str) -> None:
        self._wire, self._embedding = wire, embedding
        self._finding = WriterLocks()
        self._homes: dict[str, str] = {}

    def of(self, user_id: str) -> Sequence[Archive]:
        """Return the archives of a user, oldest first; they are looked up each time."""
        return [found for each in self._wire.archives(name_of(user_id)) if (found := _archive(each)) is not None]

    def all(self) -> Sequence[Archive]:
        """Return the archives of all users; those of others are left out."""
        return [found for each in self._wire.archives() if (found := _archive(each)) is not None]

    def home(self, user_id: str) -> str:
        """Return the id of the archive that takes new memories, made if there is none.

        Raises:
            DeadlineExceededError: Another call is about to make it and was not done in time.
        """
        known = self._homes.get(user_id)
        # 1. Known.
        if known is not None:
            return known
        with self._finding.hold(user_id):  # of one user: a slow answer about one does not hold up the others
            # 2. Looked up, or made, by the first of several callers;
            # 3. the others find it known.
            if user_id not in self._homes:
                self._homes[user_id] = self._find_or_make(user_id)
            return self._homes[user_id]

    def forget(self, user_id: str) -> None:
        """Forget which archive takes new memories: it is gone."""
        self._homes.pop(user_id, None)

    def note(self, archive: Archive, changing: str | None) -> None:
        """Write down which memory of an archive is about to be replaced, or that none is."""
        self._wire.describe_archive(archive.id, "" if changing is None else CHANGING + changing)

    def _find_or_make(self, user_id: str) -> str:
        found = self.of(user_id)
        if not found:
            self._wire.create_archive(name_of(user_id), self._embedding)
            found = self.of(user_id)  # a client that made one at the same moment chooses the same
        return found[0].id


def name_of(user_id: str) -> str:
    """Return what the archives of a user are called."""
    return PREFIX + quote(user_id, safe="")


def _archive(item: Item) -> Archive | None:
    name, description = str(item["name"]), str(item.get("description") or "")
    if not name.startswith(PREFIX):
        return None
    changing = description.removeprefix(CHANGING) if description.startswith(CHANGING) else None
    return Archive(str(item["id"]), unquote(name.removeprefix(PREFIX)), changing)
