"""One user's rows as arrays, so that filters and scores are computed over all of them at once.

A snapshot never changes: rows that were added since are appended to buffers behind it, anything else makes a new
one. `UserCache` keeps the snapshots of the users who searched last.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from openmem._model.access import Patterns, matches_any
from openmem._model.scopes import ScopePattern
from openmem._model.where import Path
from openmem._retrieval.analysis import stem, words_of
from openmem._retrieval.metadata_columns import MetadataColumn

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]

OPEN_END: Final = np.iinfo(np.int64).max
OPEN_START: Final = np.iinfo(np.int64).min
ENTRY_BYTES: Final = 1_000  # of an entry beside its arrays, roughly
COLUMN_NAMES: Final = (
    "rid",
    "created_at",
    "valid_from",
    "valid_to",
    "superseded_at",
    "scope_no",
    "model_no",
    "terms",
)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a user's memories, ordered by `rid`.

    `table` has one row per name in `COLUMN_NAMES`; open ends of time are `OPEN_START` and `OPEN_END`. `version` tells
    snapshots apart and grows with them; its first number changes when more than new rows came. `waiting` says which
    term occurs in which of the rows behind the `rid` of `indexed`, which no index of words holds yet: their `rid` in
    ascending order, once for each time.
    """

    version: tuple[int, int]
    table: Ints
    scopes: dict[int, str]
    tags: dict[str, Ints]
    tag_words: dict[str, frozenset[str]]
    indexed: int = 0
    waiting: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.table.shape[1])

    def column(self, name: str) -> Ints:
        """Return one column."""
        values: Ints = self.table[COLUMN_NAMES.index(name)]
        return values

    @property
    def nbytes(self) -> int:
        """Memory taken, in bytes, roughly."""
        tags = sum(int(rids.nbytes) + 200 for rids in self.tags.values())
        return int(self.table.nbytes) + tags + 200 * len(self.waiting)

    def locate(self, rids: Ints) -> tuple[Ints, Mask]:
        """Return where the rids stand, leaving out those that are not there, and which ones are."""
        own = self.column("rid")
        if not len(own):
            return np.empty(0, dtype=np.int64), np.zeros(len(rids), dtype=np.bool_)
        found = np.searchsorted(own, rids)
        found[found == len(own)] = 0
        known = own[found] == rids
        return found[known], known

    def tagged(self, tag: str) -> Ints:
        """Return where the rows stand that carry the tag."""
        return self.locate(self.tags[tag])[0] if tag in self.tags else np.empty(0, dtype=np.int64)

    def mask_of(self, rids: Ints) -> Mask:
        """Return which rows are among some."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[self.locate(rids)[0]] = True
        return mask

    def tag_mask(self, tag: str) -> Mask:
        """Return which rows carry the tag."""
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[self.tagged(tag)] = True
        return mask

    def visible(
        self,
        *,
        now: int,
        as_of: int | None,
        scope: ScopePattern | None,
        tags: Iterable[str],
        include_superseded: bool,
        include_expired: bool,
        allowed: Patterns | None = None,
    ) -> Mask:
        """Return which rows a view allows."""
        mask = np.ones(len(self), dtype=np.bool_)
        at = now if as_of is None else as_of
        start = self.column("valid_from")
        if as_of is not None:
            mask &= np.where(start == OPEN_START, self.column("created_at"), start) <= at
        if not include_expired:
            mask &= (start <= at) & (at < self.column("valid_to"))
        if not include_superseded:
            mask &= self.column("superseded_at") > at
        if scope is not None:
            mask &= self._scope_mask((scope,))
        if allowed is not None:
            mask &= self._scope_mask(allowed)
        for tag in tags:
            mask &= self.tag_mask(tag)
        return mask

    def _scope_mask(self, patterns: Patterns) -> Mask:
        numbers = [number for number, path in self.scopes.items() if matches_any(patterns, path)]
        numbers += [0] if matches_any(patterns, None) else []
        return np.isin(self.column("scope_no"), np.array(numbers, dtype=np.int64))

    def tags_named(self, words: frozenset[str]) -> list[str]:
        """Return the tags all of whose words are among some (stemmed) words."""
        return [tag for tag, parts in self.tag_words.items() if parts and parts <= words]


@dataclass(slots=True)
class Vectors:
    """The vectors of one model, ordered by `rid`, in a buffer that grows."""

    version: tuple[int, int]
    rids: Ints
    buffer: Floats
    count: int

    @property
    def matrix(self) -> Floats:
        """The vectors, one per row."""
        return self.buffer[: self.count]

    @property
    def nbytes(self) -> int:
        """Memory taken, in bytes."""
        return int(self.buffer.nbytes + self.rids.nbytes)

    def grown(self, version: tuple[int, int], rids: Ints, matrix: Floats) -> Vectors:
        """Return these vectors with more behind them."""
        total = self.count + len(rids)
        buffer = self.buffer
        if not len(rids):
            return Vectors(version, self.rids, buffer, self.count)
        if total > len(buffer):
            buffer = np.empty((max(total, 2 * len(buffer)), buffer.shape[1]), dtype=np.float32)
            buffer[: self.count] = self.matrix
        buffer[self.count : total] = matrix
        return Vectors(version, np.concatenate([self.rids, rids]), buffer, total)


@dataclass(slots=True)
class UserEntry:
    """The cached data of one user; `lock` is held while it is brought up to date.

    `counted` is what the cache has counted of it, in bytes, and belongs to the cache.
    """

    lock: AbstractContextManager[Any]
    columns: Columns | None = None
    vectors: dict[int, Vectors] = field(default_factory=dict)
    metadata: dict[Path, MetadataColumn] = field(default_factory=dict)
    counted: int = 0

    @property
    def nbytes(self) -> int:
        """Memory taken, in bytes."""
        own = self.columns.nbytes if self.columns else 0
        own += sum(column.nbytes for column in list(self.metadata.values()))
        return ENTRY_BYTES + own + sum(vectors.nbytes for vectors in list(self.vectors.values()))


class UserCache:
    """The entries of the users who searched last, up to a number of bytes.

    Args:
        max_bytes: How much to keep; the entry in use is always kept.
        new_lock: Makes a mutex for an entry.
    """

    def __init__(self, max_bytes: int, new_lock: Callable[[], AbstractContextManager[Any]]) -> None:
        self._max_bytes = max_bytes
        self._new_lock = new_lock
        self._lock = new_lock()
        self._entries: OrderedDict[int, UserEntry] = OrderedDict()
        self._total = 0

    @property
    def nbytes(self) -> int:
        """Memory taken by all entries, in bytes, as of when each of them was last counted."""
        return self._total

    def entry(self, user_no: int) -> UserEntry:
        """Return a user's entry, which becomes the newest."""
        with self._lock:
            entry = self._entries.get(user_no)
            if entry is None:
                entry = self._entries[user_no] = UserEntry(self._new_lock())
            self._entries.move_to_end(user_no)
            return entry

    def forget(self, user_no: int) -> None:
        """Drop what is kept of a user."""
        with self._lock:
            entry = self._entries.pop(user_no, None)
            self._total -= entry.counted if entry is not None else 0

    def trim(self, user_no: int) -> None:
        """Count the entry of a user again, and forget the oldest entries until what is left fits.

        The others are not looked at: what this takes does not depend on how many there are.
        """
        with self._lock:
            entry = self._entries.get(user_no)
            if entry is not None:
                size = entry.nbytes
                self._total += size - entry.counted
                entry.counted = size
            while self._total > self._max_bytes and len(self._entries) > 1:
                _, oldest = self._entries.popitem(last=False)
                self._total -= oldest.counted


