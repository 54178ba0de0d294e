"""Steps over the replies that a server remembers, on a store in memory."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from openmem._model.access import IdempotencySeed
from openmem._model.ids import new_memory_ids
from openmem._model.keys import MAX_REPLY, Remembered, StoredReply
from openmem._sql.server import replies
from openmem._sql.server.dialect import SQLITE
from openmem._sql.server.replies import LIFE
from openmem.errors import IdempotencyConflictError
from tests.pure.sqlite_steps.database import AT, NOW, SECOND, Database, later

SEED = IdempotencySeed(NOW, 7 << 40)
OTHER = IdempotencySeed(later(5), 9 << 40)


def begin(
    db: Database,
    seed: IdempotencySeed = SEED,
    *,
    caller: str = "c",
    key: str = "k",
    fingerprint: str = "f",
    user_id: str | None = "ann",
) -> Remembered:
    return db.run(replies.begin(SQLITE, caller, key, fingerprint, user_id, seed))


def told(remembered: Remembered) -> tuple[IdempotencySeed, StoredReply | None, bool]:
    return remembered.seed, remembered.reply, remembered.is_new  # the last is no part of its equality


def end(db: Database, *ids: str, caller: str = "c", key: str = "k", body: bytes = b"{}", status: int = 201) -> None:
    db.run(replies.end(SQLITE, caller, key, status, {"etag": "1"}, body, ids))


def holding(db: Database, memory_id: str, user_id: str | None = None) -> list[tuple[str, str, IdempotencySeed]]:
    return db.run(replies.holding(SQLITE, user_id, memory_id))


class TestRemembering:
    """A request from its first time to its reply."""

    def test_first_request_is_new_and_stored(self, db: Database) -> None:
        assert told(begin(db)) == (SEED, None, True)
        assert db.rows("select caller, idempotency_key, fingerprint, user_id, at, entropy, status from replies") == [
            ("c", "k", "f", "ann", AT, str(7 << 40), None)
        ]

    def test_second_request_goes_on_under_the_seed_of_the_first(self, db: Database) -> None:
        begin(db)
        assert told(begin(db, OTHER)) == (SEED, None, False)
        assert told(begin(db, SEED)) == (SEED, None, True)

    def test_other_callers_and_keys_are_other_requests(self, db: Database) -> None:
        begin(db)
        assert begin(db, OTHER, caller="d").is_new
        assert begin(db, OTHER, key="l").is_new
        assert db.value("select count(*) from replies") == 3

    def test_reply_is_given_again(self, db: Database) -> None:
        begin(db)
        end(db, "m1", body=b"\x00{}")
        assert told(begin(db, OTHER)) == (SEED, StoredReply(201, {"etag": "1"}, b"\x00{}"), False)
        assert db.column("select memory_ids from replies") == ['["m1"]']

    def test_first_reply_stays(self, db: Database) -> None:
        begin(db)
        begin(db, key="l")
        end(db, "m1")
        end(db, "m2", status=500)
        assert db.rows("select status, memory_ids from replies order by idempotency_key") == [
            (201, '["m1"]'),
            (None, None),
        ]

    def test_body_is_not_kept_of_several_users_or_if_it_is_large(self, db: Database) -> None:
        begin(db, user_id=None)
        end(db, "m1")
        begin(db, key="large")
        end(db, "m2", key="large", body=b"x" * (MAX_REPLY + 1))
        begin(db, key="fits")
        end(db, "m3", key="fits", body=b"x" * MAX_REPLY)
        assert db.rows("select idempotency_key, length(body) from replies order by idempotency_key") == [
            ("fits", MAX_REPLY),
            ("k", None),
            ("large", None),
        ]
        assert begin(db, OTHER, user_id=None).reply == StoredReply(201, {"etag": "1"}, None)

    def test_key_of_another_request_is_refused(self, db: Database) -> None:
        begin(db)
        with pytest.raises(IdempotencyConflictError) as caught:
            begin(db, fingerprint="other")
        assert caught.value.message == "the idempotency key was used for another request: give each its own"

    def test_request_is_new_again_after_its_life(self, db: Database) -> None:
        begin(db)
        end(db, "m1")
        db.connection.execute("update replies set ids = 'x'")
        just = IdempotencySeed(NOW + LIFE - timedelta(microseconds=1), 1 << 40)
        assert begin(db, just, fingerprint="f").reply is not None
        after = IdempotencySeed(NOW + LIFE, 1 << 40)
        assert told(begin(db, after, fingerprint="new", user_id="bob")) == (after, None, True)
        assert db.rows("select * from replies") == [
            ("c", "k", "new", "bob", AT + 86_400 * SECOND, str(1 << 40), *(None,) * 5)
        ]

    def test_request_that_is_forgotten_meanwhile_is_begun_once_more(self) -> None:
        steps = replies.begin(SQLITE, "c", "k", "f", None, SEED)
        insert = next(steps)
        steps.send([])
        assert steps.send([]) == insert
        with pytest.raises(StopIteration) as stopped:
            steps.send([(AT, str(SEED.entropy))])
        assert told(stopped.value.value) == (SEED, None, True)


class TestForgetting:
    """Requests that are released, erased, or too old."""

    def test_request_is_released_by_its_own_seed_while_it_has_no_reply(self, db: Database) -> None:
        begin(db)
        begin(db, key="l")
        for seed in (OTHER, IdempotencySeed(NOW, 1), IdempotencySeed(later(1), 7 << 40)):
            db.run(replies.release(SQLITE, "c", "k", seed))
        assert db.value("select count(*) from replies") == 2
        db.run(replies.release(SQLITE, "c", "k", SEED))
        assert db.column("select idempotency_key from replies") == ["l"]
        end(db, key="l")
        db.run(replies.release(SQLITE, "c", "l", SEED))
        assert db.value("select count(*) from replies") == 1

    def test_reply_is_erased_and_its_status_stays(self, db: Database) -> None:
        begin(db)
        end(db, "m1")
        db.run(replies.erase(SQLITE, "c", "k", OTHER, 410))
        assert begin(db, OTHER).reply == StoredReply(201, {"etag": "1"}, b"{}")
        db.run(replies.erase(SQLITE, "c", "k", SEED, 410))
        assert begin(db, OTHER).reply == StoredReply(410, {}, None)
        assert db.rows("select body, ids, memory_ids from replies") == [(None, None, None)]

    def test_old_requests_are_forgotten_the_oldest_first(self, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(replies, "BATCH", 2)
        for second in (3, 1, 2, 9):
            begin(db, IdempotencySeed(later(second), 1), key=f"k{second}")
        assert db.run(replies.forget_some(SQLITE, later(9))) == 2
        assert db.column("select idempotency_key from replies order by at") == ["k3", "k9"]
        assert db.run(replies.forget_some(SQLITE, later(9))) == 1
        assert db.run(replies.forget_some(SQLITE, later(9))) == 0

    def test_requests_of_a_user_are_forgotten(self, db: Database) -> None:
        begin(db)
        begin(db, key="l", user_id="bob")
        begin(db, key="m", user_id=None)
        assert db.run(replies.forget_user(SQLITE, "ann")) == 1
        assert db.run(replies.forget_user(SQLITE, "ann")) == 0
        assert db.column("select idempotency_key from replies order by 1") == ["l", "m"]


class TestHolding:
    """The requests that stored a memory."""

    def test_ids_that_were_noted_tell(self, db: Database) -> None:
        begin(db)
        end(db, "m1", "m2")
        begin(db, OTHER, caller="d", key="l", user_id=None)
        end(db, "m2", caller="d", key="l")
        assert holding(db, "m1") == [("c", "k", SEED)]
        assert sorted(holding(db, "m2")) == [("c", "k", SEED), ("d", "l", OTHER)]
        assert holding(db, "m3") == []

    def test_requests_of_other_users_are_not_looked_at(self, db: Database) -> None:
        begin(db)
        end(db, "m1")
        begin(db, OTHER, key="l", user_id=None)
        end(db, "m1", key="l")
        assert sorted(key for _, key, _ in holding(db, "m1", "ann")) == ["k", "l"]
        assert [key for _, key, _ in holding(db, "m1", "bob")] == ["l"]

    def test_seed_tells_while_there_is_no_reply(self, db: Database) -> None:
        begin(db)
        begin(db, OTHER, key="l")
        first, second = new_memory_ids(["ann", "ann"], NOW, SEED.entropy)
        assert holding(db, first) == holding(db, second) == [("c", "k", SEED)]
        [other] = new_memory_ids(["ann"], later(5), OTHER.entropy)
        assert holding(db, other) == [("c", "l", OTHER)]
        [foreign] = new_memory_ids(["ann"], NOW, 3 << 60)
        assert holding(db, foreign) == holding(db, "m1") == []

    @pytest.mark.parametrize(("milliseconds", "found"), [(-2, False), (-1, True), (0, True), (2, True), (3, False)])
    def test_seed_lies_about_the_time_of_the_id(self, db: Database, milliseconds: int, found: bool) -> None:
        begin(db)
        [id_] = new_memory_ids(["ann"], NOW - timedelta(milliseconds=milliseconds), SEED.entropy)
        assert bool(holding(db, id_)) is found

    @pytest.mark.parametrize("body", [{"id": "m1"}, {"items": [{"id": "m0"}, {"id": "m1"}, {}]}])
    def test_reply_of_an_earlier_version_tells(self, db: Database, body: dict[str, object]) -> None:
        begin(db)
        end(db, body=json.dumps(body).encode())
        db.connection.execute("update replies set memory_ids = null")
        assert holding(db, "m1") == [("c", "k", SEED)]
        assert holding(db, "m2") == []
