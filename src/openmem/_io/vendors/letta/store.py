"""Letta's archives of passages through `letta_client.Letta`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

from openmem._emulation.backend import Backend, Entry, Hit, Position
from openmem._emulation.failures import is_refusal
from openmem._io.vendors.letta.archives import Archive, Archives
from openmem._io.vendors.letta.items import (
    NAME,
    Stamps,
    age_of,
    entry_of,
    new_id,
    newest,
    passage_of,
    stamp_of,
    text_of,
)
from openmem._io.vendors.letta.listing import all_passages, passages_after, position_of
from openmem._io.vendors.letta.wire import MOST, SDK, Item, LettaWire
from openmem.errors import NotFoundError, OMPError, ProviderError
from openmem.types import MemoryRecord, SearchMode

T = TypeVar("T")

SPARE: Final = 10
"""The number of results that may turn out to be older forms of a memory that is being changed."""


class LettaStore(Backend):
    """A Letta server, self-hosted or in the cloud.

    A passage cannot be changed. A memory is changed by a second passage of the same id and moment, then the first is
    erased; meanwhile the archive's description names the memory. If that is interrupted, readers take the newer
    passage, and the next change in the archive erases the other.

    Args:
        sdk: A `letta_client.Letta`.
        embedding: The model of archives that are made.
    """

    name: ClassVar[str] = NAME
    filters: ClassVar[bool] = False
    most_inserts: ClassVar[int] = MOST
    most_hits: ClassVar[int | None] = MOST - SPARE

    def __init__(self, sdk: Any, embedding: str) -> None:
        self.sdk = sdk
        self._wire = LettaWire(sdk)
        self._archives = Archives(self._wire, embedding)
        self._stamps = Stamps()

    @SDK.understood
    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Store a passage in the user's archive, which is made for the first one."""
        passage = passage_of(self._named(record), outdated=outdated)
        made = self._in_home(record.user_id, lambda home: self._wire.create(home, passage))
        return _stored(made, record.user_id)

    @SDK.understood
    def insert_many(
        self, records: Sequence[MemoryRecord], outdated: Sequence[bool], note: Callable[[Entry], object]
    ) -> Sequence[Entry]:
        """Store passages in one request, each with a moment of its own."""
        named, user_id = [self._named(record) for record in records], records[0].user_id
        passages = [passage_of(record, outdated=mark) for record, mark in zip(named, outdated, strict=True)]
        try:
            # 1. All are stored: Letta takes them in one transaction, and each is told from the others by its id.
            made = self._in_home(user_id, lambda home: self._wire.create_many(home, passages))
            stored = {entry.record.id: entry for entry in _entries(made, user_id)}
            return [stored[record.id] for record in named]
        except Exception as error:
            # 2. Refused: nothing is there.
            # 3. In doubt: the caller removes what may be.
            if not (isinstance(error, OMPError) and is_refusal(error)):
                for record in named:
                    note(Entry("", record))
            raise

    @SDK.understood
    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Store the new form beside the old one and erase the old one."""
        # 1. Written down that a change is under way: a reader asks for all passages of the memory.
        archive, old = self._place_of(entry)
        self._archives.note(archive, record.id)
        # 2. The new form is there, and both count until the old one is gone: readers take the newer.
        made = _stored(self._wire.create(archive.id, passage_of(record, outdated=outdated)), record.user_id)
        try:
            # 3. The old one goes, then the note.
            for each in old:
                self._wire.delete(archive.id, each.handle)
            self._archives.note(archive, None)
        except OMPError:
            # 4. It could not be erased, and by the clocks the old form is the newer: it would be read, so it is an
            #    error.
            if age_of(made) < age_of(old[-1]):
                raise
            # The change stands: readers take the newer passage, and the next change erases what is left.
        return made

    @SDK.understood
    def remove(self, entry: Entry) -> None:
        """Erase every passage of a memory, the newest last."""
        archives = self._archives.of(entry.record.user_id)
        # 1. One passage for certain: one request.
        # 2. Perhaps several: each is looked up first.
        if len(archives) == 1 and _is_alone(entry, archives[0]):
            self._wire.delete(archives[0].id, entry.handle)
            return
        for archive in archives:
            for each in self._of_id(archive, entry.record.id):
                self._wire.delete(archive.id, each.handle)

    @SDK.understood
    def fetch(self, id: str, user_id: str | None) -> Sequence[Entry]:
        """Read the passages of the moment that the id tells, in the archive of the user or in each user's."""
        archives = self._archives.all() if user_id is None else self._archives.of(user_id)
        found = [each for archive in archives for each in self._of_id(archive, id)]
        return [
            each
            for owner in {entry.record.user_id for entry in found}
            for each in newest(entry for entry in found if entry.record.user_id == owner)
        ]

    @SDK.understood
    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        """Read all passages of a user, a hundred at a time. Letta filters by none of the mirrors."""
        return newest(
            entry
            for archive in self._archives.of(user_id)
            for passage in all_passages(self._wire, archive.id)
            if (entry := entry_of(passage, user_id)) is not None
        )

    @SDK.understood
    def following(
        self, user_id: str, after: Position | None, count: int
    ) -> tuple[Sequence[tuple[Position, Entry]], Position | None]:
        """Read passages by the moment that they carry, a hundred at a time."""
        archives = self._archives.of(user_id)
        parts = [passages_after(self._wire, archive.id, after, count) for archive in archives]
        # Archives are read side by side, so only what lies before the end of each of them is in order.
        end = min((end for _, end in parts if end is not None), default=None)
        found: list[tuple[Position, Entry]] = []
        for archive, (passages, _) in zip(archives, parts, strict=True):
            places = {
                str(each["id"]): position_of(each) for each in passages if end is None or position_of(each) <= end
            }
            entries = _entries([each for each in passages if str(each["id"]) in places], user_id)
            found += [(places[entry.handle], entry) for entry in self._counting(archive, entries)]
        counting = {entry.handle for entry in newest(entry for _, entry in found)}
        return sorted((each for each in found if each[1].handle in counting), key=lambda each: each[0]), end

    @SDK.understood
    def nearest(
        self, text: str, user_id: str, equal: Mapping[str, str | bool], count: int, mode: SearchMode
    ) -> Sequence[Hit]:
        """Search as Letta does. It gives an order and no scores, so a score is 1 / rank."""
        archives = self._archives.of(user_id)
        found = [entry for archive in archives for entry in self._near(archive, text, count)]
        return [
            Hit(entry, 1 / rank, {"letta_rank": {"value": rank, "weight": 1.0}})
            for rank, entry in enumerate(newest(found), 1)
        ]

    @SDK.understood
    def users(self) -> Sequence[str]:
        """Return the users who have an archive."""
        return sorted({archive.user_id for archive in self._archives.all()})

    @SDK.understood
    def ping(self) -> Mapping[str, Any]:
        """Ask the server how it is, and whether it accepts the key."""
        return {"version": str(self._wire.ping()["version"])}

    def _near(self, archive: Archive, text: str, count: int) -> list[Entry]:
        wanted = count if archive.changing is None else count + SPARE
        found = _entries(self._wire.nearest(archive.id, text, wanted), archive.user_id)
        return self._counting(archive, found)

    def _counting(self, archive: Archive, found: list[Entry]) -> list[Entry]:
        """Leave out passages of the memory that is being changed, except the one that counts."""
        # 1. Nothing is being changed, or it is not among them.
        # 2. Of its passages, the newest counts.
        if archive.changing is None or all(entry.record.id != archive.changing for entry in found):
            return found
        valid = {entry.handle for entry in newest(self._of_id(archive, archive.changing))}
        return [entry for entry in found if entry.record.id != archive.changing or entry.handle in valid]

    def _of_id(self, archive: Archive, id_: str) -> list[Entry]:
        moment = text_of(stamp_of(id_))
        passages = self._wire.between(archive.id, moment, moment)
        # A full page may leave some out.
        if len(passages) == MOST:
            passages = all_passages(self._wire, archive.id)
        return sorted((each for each in _entries(passages, archive.user_id) if each.record.id == id_), key=age_of)

    def _named(self, record: MemoryRecord) -> MemoryRecord:
        if record.id:
            return record
        return record.model_copy(update={"id": new_id(self._stamps.take(record.created_at))})

    def _in_home(self, user_id: str, create: Callable[[str], T]) -> T:
        try:
            return create(self._archives.home(user_id))
        except NotFoundError:  # the archive was deleted since
            self._archives.forget(user_id)
            return create(self._archives.home(user_id))

    def _place_of(self, entry: Entry) -> tuple[Archive, list[Entry]]:
        """Return where a memory is and its passages, the newest last, after interrupted changes are finished."""
        for archive in self._archives.of(entry.record.user_id):
            # A change that was cut off is finished by the next one.
            if archive.changing is not None:
                self._finish(archive, archive.changing)
            found = self._of_id(archive, entry.record.id)
            if found:
                return archive, found
        raise NotFoundError("the memory is gone", provider=NAME)

    def _finish(self, archive: Archive, id_: str) -> None:
        for stale in self._of_id(archive, id_)[:-1]:
            self._wire.delete(archive.id, stale.handle)
        self._archives.note(archive, None)


def _is_alone(entry: Entry, archive: Archive) -> bool:
    """Return whether a memory is one passage for certain: others wrote it, and no call is changing it."""
    return entry.record.id.endswith(f".{entry.handle}") and archive.changing != entry.record.id


def _entries(passages: Sequence[Item], user_id: str) -> list[Entry]:
    return [entry for passage in passages if (entry := entry_of(passage, user_id)) is not None]


def _stored(passage: Item, user_id: str) -> Entry:
    entry = entry_of(passage, user_id)
    if entry is None:
        raise ProviderError("letta stored no text", provider=NAME)
    return entry
