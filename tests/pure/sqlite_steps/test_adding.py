"""Steps that store new memories: rows, words, links, vectors and the audit entry."""

from __future__ import annotations

import pytest

from openmem._model.access import Access
from openmem._sql.sqlite import write
from openmem._sql.writing import Model
from openmem.errors import InvalidRequestError, NotFoundError, ScopeDeniedError
from openmem.types import MemoryRecord
from tests.pure.sqlite_steps.database import (
    AT,
    FIRST,
    MODEL,
    NOW,
    SECOND,
    Database,
    Item,
    blob,
    granted,
    incoming,
    stamp,
)


def test_row_holds_every_field_of_a_draft(db: Database) -> None:
    record = db.add(
        "a",
        "Ann likes green tea",
        scope="work/desk",
        tags=("drinks", "tea"),
        source={"app": "mail", "ref": "7"},
        confidence=0.5,
        valid_from=NOW,
        valid_to=NOW.replace(year=2027),
        supersedes=("z",),
        key="drink",
        extensions={"x-mail": {"folder": "in"}},
        metadata={"lang": "py", "n": 1.0},
        vector=(1, 0),
    )

    [row] = db.rows("select * from memories")
    end = AT + 365 * 86_400 * SECOND
    texts = ('["drinks","tea"]', '{"app":"mail","ref":"7"}', 0.5, AT, end, '["z"]', '{"x-mail":{"folder":"in"}}')
    assert row[:18] == (FIRST + 1, "a", 1, "drink", "Ann likes green tea", 1, *texts, 1, AT, None, 1, None)
    words = row[19].split(" ")
    assert row[18] == len(words)
    assert {"green", "tea"} <= set(words)
    assert row[20:] == (FIRST + 1, "desk", "r0", 0, '{"lang":"py","n":1.0}', 1)
    assert db.rows("select * from scopes") == [(1, 1, "work/desk")]
    assert sorted(db.rows("select * from tags")) == [(1, "drinks", FIRST + 1), (1, "tea", FIRST + 1)]
    assert db.rows("select * from supersessions") == [(1, "z", FIRST + 1, AT, 0)]
    assert db.rows("select * from vectors_1") == [(FIRST + 1, blob(1, 0))]
    assert record == db.run(write.find("a", "ann")).record
    assert record.embedding_model == "small"


def test_row_of_a_bare_draft_holds_no_more_than_its_text(db: Database) -> None:
    record = db.add("a", "?")

    [row] = db.rows("select * from memories")
    nothing = (None,) * 9
    assert row == (
        *(FIRST + 1, "a", 1, None, "?", *nothing, AT, None, 1, None, 0, ""),
        *(FIRST + 1, "desk", "r0", 0, None, 1),
    )
    assert db.rows("select * from models") == []
    assert (record.embedding_model, record.tags, record.created_at) == (None, None, NOW)


def test_rows_of_a_batch_follow_one_another_and_so_do_their_entries(db: Database) -> None:
    db.add("a")
    items = [incoming("b", "two"), incoming("c", "three", scope="s"), incoming("d", "four", scope="s")]
    records = db.run(write.add(items, None, stamp(1, app=None)))

    assert [record.id for record in records] == ["b", "c", "d"]
    assert db.rows("select id, rid - ?, entry - ?, scope_no from memories", FIRST, FIRST) == [
        ("a", 1, 1, None),
        ("b", 2, 2, None),
        ("c", 3, 3, 1),
        ("d", 4, 4, 1),
    ]
    assert db.column("select app from memories") == ["desk", None, None, None]


def test_adding_changes_no_counter_of_the_user(db: Database) -> None:
    db.add("a", tags=("x",), vector=(1, 0))
    db.add("b", scope="s")
    assert db.rows("select epoch, vector_epoch, clock from users") == [(0, 0, 0)]


def test_source_names_the_app_of_an_entry_where_the_call_names_none(db: Database) -> None:
    db.run(write.add([incoming("a", source={"app": "mail"})], None, stamp(app=None)))
    db.add("b", source={"app": "mail"})
    assert db.rows("select id, app from memories") == [("a", "mail"), ("b", "desk")]


