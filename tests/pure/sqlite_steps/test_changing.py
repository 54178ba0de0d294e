"""Steps that change a memory and those that delete one: rows, versions, words, vectors, links, counters, entries."""

from __future__ import annotations

import json

import pytest

from openmem._model.ids import new_memory_id, routing_bucket
from openmem._model.requests import Change
from openmem._sql.sqlite import versions, write
from openmem._sql.writing import Model
from openmem.errors import InvalidRequestError, NotFoundError, ScopeDeniedError, VersionConflictError
from tests.pure.sqlite_steps.database import (
    AT,
    FIRST,
    MODEL,
    NOW,
    SECOND,
    Database,
    blob,
    granted,
    incoming,
    later,
    patterns,
    stamp,
)


def change(db: Database, id_: str, grants: tuple[str, ...] | None = None, **fields: object) -> None:
    access = None if grants is None else granted(*grants)
    db.run(write.update(id_, None, Change(fields), None, None, stamp(1), access))


def erase(db: Database, id_: str, user_id: str | None = "ann", grants: tuple[str, ...] | None = None) -> None:
    db.run(write.delete(id_, user_id, stamp(1, request_id="r1"), None if grants is None else granted(*grants)))


def test_row_holds_every_field_of_a_change(db: Database) -> None:
    db.add("z")
    db.add("a", "tea", key="old", confidence=0.1, vector=(1, 0))
    record = db.update(
        "a",
        content="green tea",
        scope="work",
        tags=("x", "y"),
        confidence=0.75,
        valid_to=later(100),
        supersedes=("z",),
        extensions={"x-mail": 1},
        vector=(0, 1),
    )

    [row] = db.rows("select * from memories where id = 'a'")
    rid = FIRST + 2
    fields = ("green tea", 1, '["x","y"]', None, 0.75, None, AT + 100 * SECOND, '["z"]', '{"x-mail":1}')
    assert row[:18] == (rid, "a", 1, "old", *fields, 1, AT, AT + SECOND, 2, None)
    assert row[18] == len(row[19].split(" "))
    assert "green" in row[19]
    assert row[20:22] == (None, "desk")
    assert db.rows("select tag, rid from tags order by tag") == [("x", rid), ("y", rid)]
    assert db.rows("select old_id, new_rid, since from supersessions") == [("z", rid, AT)]
    assert db.rows("select * from vectors_1") == [(rid, blob(0, 1))]
    assert record == db.run(write.find("a", "ann")).record
    assert (record.version, record.updated_at, record.created_at) == (2, later(1), NOW)


def test_change_moves_the_counters_of_the_user(db: Database) -> None:
    db.add("a", vector=(1, 0))
    db.add("b", user_id="bob")
    db.update("a", seconds=3, confidence=0.5)
    assert db.rows("select epoch, vector_epoch, clock from users") == [(1, 0, AT + 3 * SECOND), (0, 0, 0)]
    db.update("a", seconds=2, content="milk", vector=(0, 1))
    assert db.rows("select epoch, vector_epoch, clock from users") == [(2, 1, AT + 3 * SECOND), (0, 0, 0)]


def test_entry_of_an_add_outlives_the_change_of_its_row(db: Database) -> None:
    db.add("a", scope="s")
    db.update("a", confidence=0.5)
    expected = [
        (FIRST + 1, AT, "desk", "add", "a", "s", "r0", 1),
        (FIRST + 2, AT + SECOND, "desk", "update", "a", "s", "r0", 2),
    ]
    assert db.rows("select * from journal order by entry") == expected
    assert db.rows("select * from audit order by entry") == [entry[:-1] for entry in expected]


def test_change_without_fields_is_an_entry_and_no_version(db: Database) -> None:
    record = db.add("a", scope="s")
    assert db.update("a") == record
    assert db.rows("select action, memory_id, scope, app from audit order by entry") == [
        ("add", "a", "s", "desk"),
        ("update", "a", "s", "desk"),
    ]
    assert db.rows("select epoch, clock from users") == [(0, 0)]


def test_change_of_an_old_version_is_refused(db: Database) -> None:
    db.add("a")
    db.update("a", confidence=0.5)
    with pytest.raises(VersionConflictError, match="at version 2, not 1"):
        db.run(write.update("a", "ann", Change({"confidence": 1.0}, if_version=1), None, None, stamp(2)))
    assert db.value("select version from memories") == 2


