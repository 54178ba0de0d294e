"""Imports over a service that only keeps texts and metadata: under their own ids, all or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from openmem._emulation.backend import Entry
from openmem._emulation.importing import take_in
from openmem._model.requests import Draft
from openmem.errors import OMPError
from openmem.types import ImportConflict, ImportReport, MemoryRecord
from tests.pure.kept_backend import DAY, NOW, KeptBackend, Watch, draft, record


class Batching(KeptBackend):
    """A service that stores three memories of a user in one request."""

    most_inserts: ClassVar[int] = 3

    def insert_many(self, records: Sequence[MemoryRecord], outdated: Sequence[bool], note: object) -> Sequence[Entry]:
        self.asked.append(("insert_many", [one.id for one in records]))
        return [self.insert(one, outdated=mark) for one, mark in zip(records, outdated, strict=True)]


class Unfiltered(Batching):
    """A service whose filters save nothing: an import reads all of a user once."""

    filters: ClassVar[bool] = False


KINDS = pytest.mark.parametrize("kind", [KeptBackend, Batching, Unfiltered])


def given(id_: str, content: str = "new", **fields: Any) -> Draft:
    return draft(content, **{"id": id_, "created_at": NOW - DAY, **fields})


def taken(backend: KeptBackend, *drafts: Draft, conflict: ImportConflict = "skip") -> dict[str, int]:
    report = take_in(backend, drafts, conflict, Watch().task)
    assert isinstance(report, ImportReport)
    return {name: count for name, count in report.model_dump().items() if count}


@KINDS
def test_memories_keep_their_ids_times_and_versions(kind: type[KeptBackend]) -> None:
    backend = kind()
    assert taken(backend, given("a", version=3, updated_at=NOW, key="k"), given("b")) == {"imported": 2}
    stored = backend.one("a").record
    assert (stored.version, stored.created_at, stored.updated_at, stored.key) == (3, NOW - DAY, NOW, "k")


@KINDS
def test_memory_that_is_there_by_id_or_key_is_skipped(kind: type[KeptBackend]) -> None:
    backend = kind(record("a", "old"), record("b", "old", key="k"), record("c", "his", user_id="bob"))
    assert taken(backend, given("a"), given("x", key="k"), given("c")) == {"skipped": 2, "imported": 1}
    assert sorted((entry.record.id, entry.record.content) for entry in backend.kept.values()) == [
        ("a", "old"),
        ("b", "old"),
        ("c", "his"),
        ("c", "new"),
    ]


@KINDS
def test_memory_that_comes_twice_in_an_import_is_skipped(kind: type[KeptBackend]) -> None:
    backend = kind()
    drafts = [given("a", "one"), given("a", "two"), given("b", "one", key="k"), given("c", "two", key="k")]
    assert taken(backend, *drafts) == {"imported": 2, "skipped": 2}
    assert backend.contents == {"a": "one", "b": "one"}


@KINDS
def test_memory_that_is_there_is_overwritten_as_its_next_version(kind: type[KeptBackend]) -> None:
    backend = kind(record("a", "old", version=4, tags=["x"]), record("b", "old", key="k"))
    backend.outdate("a")
    report = taken(backend, given("a"), given("x", key="k"), given("n"), conflict="overwrite")
    assert report == {"overwritten": 2, "imported": 1}
    assert backend.contents == {"a": "new", "b": "new", "n": "new"}
    stored = backend.one("a").record
    assert (stored.version, stored.tags, stored.updated_at, stored.created_at) == (5, None, NOW, NOW - DAY)
    assert backend.one("a").outdated


@KINDS
def test_memory_that_is_there_is_stored_again_under_another_id_without_a_key_that_is_taken(
    kind: type[KeptBackend],
) -> None:
    backend = kind(record("a", "old"), record("b", "old", key="k"))
    drafts = [given("a", key="free"), given("b", key="k")]
    assert taken(backend, *drafts, conflict="duplicate") == {"duplicated": 2}
    assert len(backend.kept) == 4
    fresh = [entry.record for entry in backend.kept.values() if entry.record.content == "new"]
    assert {one.key for one in fresh} == {"free", None}
    assert {"a", "b"}.isdisjoint(one.id for one in fresh)


@KINDS
def test_superseded_memories_are_marked_whichever_comes_first(kind: type[KeptBackend]) -> None:
    backend = kind(record("a", "old"))
    drafts = [given("b", supersedes=("a", "c")), given("c"), given("d")]
    taken(backend, *drafts)
    assert {entry.record.id for entry in backend.kept.values() if entry.outdated} == {"a", "c"}
    backend = kind(record("e", supersedes=["f"]))
    taken(backend, given("f"), given("g"))
    assert backend.one("f").outdated
    assert not backend.one("g").outdated


def test_plain_memories_of_a_user_are_stored_together() -> None:
    backend = Batching()
    drafts = [given(id_) for id_ in "abcd"] + [given("e", user_id="bob"), given("f", key="k"), given("g"), given("h")]
    taken(backend, *drafts)
    assert [what for name, what in backend.asked if name == "insert_many"] == [
        ["a", "b", "c"],
        ["d"],
        ["e"],
        ["f"],
        ["g", "h"],
    ]
    assert {entry.record.id: entry.record.user_id for entry in backend.kept.values()}["e"] == "bob"


def test_skipped_memory_does_not_part_those_that_wait() -> None:
    backend = Batching(record("x"))
    taken(backend, given("a"), given("x"), given("b"))
    assert [what for name, what in backend.asked if name == "insert_many"] == [["a", "b"]]


@pytest.mark.parametrize(("kind", "equal"), [(Batching, {"omp_links": True}), (Unfiltered, {})])
def test_known_memories_of_a_user_are_read_once(kind: type[KeptBackend], equal: dict[str, bool]) -> None:
    backend = kind(record("x"))
    taken(backend, *(given(f"m{number}") for number in range(5)))
    assert [what for name, what in backend.asked if name == "entries"] == [equal]


def test_failed_import_leaves_everything_as_it_was() -> None:
    backend = Batching(record("a", "old"), troubles={"bad": OMPError("full")})
    drafts = [given("a"), given("b"), given("c", user_id="bob"), given("d", "bad")]
    with pytest.raises(OMPError, match="full"):
        take_in(backend, drafts, "overwrite", Watch().task)
    assert backend.contents == {"a": "old"}


def test_late_import_is_taken_back_and_users_are_held_in_order() -> None:
    for late_from in (1, 2, 3):
        backend, watch = KeptBackend(), Watch(late_from=late_from)
        with pytest.raises(OMPError, match="the time is over"):
            take_in(backend, [given("a", user_id="bob"), given("b")], "skip", watch.task)
        assert backend.contents == {}
        assert watch.held == ["ann", "bob"]


def test_own_text_under_the_id_of_another_user_is_told_from_it() -> None:
    backend = KeptBackend(record("a", "his", user_id="bob"))
    assert taken(backend, given("a"), conflict="overwrite") == {"imported": 1}
    assert sorted(entry.record.content for entry in backend.kept.values()) == ["his", "new"]
