"""Memories whose reply was lost: mem0 chooses the ids, so such a memory is found by a mark of ours."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from openmem._emulation import metadata as envelope
from openmem._emulation.backend import Backend, Entry
from openmem._emulation.failures import is_refusal
from openmem.errors import OMPError
from openmem.types import MemoryRecord

_TRACED: Final = "trace:"  # begins the handle of a memory that has none we know


class TracedBackend(Backend):
    """Stores and erases memories, also those whose handle is not known. Parts of a batch alone carry a trace."""

    @abstractmethod
    def store(self, record: MemoryRecord, metadata: Mapping[str, str], *, outdated: bool) -> Entry:
        """Store a text as it is.

        Args:
            record: The memory.
            metadata: To be kept besides what the record says.
            outdated: The mark to store.
        """

    @abstractmethod
    def erase(self, handle: str) -> None:
        """Erase a memory; one that is gone already is no error."""

    def insert(self, record: MemoryRecord, *, outdated: bool) -> Entry:
        """Store a text as it is."""
        return self.store(record, {}, outdated=outdated)

    def insert_many(
        self, records: Sequence[MemoryRecord], outdated: Sequence[bool], note: Callable[[Entry], object]
    ) -> Sequence[Entry]:
        """Store a text that is part of a batch: it can be erased even if mem0 does not say that it stored it."""
        # 1. Stored: its handle is known.
        # 2. Refused: there is nothing to erase.
        # 3. In doubt: the trace finds it, if it is there.
        [record], [mark] = records, outdated
        trace = secrets.token_hex(8)
        try:
            return [self.store(record, {envelope.TRACE: trace}, outdated=mark)]
        except OMPError as error:
            if not is_refusal(error):
                note(Entry(_TRACED + trace, record))
            raise

    def remove(self, entry: Entry) -> None:
        """Erase a memory, or what is found by its trace."""
        if not entry.handle.startswith(_TRACED):
            self.erase(entry.handle)
            return
        record = entry.record
        for found in self.entries(record.user_id, {envelope.TRACE: entry.handle.removeprefix(_TRACED)}):
            # A store that does not know the filter shows others, too.
            if (found.record.content, found.record.created_at) == (record.content, record.created_at):
                self.erase(found.handle)