class TestVectors:
    """Vectors of a memory that changes."""

    def test_vector_stays_where_the_text_does(self, db: Database) -> None:
        db.add("a", vector=(1, 0))
        record = db.update("a", content="likes tea", tags=("x",))
        assert db.rows("select vector, model_no from vectors_1 join memories using(rid)") == [(blob(1, 0), 1)]
        assert record.embedding_model == "small"

    def test_vector_goes_with_its_text(self, db: Database) -> None:
        db.add("a", vector=(1, 0))
        record = db.update("a", content="likes coffee")
        assert db.rows("select * from vectors_1") == []
        assert record.embedding_model is None
        assert db.rows("select epoch, vector_epoch from users") == [(1, 1)]

    def test_vector_of_another_model_takes_its_place(self, db: Database) -> None:
        db.add("a", vector=(1, 0))
        db.add("b", vector=(1, 0))
        record = db.update("a", content="likes coffee", vector=(0, 1, 0), model=Model("large", 3))
        assert record.embedding_model == "large"
        assert db.column("select rid from vectors_1") == [FIRST + 2]
        assert db.rows("select * from vectors_2") == [(FIRST + 1, blob(0, 1, 0))]

    def test_new_vector_of_the_same_text_is_taken(self, db: Database) -> None:
        db.add("a", vector=(1, 0))
        db.update("a", content="likes tea", vector=(0, 1))
        assert db.column("select vector from vectors_1") == [blob(0, 1)]
        assert db.value("select vector_epoch from users") == 1

    def test_vector_without_a_model_is_none(self, db: Database) -> None:
        db.add("a", vector=(1, 0))
        given = Change({"content": "likes tea", "confidence": 0.5})
        record = db.run(write.update("a", "ann", given, blob(0, 1), None, stamp(1)))
        assert db.column("select vector from vectors_1") == [blob(1, 0)]
        assert record.embedding_model == "small"


class TestSearchable:
    """Memories that no search is to find have neither words nor vectors."""

    def test_words_and_vector_go_and_come_with_it(self, db: Database) -> None:
        db.add("a", "tea", vector=(1, 0))
        record = db.update("a", searchable=False)
        assert (record.searchable, record.embedding_model) == (False, None)
        assert db.rows("select terms, words, model_no from memories") == [(0, "", None)]
        assert db.rows("select * from vectors_1") == []
        db.update("a", seconds=2, content="tea", searchable=True, vector=(0, 1))
        assert db.rows("select words, model_no from memories") == [("tea", 1)]
        assert db.column("select vector from vectors_1") == [blob(0, 1)]

    def test_vector_of_what_is_not_searchable_is_none(self, db: Database) -> None:
        db.add("a", "tea", searchable=False)
        db.update("a", content="milk", vector=(1, 0))
        assert db.rows("select terms, words, model_no from memories") == [(0, "", None)]
        assert db.rows("select * from vectors_1") == []