def test_memories_of_several_users_come_back_in_the_order_of_the_call(db: Database) -> None:
    items = [
        incoming("a", "one", scope="s"),
        incoming("b", "two", user_id="bob", scope="s"),
        incoming("c", "three"),
        incoming("d", "four", user_id="bob"),
    ]
    records = db.run(write.add(items, None, stamp()))

    assert [(record.id, record.user_id, record.scope) for record in records] == [
        ("a", "ann", "s"),
        ("b", "bob", "s"),
        ("c", "ann", None),
        ("d", "bob", None),
    ]
    assert db.rows("select user_no, user_id from users") == [(1, "ann"), (2, "bob")]
    assert db.rows("select id, rid from memories where user_no = 2") == [("b", 2 * FIRST + 1), ("d", 2 * FIRST + 2)]
    assert db.rows("select user_no, path from scopes") == [(1, "s"), (2, "s")]


def test_scope_that_the_user_has_is_used_again(db: Database) -> None:
    db.add("a", scope="s")
    db.add("b", scope="s")
    db.run(write.add([incoming("c", scope="t"), incoming("d", scope="s")], None, stamp()))
    assert db.rows("select path, scope_no from scopes") == [("s", 1), ("t", 2)]
    assert db.column("select scope_no from memories order by rid") == [1, 1, 2, 1]


def test_some_of_a_batch_have_vectors(db: Database) -> None:
    items = [incoming("a"), incoming("b", vector=(0, 1)), incoming("c", vector=(1, 0))]
    records = db.run(write.add(items, MODEL, stamp()))
    assert [record.embedding_model for record in records] == [None, "small", "small"]
    assert db.rows("select rid - ?, vector from vectors_1", FIRST) == [(2, blob(0, 1)), (3, blob(1, 0))]
    assert db.column("select model_no from memories order by rid") == [None, 1, 1]


def test_model_is_made_once(db: Database) -> None:
    db.add("a", vector=(1, 0))
    db.add("b", vector=(1, 0))
    db.add("c", user_id="bob", vector=(1, 0))
    db.add("d", model=Model("large", 3), vector=(1, 0, 0))
    assert db.rows("select * from models") == [(1, "small", 2, 0), (2, "large", 3, 0)]
    assert db.column("select rid from vectors_2") == [FIRST + 3]


def test_vectors_of_another_length_are_refused_and_nothing_is_stored(db: Database) -> None:
    db.add("a", vector=(1, 0))
    with pytest.raises(InvalidRequestError, match="'small' has 3 dimensions, but this store's vectors of it have 2"):
        db.add("b", model=Model("small", 3), vector=(1, 0, 0))
    assert db.column("select id from memories") == ["a"]
    assert db.value("select count(*) from models") == 1


def test_draft_under_a_known_key_updates_that_memory(db: Database) -> None:
    db.add("a", "tea", key="drink")
    first, second = db.run(write.add([incoming("b", "milk"), incoming("c", "coffee", key="drink")], None, stamp(1)))

    assert (first.id, second.id, second.version, second.content) == ("b", "a", 2, "coffee")
    assert db.rows("select id, content, version from memories") == [("a", "coffee", 2), ("b", "milk", 1)]
    assert db.rows("select action, memory_id, entry - ? from audit order by entry", FIRST) == [
        ("add", "a", 1),
        ("add", "b", 2),
        ("add", "a", 3),
    ]


def test_key_that_comes_twice_in_one_call_makes_one_memory(db: Database) -> None:
    one, other = db.run(write.add([incoming("a", "tea", key="k"), incoming("b", "coffee", key="k")], None, stamp()))
    assert (one.id, one.version, other.id, other.version) == ("a", 1, "a", 2)
    assert db.column("select content from memories") == ["coffee"]


def test_key_belongs_to_one_user(db: Database) -> None:
    db.add("a", key="k")
    db.add("b", key="k", user_id="bob")
    assert db.rows("select id, key from memories") == [("a", "k"), ("b", "k")]


def test_key_of_a_memory_that_the_caller_may_not_write_is_refused(db: Database) -> None:
    db.add("a", "tea", key="k", scope="private")
    items = [incoming("b", "coffee", key="k", scope="shared")]
    with pytest.raises(ScopeDeniedError, match="key names a memory outside the scopes"):
        db.run(write.add(items, None, stamp(1), granted("write:shared/*")))
    assert db.column("select content from memories") == ["tea"]
    [record] = db.run(write.add(items, None, stamp(1), granted("write:private", "write:shared")))
    assert (record.id, record.scope) == ("a", "shared")


def test_memory_that_the_caller_may_not_write_is_not_superseded(db: Database) -> None:
    db.add("a", scope="private")
    items = [incoming("b", scope="shared"), incoming("c", scope="shared", supersedes=("a",))]
    with pytest.raises(NotFoundError, match="no memory has the id 'a'"):
        db.run(write.add(items, None, stamp(1), granted("write:shared/*")))
    db.run(write.add(items, None, stamp(1), granted("write:private", "write:shared")))
    assert db.value("select superseded_at from memories where id = 'a'") == AT + SECOND