def table_of(rows: Sequence[tuple[Any, ...]]) -> Ints:
    """Return rows of `COLUMN_NAMES` as a table, one line per column."""
    if not rows:
        return np.empty((len(COLUMN_NAMES), 0), dtype=np.int64)
    return np.ascontiguousarray(np.array(rows, dtype=np.int64).T)


def parse_integers(text: str) -> Ints:
    """Return the whole numbers of a JSON array, in ascending order."""
    if len(text) <= 2:
        return np.empty(0, dtype=np.int64)
    numbers = np.fromstring(text[1:-1], dtype=np.int64, sep=",")
    return numbers if (numbers[1:] >= numbers[:-1]).all() else np.sort(numbers)


def unique_counts(values: Ints) -> tuple[Ints, Ints]:
    """Return the distinct values of a sorted array, and how often each occurs."""
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]]) if len(values) else np.empty(0, dtype=np.int64)
    counts: Ints = np.diff(np.r_[starts, len(values)])
    return values[starts], counts


def matrix_of(blobs: Sequence[bytes], dim: int) -> Floats:
    """Return float32 blobs as a matrix."""
    return np.frombuffer(b"".join(blobs), dtype="<f4").reshape(-1, dim)


def words_of_tag(tag: str) -> frozenset[str]:
    """Return the stemmed words of a tag."""
    return frozenset(stem(word) for word in words_of(tag))