class TestVersions:
    """The state that a change replaces, as it is kept and read."""

    def test_earlier_version_is_kept_as_a_step(self, db: Database) -> None:
        db.add("a", "tea", confidence=0.25)
        db.update("a", seconds=5, content="milk", confidence=0.5)
        [(rid, version, replaced_at, record, step, began)] = db.rows("select * from versions")
        assert (rid, version, replaced_at, step, began) == (FIRST + 1, 1, AT + 5 * SECOND, 1, None)
        kept = json.loads(record)["is"]
        assert (kept["content"], kept["confidence"]) == ("tea", 0.25)
        assert db.value("select behind from memories") == len(record)

    def test_steps_add_up_until_a_whole_version_takes_less_room(self, db: Database) -> None:
        db.add("a", "x" * 40)
        for number in range(12):
            db.update("a", seconds=number + 1, content=f"{number:040}")
        rows = db.rows("select version, length(record), step from versions order by version")
        assert [version for version, _, _ in rows] == [*range(1, 13)]
        behind = 0
        for _, length, step in rows:
            behind = behind + length if step else 0
            assert behind <= 240
        assert 0 < sum(not step for _, _, step in rows) < 7
        assert db.value("select behind from memories") == behind

    def test_every_version_can_be_read(self, db: Database) -> None:
        texts = ["tea", "milk", "x" * 300, "x" * 150 + "y" + "x" * 150, "water", "juice"]
        db.add("a", texts[0])
        for number, text in enumerate(texts[1:], 1):
            db.update("a", seconds=number, content=text)
        stored = db.run(write.find("a", None))
        found = [db.run(versions.at_version(stored, number)) for number in range(1, 7)]
        assert [[record.content for record in records] for records in found] == [[text] for text in texts]
        assert [records[0].version for records in found] == [1, 2, 3, 4, 5, 6]
        assert [records[0].updated_at for records in found] == [None, *(later(n) for n in range(1, 6))]
        assert db.run(versions.at_version(stored, 0)) == []
        assert db.run(versions.at_version(stored, 7)) == []

    def test_version_that_was_removed_is_not_made_up(self, db: Database) -> None:
        db.add("a", "one")
        for number, text in enumerate(["two", "three"], 1):
            db.update("a", seconds=number, content=text)
        db.connection.execute("delete from versions where version = 1")
        stored = db.run(write.find("a", None))
        assert db.run(versions.at_version(stored, 1)) == []
        assert [record.content for record in db.run(versions.at_version(stored, 2))] == ["two"]

    def test_states_that_a_change_at_a_time_made(self, db: Database) -> None:
        db.add("a", "one")
        db.update("a", seconds=1, content="two")
        db.update("a", seconds=1, content="three")
        db.update("a", seconds=2, content="four")
        stored = db.run(write.find("a", None))

        def made(seconds: int) -> list[str]:
            return [record.content for record in db.run(versions.made_at(stored, AT + seconds * SECOND))]

        assert made(1) == ["two", "three"]
        assert made(2) == ["four"]
        assert made(0) == made(3) == []
        db.connection.execute("delete from versions")
        assert made(2) == ["four"]
        assert made(1) == []


class TestFinding:
    """The memory that an id means."""

    def test_id_without_a_user_is_enough_where_one_has_it(self, db: Database) -> None:
        db.add("a", "tea")
        db.add("a2", "milk", user_id="bob")
        found = db.run(write.find("a2", None))
        assert (found.rid, found.user_no, found.record.content) == (2 * FIRST + 1, 2, "milk")

    def test_id_of_two_users_needs_the_user(self, db: Database) -> None:
        db.add("a", "tea")
        db.add("a", "milk", user_id="bob")
        with pytest.raises(InvalidRequestError, match="several users"):
            db.run(write.find("a", None))
        assert db.run(write.find("a", "bob")).record.content == "milk"
        assert db.run(write.find("a", "ann")).record.content == "tea"

    def test_own_id_means_the_users_of_its_bucket(self, db: Database) -> None:
        id_ = new_memory_id("ann", millis=1, entropy=bytes(9))
        assert routing_bucket("ann") != routing_bucket("bob")
        db.add(id_, "milk", user_id="bob")
        with pytest.raises(NotFoundError):
            db.run(write.find(id_, None))
        assert db.run(write.find(id_, "bob")).record.content == "milk"
        db.add(id_, "tea")
        assert db.run(write.find(id_, None)).record.content == "tea"

    def test_unknown_id_and_that_of_another_user_are_not_found(self, db: Database) -> None:
        db.add("a", user_id="bob")
        for id_, user_id in (("b", "bob"), ("a", "ann"), ("b", None)):
            with pytest.raises(NotFoundError, match=f"no memory has the id '{id_}'") as caught:
                db.run(write.find(id_, user_id))
            assert caught.value.provider == "sqlite"

    def test_memory_of_a_scope_that_is_not_seen_is_not_found(self, db: Database) -> None:
        for id_, scope in (("a", "work/desk"), ("b", "work"), ("c", "workshop"), ("d", None)):
            db.add(id_, scope=scope)

        def seen(*texts: str) -> list[str]:
            found = []
            for id_ in "abcd":
                try:
                    found.append(db.run(write.find(id_, None, patterns(*texts))).record.id)
                except NotFoundError:
                    continue
            return found

        assert seen("work/*") == ["a", "b"]
        assert seen("work") == ["b"]
        assert seen("workshop", "work/desk") == ["a", "c"]
        assert seen() == []