def test_memory_of_another_user_is_not_superseded_with_grants(db: Database) -> None:
    db.add("a", user_id="bob", scope="s")
    with pytest.raises(NotFoundError):
        db.run(write.add([incoming("b", scope="s", supersedes=("a",))], None, stamp(1), granted("write:s")))


def test_same_draft_under_its_key_is_an_update_each_time(db: Database) -> None:
    items = [incoming("b", "coffee", key="k")]
    versions = [db.run(write.add(items, None, stamp(5)))[0].version for _ in range(3)]
    assert versions == [1, 2, 3]


def test_draft_under_a_known_key_brings_its_vector(db: Database) -> None:
    db.add("a", "tea", key="k", vector=(1, 0))
    record = db.add("b", "tea", key="k", vector=(0, 1))
    assert (record.id, record.embedding_model) == ("a", "small")
    assert db.column("select vector from vectors_1") == [blob(0, 1)]


def test_add_takes_few_statements(db: Database) -> None:
    """Each is a part of what an `add` costs; docs/architecture.md names their number."""
    db.add("a", scope="s", vector=(1, 0))
    sent: list[str] = []
    db.connection.set_trace_callback(sent.append)
    db.add("b", scope="s", vector=(1, 0))
    assert [text.split()[0] for text in sent] == ["begin", "select", "pragma", "insert", "insert", "commit"]


class TestRepeatable:
    """The same call once more, with ids and a time that come from its seed."""

    @staticmethod
    def again(db: Database, *items: Item, access: Access | None = None) -> list[MemoryRecord]:
        return db.run(write.add(items, None, stamp(5), access, repeatable=True))

    def test_stored_memories_are_returned_as_they_are(self, db: Database) -> None:
        items = [incoming("a", "tea"), incoming("b", "milk")]
        first = self.again(db, *items)
        db.update("a", seconds=9, content="coffee")
        second = self.again(db, *items, incoming("c", "water"))

        assert [record.content for record in first] == ["tea", "milk"]
        assert [(record.id, record.content) for record in second] == [("a", "coffee"), ("b", "milk"), ("c", "water")]
        assert db.column("select id from memories") == ["a", "b", "c"]

    def test_update_by_key_is_known_by_the_state_that_it_made(self, db: Database) -> None:
        db.add("a", "tea", key="k")
        [first] = self.again(db, incoming("b", "coffee", key="k"))
        [second] = self.again(db, incoming("b", "coffee", key="k"))
        assert (first.version, second.version, second.content) == (2, 2, "coffee")

    def test_update_by_key_is_known_after_later_ones(self, db: Database) -> None:
        db.add("a", "tea", key="k")
        self.again(db, incoming("b", "coffee", key="k"))
        db.update("a", seconds=6, content="water")
        db.update("a", seconds=7, content="juice")
        [again] = self.again(db, incoming("b", "coffee", key="k"))
        assert (again.id, again.version, again.content) == ("a", 4, "juice")

    def test_other_draft_under_the_key_is_a_new_update(self, db: Database) -> None:
        db.add("a", "tea", key="k")
        self.again(db, incoming("b", "coffee", key="k"))
        [other] = self.again(db, incoming("c", "milk", key="k"))
        assert (other.version, other.content) == (3, "milk")

    def test_new_key_makes_a_new_memory(self, db: Database) -> None:
        [record] = self.again(db, incoming("a", "tea", key="k"))
        assert (record.id, record.key, record.version) == ("a", "k", 1)

    def test_caller_who_may_not_read_what_is_stored_gets_the_first_answer(self, db: Database) -> None:
        access = granted("write:s", "write:t")
        item = incoming("a", "tea", scope="s", vector=(1, 0))
        db.run(write.add([item], MODEL, stamp(5), repeatable=True))
        db.update("a", content="secret", scope="t")
        [again] = db.run(write.add([item], MODEL, stamp(5), access, repeatable=True))
        assert (again.content, again.scope, again.embedding_model) == ("tea", "s", "small")

    def test_memory_of_another_user_is_none_of_it(self, db: Database) -> None:
        db.add("a", "tea", user_id="bob", key="k")
        [record] = self.again(db, incoming("a", "tea", key="k"))
        assert (record.user_id, record.version) == ("ann", 1)
        assert db.value("select count(*) from memories") == 2
