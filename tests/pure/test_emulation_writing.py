"""Writes over a service that only keeps texts and metadata: all or none, in order, and taken back when they fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar

import pytest

from openmem._emulation.backend import Entry
from openmem._emulation.failures import error_of_status, is_refusal
from openmem._emulation.reading import find
from openmem._emulation.writing import add, delete, erase, record_of, update
from openmem._model.ids import Key
from openmem._model.requests import Change
from openmem._model.scopes import parse_pattern
from openmem.errors import (
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
    ProviderUnavailableError,
)
from openmem.types import MemoryRecord
from tests.pure.kept_backend import DAY, NOW, KeptBackend, Watch, draft, record


class Batching(KeptBackend):
    """A service that stores three memories of a user in one request."""

    most_inserts: ClassVar[int] = 3

    def insert_many(self, records: Sequence[MemoryRecord], outdated: Sequence[bool], note: object) -> Sequence[Entry]:
        self.asked.append(("insert_many", [one.content for one in records]))
        return [self.insert(one, outdated=mark) for one, mark in zip(records, outdated, strict=True)]


def batches(backend: KeptBackend) -> list[list[str]]:
    return [what for name, what in backend.asked if name == "insert_many"]


def test_plain_draft_is_stored_by_one_request_that_takes_no_lock() -> None:
    backend, watch = KeptBackend(), Watch()
    (stored,) = add(backend, [draft("a", tags=("x",), scope="s/t")], None, watch.task)
    assert backend.one(stored.id).record == stored
    assert (stored.content, stored.tags, stored.scope, stored.created_at) == ("a", ["x"], "s/t", NOW)
    assert backend.asked == [("insert", "a")]
    assert (watch.held, watch.checks) == ([], 1)
    assert not backend.one(stored.id).outdated


def test_record_has_what_its_draft_says() -> None:
    source = {"app": "chat", "type": "explicit", "ref": "r"}
    given = draft(
        "a",
        scope="s",
        tags=("x", "y"),
        source=source,
        confidence=0.5,
        valid_from=NOW - DAY,
        valid_to=NOW + DAY,
        supersedes=("o",),
        key="k",
        extensions={"x-kit": 1},
        id="i",
        created_at=NOW - 2 * DAY,
        updated_at=NOW - DAY,
        version=4,
    )
    assert record_of(given, Watch().task).model_dump(exclude_none=True) == {
        "id": "i",
        "content": "a",
        "user_id": "ann",
        "created_at": NOW - 2 * DAY,
        "scope": "s",
        "tags": ["x", "y"],
        "source": source,
        "confidence": 0.5,
        "valid_from": NOW - DAY,
        "valid_to": NOW + DAY,
        "supersedes": ["o"],
        "updated_at": NOW - DAY,
        "version": 4,
        "key": "k",
        "x-kit": 1,
    }
    bare = record_of(draft("a"), Watch().task)
    assert bare.model_dump(exclude_none=True) == {
        "id": "",
        "content": "a",
        "user_id": "ann",
        "created_at": NOW,
        "version": 1,
    }
    assert (bare.tags, bare.supersedes, bare.source, bare.embedding_model) == (None, None, None, None)


def test_drafts_of_a_user_go_together_as_far_as_the_service_takes_them() -> None:
    backend, told = Batching(), list[tuple[int, int]]()
    drafts = [draft(text) for text in "abcd"] + [draft("e", user_id="bob"), draft("f"), draft("g", key="k"), draft("h")]
    stored = add(backend, drafts, lambda done, all_: told.append((done, all_)), Watch().task)
    assert [one.content for one in stored] == list("abcdefgh")
    assert batches(backend) == [["a", "b", "c"], ["d"], ["e"], ["f"], ["g"], ["h"]]
    assert told == [(done, 8) for done in (3, 4, 5, 6, 7, 8)]


def test_users_are_held_whose_memories_are_looked_at_each_once_in_order() -> None:
    watch = Watch()
    drafts = [draft("a", user_id="cid", key="k"), draft("b", user_id="ann", supersedes=("z",)), draft("c", key="q")]
    add(KeptBackend(), [*drafts, draft("d", user_id="eve")], None, watch.task)
    assert watch.held == ["ann", "cid"]
    assert watch.checks == 5


def test_key_that_is_there_changes_that_memory() -> None:
    old = record("a", "old", key="k", version=3, scope="s")
    backend = KeptBackend(old, record("b", "other", key="q"), record("c", "his", user_id="bob", key="k"))
    (stored,) = add(backend, [draft("new", key="k")], None, Watch().task)
    assert (stored.id, stored.content, stored.version, stored.updated_at) == ("a", "new", 4, NOW)
    assert (stored.created_at, stored.scope) == (old.created_at, None)
    assert backend.contents == {"a": "new", "b": "other", "c": "his"}


def test_change_is_never_older_than_the_memory() -> None:
    backend = KeptBackend(record("a", "old", key="k", created_at=NOW + DAY))
    (stored,) = add(backend, [draft("new", key="k")], None, Watch().task)
    assert stored.updated_at == NOW + DAY


def test_superseded_memories_of_the_user_are_marked_and_no_others() -> None:
    backend = KeptBackend(record("a"), record("b"), record("a", "his", user_id="bob"))
    add(backend, [draft("new", supersedes=("a", "gone"))], None, Watch().task)
    marked = [(entry.record.user_id, entry.record.id) for entry in backend.kept.values() if entry.outdated]
    assert marked == [("ann", "a")]
    backend.asked.clear()
    add(backend, [draft("newer", supersedes=("a",))], None, Watch().task)
    assert [what for what in backend.asked if what[0] == "rewrite"] == []  # it is marked already


class Unmarking(KeptBackend):
    """A service that cannot rewrite metadata."""

    marks_outdated: ClassVar[bool] = False


def test_nothing_is_marked_where_the_service_cannot() -> None:
    backend = Unmarking(record("a"))
    add(backend, [draft("new", supersedes=("a",))], None, Watch().task)
    assert not backend.one("a").outdated


def test_failed_batch_leaves_nothing_and_a_changed_memory_as_it_was() -> None:
    full = OMPError("it is full")
    backend = KeptBackend(record("a", "old", key="k"), troubles={"bad": full})
    watch = Watch()
    with pytest.raises(OMPError) as caught:
        add(backend, [draft("one"), draft("new", key="k"), draft("bad")], None, watch.task)
    assert caught.value is full
    assert backend.contents == {"a": "old"}
    assert watch.renewed == 1


def test_late_batch_is_taken_back() -> None:
    for late_from in (1, 2, 3):
        backend = KeptBackend()
        with pytest.raises(OMPError, match="the time is over"):
            add(backend, [draft("one"), draft("two")], None, Watch(late_from=late_from).task)
        assert backend.contents == {}


def test_single_draft_that_is_late_is_not_stored() -> None:
    backend = KeptBackend()
    with pytest.raises(OMPError, match="the time is over"):
        add(backend, [draft("one")], None, Watch(late_from=1).task)
    assert backend.contents == {}


class Dying(KeptBackend):
    """A service that takes nothing back once it has failed."""

    def _try(self, record: MemoryRecord) -> None:
        self.dead = record.content in self.troubles
        super()._try(record)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [(OMPError("full"), ProviderError), (ProviderUnavailableError("away"), ProviderUnavailableError)],
)
def test_memory_that_cannot_be_rolled_back_is_counted(trouble: OMPError, kind: type[OMPError]) -> None:
    backend = Dying(troubles={"bad": trouble})
    with pytest.raises(OMPError) as caught:
        add(backend, [draft("one"), draft("two"), draft("bad")], None, Watch().task)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is trouble
    assert caught.value.message == (
        "a write failed, and 2 memories that it stored, or may have, could not be taken back"
    )
    assert (caught.value.provider, caught.value.details) == ("kept", {"left": 2})


class Vanishing(KeptBackend):
    """A service in which another writer erases what is to be taken back."""

    def remove(self, entry: Entry) -> None:
        super().remove(entry)
        raise NotFoundError("it is gone")


def test_memory_that_another_client_erased_need_not_be_rolled_back() -> None:
    trouble = OMPError("full")
    with pytest.raises(OMPError) as caught:
        add(Vanishing(troubles={"bad": trouble}), [draft("one"), draft("bad")], None, Watch().task)
    assert caught.value is trouble


class Doubtful(KeptBackend):
    """A service that changes a memory and then fails."""

    status = 500

    def rewrite(self, entry: Entry, record: MemoryRecord, *, outdated: bool) -> Entry:
        done = super().rewrite(entry, record, outdated=outdated)
        if record.content == "new":
            raise error_of_status("kept", self.status)
        return done


class Refusing(Doubtful):
    """The same, that claims to have changed nothing."""

    status = 422


def test_change_that_failed_in_doubt_is_taken_back_and_a_refused_one_is_not() -> None:
    for kind, content in ((Doubtful, "old"), (Refusing, "new")):
        backend = kind(record("a", "old", key="k"))
        with pytest.raises(OMPError):
            add(backend, [draft("new", key="k")], None, Watch().task)
        assert backend.contents == {"a": content}


@pytest.mark.parametrize(
    ("status", "refused"),
    [(399, False), (400, True), (404, True), (408, False), (409, False), (429, False), (499, True), (500, False)],
)
def test_refusal_is_a_status_of_which_nothing_was_done(status: int, refused: bool) -> None:
    assert is_refusal(error_of_status("kept", status)) is refused
    assert not is_refusal(OMPError("no status"))
    assert not is_refusal(OMPError("no number", details={"status": "422"}))


@pytest.mark.parametrize(
    ("status", "message"), [(503, "kept is not available (status 503)"), (418, "kept failed (status 418)")]
)
def test_error_of_a_status_says_what_it_means(status: int, message: str) -> None:
    assert error_of_status("kept", status).message == message


def test_update_changes_the_named_fields_only() -> None:
    backend = KeptBackend(record("a", "old", tags=["x"], version=2, key="k"))
    backend.outdate("a")
    watch = Watch()
    got = update(backend, "a", None, Change({"content": "new"}), watch.task)
    assert (got.content, got.tags, got.version, got.updated_at, got.key) == ("new", ["x"], 3, NOW, "k")
    assert backend.one("a").record == got
    assert backend.one("a").outdated
    assert (watch.held, watch.checks) == (["ann"], 1)


def test_update_of_nothing_returns_the_memory_as_it_is() -> None:
    backend = KeptBackend(record("a", "old"))
    assert update(backend, "a", "ann", Change({}), Watch().task) == backend.one("a").record
    assert [name for name, _ in backend.asked] == []


def test_update_checks_what_comes_of_it() -> None:
    backend = KeptBackend(record("a", "old", valid_from=NOW), record("b"))
    with pytest.raises(InvalidRequestError, match=r"^supersedes: a memory cannot supersede itself$"):
        update(backend, "a", "ann", Change({"supersedes": ("b", "a")}), Watch().task)
    with pytest.raises(InvalidRequestError, match="valid_to"):
        update(backend, "a", "ann", Change({"valid_to": NOW - DAY}), Watch().task)
    with pytest.raises(NotFoundError):
        update(backend, "a", "bob", Change({"content": "new"}), Watch().task)
    with pytest.raises(OMPError, match="the time is over"):
        update(backend, "a", "ann", Change({"content": "new"}), Watch(late_from=1).task)
    assert backend.contents == {"a": "old", "b": "likes tea"}


def test_update_marks_what_the_memory_supersedes_from_now_on() -> None:
    backend = KeptBackend(record("a"), record("b"))
    update(backend, "a", "ann", Change({"supersedes": ("b",)}), Watch().task)
    assert backend.one("b").outdated
    assert not backend.one("a").outdated


def test_memory_that_closes_a_circle_by_an_update_or_a_key_has_the_last_word() -> None:
    ahead = record("b", supersedes=["a"], created_at=NOW + DAY)
    last = NOW + DAY + timedelta(microseconds=1)
    backend = KeptBackend(record("a", key="k"), ahead)
    assert update(backend, "a", "ann", Change({"supersedes": ("b",)}), Watch().task).updated_at == last
    assert ("entries", {"omp_links": True}) in backend.asked
    backend = KeptBackend(record("a", key="k"), ahead)
    (stored,) = add(backend, [draft("new", key="k", supersedes=("b",))], None, Watch().task)
    assert stored.updated_at == last


def test_delete_erases_one_memory_of_the_user() -> None:
    backend = KeptBackend(record("a"), record("b"))
    delete(backend, "a", "ann", Watch().task)
    assert backend.contents == {"b": "likes tea"}
    with pytest.raises(NotFoundError):
        delete(backend, "b", "bob", Watch().task)
    with pytest.raises(OMPError, match="the time is over"):
        delete(backend, "b", None, Watch(late_from=1).task)
    assert backend.contents == {"b": "likes tea"}


def test_erasure_takes_all_of_a_user_or_of_a_scope_and_counts() -> None:
    memories = [record("a", scope="x"), record("b", scope="x/y"), record("c"), record("d", user_id="bob", scope="x")]
    backend, watch = KeptBackend(*memories), Watch()
    receipt = erase(backend, "ann", parse_pattern("x/*"), watch.task)
    assert set(backend.contents) == {"c", "d"}
    assert receipt.model_dump(exclude_none=True) == {
        "user_id": "ann",
        "scope": "x/*",
        "erased_at": NOW,
        "erased": {"memories": 2},
        "remaining": {"memories": 0},
    }
    assert (watch.held, watch.checks) == (["ann"], 2)
    whole = erase(backend, "ann", None, Watch().task)
    assert (whole.scope, whole.erased, set(backend.contents)) == (None, {"memories": 1}, {"d"})


class Sticky(KeptBackend):
    """A service that says it removes and keeps one memory, with a trace of those that it removed."""

    def remove(self, entry: Entry) -> None:
        if entry.record.id != "b":
            super().remove(entry)

    def count_traces(self, handles: Sequence[str]) -> dict[str, int]:
        return {"events": len(handles)}


def test_erasure_says_what_is_left() -> None:
    receipt = erase(Sticky(record("a"), record("b")), "ann", None, Watch().task)
    assert (receipt.erased, receipt.remaining) == ({"memories": 1}, {"memories": 1, "events": 2})
    assert KeptBackend().count_traces(["h"]) == {}


def test_late_erasure_stops() -> None:
    backend = KeptBackend(record("a"), record("b"))
    with pytest.raises(OMPError, match="the time is over"):
        erase(backend, "ann", None, Watch(late_from=2).task)
    assert len(backend.contents) == 1


class Unfiltered(KeptBackend):
    """A service that returns more than it was asked for."""

    def entries(self, user_id: str, equal: Mapping[str, str | bool]) -> Sequence[Entry]:
        return super().entries(user_id, {})


def test_key_and_scope_are_judged_here_whatever_the_service_returns() -> None:
    backend = Unfiltered(record("a", key="q", scope="y"), record("b", key="k", scope="x"))
    (stored,) = add(backend, [draft("new", key="k", scope="x")], None, Watch().task)
    assert stored.id == "b"
    assert erase(backend, "ann", parse_pattern("x"), Watch().task).erased == {"memories": 1}
    assert set(backend.contents) == {"a"}


def test_memory_is_changed_and_erased_by_its_key() -> None:
    backend, watch = KeptBackend(record("a", key="home"), record("b", user_id="bob", key="home")), Watch()
    changed = update(backend, Key("home"), "ann", Change({"content": "new"}), watch.task)
    assert (changed.id, changed.key, changed.version) == ("a", "home", 2)
    assert watch.held == ["ann"]
    assert delete(backend, Key("home"), "ann", watch.task) == "a"
    assert backend.contents == {"b": "likes tea"}
    for verb in (lambda: delete(backend, Key("home"), "ann", watch.task), lambda: find(backend, Key("home"), None)):
        with pytest.raises(NotFoundError, match="no memory has the key 'home'"):
            verb()


def test_key_of_two_memories_names_the_older_one() -> None:
    newer, older = record("a", key="home", created_at=NOW - DAY), record("b", key="home", created_at=NOW - 2 * DAY)
    assert find(KeptBackend(newer, older), Key("home"), "ann").record == older