class TestAccess:
    """The changes of a caller with grants."""

    def test_memory_that_is_read_but_not_written_is_denied(self, db: Database) -> None:
        db.add("a", scope="s")
        with pytest.raises(ScopeDeniedError, match="write:s"):
            change(db, "a", ("read:s",), confidence=0.5)
        change(db, "a", ("read:s", "write:s"), confidence=0.5)
        assert db.value("select version from memories") == 2

    def test_memory_that_is_not_read_is_not_found(self, db: Database) -> None:
        db.add("a", scope="s")
        with pytest.raises(NotFoundError):
            change(db, "a", ("write:s",), confidence=0.5)

    def test_change_supersedes_only_what_may_be_written(self, db: Database) -> None:
        db.add("a", scope="s")
        db.add("b", scope="t")
        db.add("c", user_id="bob", scope="s")
        for other in ("b", "c"):
            with pytest.raises(NotFoundError, match=f"'{other}'"):
                change(db, "a", ("read:*", "write:s"), supersedes=(other,))
        change(db, "a", ("read:*", "write:s", "write:t"), supersedes=("b",))
        assert db.value("select superseded_at from memories where id = 'b'") is not None

    def test_memory_is_deleted_with_the_grant_to_delete_alone(self, db: Database) -> None:
        db.add("a", scope="s")
        db.add("b", scope="t")
        erase(db, "a", grants=("delete:s",))
        with pytest.raises(NotFoundError):
            erase(db, "b", grants=("delete:s",))
        with pytest.raises(ScopeDeniedError, match="delete:t"):
            erase(db, "b", grants=("read:t",))
        assert db.column("select id from memories") == ["b"]


def test_deletion_takes_everything_that_hangs_on_a_memory(db: Database) -> None:
    db.add("z")
    db.add("a", tags=("x",), supersedes=("z",), vector=(1, 0), scope="s")
    db.update("a", content="tea", vector=(0, 1))
    db.add("b", tags=("x",), vector=(1, 1))
    db.run(write.add([incoming("c", vector=(1, 0, 0))], Model("large", 3), stamp()))
    erase(db, "a")

    assert db.column("select id from memories order by rid") == ["z", "b", "c"]
    assert db.column("select rid from tags") == db.column("select rid from vectors_1") == [FIRST + 3]
    assert db.column("select rid from vectors_2") == [FIRST + 4]
    assert db.column("select superseded_at from memories where id = 'z'") == [None]
    for table in ("versions", "supersessions"):
        assert db.rows(f"select * from {table}") == []
    assert db.rows(
        "select at, action, memory_id, scope, request_id from audit where memory_id = 'a' order by entry"
    ) == [
        (AT, "add", "a", "s", "r0"),
        (AT + SECOND, "update", "a", "s", "r0"),
        (AT + SECOND, "delete", "a", "s", "r1"),
    ]
    assert db.rows("select epoch, vector_epoch, clock from users") == [(3, 2, AT + SECOND)]


def test_entry_of_an_add_outlives_its_memory(db: Database) -> None:
    db.add("a", scope="s")
    erase(db, "a", user_id=None)
    assert db.rows("select entry - ?, action, memory_id, scope from journal order by entry", FIRST) == [
        (1, "add", "a", "s"),
        (2, "delete", "a", "s"),
    ]


def test_place_of_the_newest_memory_that_went_is_given_again_unless_the_index_knows_it(db: Database) -> None:
    db.add("a")
    db.add("b", "x" * 4_000)
    erase(db, "b")
    db.add("c")
    assert db.rows("select id, rid - ? from memories", FIRST) == [("a", 1), ("c", 3)]
    erase(db, "c")
    db.add("d")
    assert db.rows("select id, rid - ?, entry - ? from memories", FIRST, FIRST) == [("a", 1, 1), ("d", 3, 6)]


def test_deletion_of_nothing_is_not_found(db: Database) -> None:
    db.add("a", user_id="bob")
    with pytest.raises(NotFoundError):
        erase(db, "a")
    assert db.value("select count(*) from memories") == 1


def test_change_by_key_keeps_the_vector_of_the_draft(db: Database) -> None:
    db.add("a", "tea", key="k", vector=(1, 0))
    db.run(write.add([incoming("b", "coffee", key="k", vector=(0, 1))], MODEL, stamp(1)))
    assert db.rows("select vector from vectors_1") == [(blob(0, 1),)]
