"""Steps over the keys of a server and its rate counters, on a store in memory."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from openmem._model.keys import KeyInfo
from openmem._model.scopes import parse_grant
from openmem._sql.server import keys, rates
from openmem._sql.server.dialect import POSTGRES, SQLITE
from openmem._sql.steps import Many, Query
from openmem.errors import NotFoundError, ProviderError
from tests.pure.sqlite_steps.database import AT, NOW, SECOND, Database, later


def info(id_: str = "k1", **fields: Any) -> KeyInfo:
    given: dict[str, Any] = {"app": "desk", "user_id": "ann", "created_at": NOW, **fields}
    return KeyInfo(id=id_, grants=tuple(map(parse_grant, ("read:*", "write:wörk/*"))), **given)


def hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def create(db: Database, id_: str = "k1", secret: str = "s1", **fields: Any) -> KeyInfo:
    return db.run(keys.create(SQLITE, info(id_, **fields), hashed(secret)))


class TestKeys:
    """Keys from the first to their end."""

    def test_key_is_stored_as_it_is(self, db: Database) -> None:
        made = create(db, expires_at=later(60))
        assert made == info(expires_at=later(60))
        assert db.rows("select * from keys") == [
            ("k1", hashed("s1"), "desk", "ann", '["read:*", "write:wörk/*"]', AT, AT + 60 * SECOND, None, None)
        ]

    def test_key_that_is_stored_twice_is_one(self, db: Database) -> None:
        create(db)
        assert create(db) == info()
        with pytest.raises(ProviderError, match=r"^the id of the new key is taken; try again$"):
            create(db, secret="other")
        assert db.column("select hash from keys") == [hashed("s1")]

    def test_keys_come_oldest_first(self, db: Database) -> None:
        create(db, "k3", created_at=later(1))
        create(db, "k2", user_id=None)
        create(db, "k1")
        assert [key.id for key in db.run(keys.every(SQLITE))] == ["k1", "k2", "k3"]
        assert [key.user_id for key in db.run(keys.every(SQLITE))] == ["ann", None, "ann"]

    def test_secret_finds_its_key(self, db: Database) -> None:
        create(db)
        create(db, "k2", "s2", expires_at=later(5))
        assert db.run(keys.find(SQLITE, "k1", "s1", later(9))) == info()
        for id_, secret in (("k1", "s2"), ("k3", "s1"), ("k2", "s1")):
            assert db.run(keys.find(SQLITE, id_, secret, NOW)) is None

    def test_key_that_ended_is_not_found(self, db: Database) -> None:
        create(db, expires_at=later(5))
        assert db.run(keys.find(SQLITE, "k1", "s1", later(4))) is not None
        assert db.run(keys.find(SQLITE, "k1", "s1", later(5))) is None
        create(db, "k2", "s2")
        db.run(keys.revoke(SQLITE, "k2", later(3)))
        assert db.run(keys.find(SQLITE, "k2", "s2", later(4))) is None

    def test_revoked_key_stays_revoked_since_then(self, db: Database) -> None:
        create(db)
        create(db, "k2", "s2")
        assert db.run(keys.revoke(SQLITE, "k1", later(3))).revoked_at == later(3)
        assert db.run(keys.revoke(SQLITE, "k1", later(9))).revoked_at == later(3)
        assert db.column("select revoked_at from keys order by id") == [AT + 3 * SECOND, None]
        with pytest.raises(NotFoundError, match=r"^no key has this id$"):
            db.run(keys.revoke(SQLITE, "k3", NOW))

    def test_use_of_a_key_is_noted_and_never_goes_back(self, db: Database) -> None:
        create(db)
        create(db, "k2", "s2")
        db.run(keys.touch(SQLITE, {"k2": later(7), "k1": later(5)}))
        db.run(keys.touch(SQLITE, {"k1": later(4), "k2": later(8), "k3": NOW}))
        assert [key.last_used_at for key in db.run(keys.every(SQLITE))] == [later(5), later(8)]

    def test_keys_are_noted_in_one_order(self) -> None:
        [statement] = keys.touch(POSTGRES, {"b": later(1), "a": later(2)})
        assert isinstance(statement, Many)
        assert [*statement.rows] == [("a", AT + 2 * SECOND), ("b", AT + SECOND)]

    def test_first_key_is_told_from_none(self, db: Database) -> None:
        assert db.run(keys.exist(SQLITE)) is False
        create(db)
        assert db.run(keys.exist(SQLITE)) is True


class TestRates:
    """A window of a minute for each caller."""

    @staticmethod
    def take(db: Database, seconds: float, caller: str = "ann") -> float:
        return db.run(rates.take(SQLITE, caller, 2, later(seconds)))

    def test_so_many_go_on_in_a_window(self, db: Database) -> None:
        assert [self.take(db, seconds) for seconds in (0, 10, 20, 59)] == [0.0, 0.0, 40.0, 1.0]
        assert self.take(db, 59, "bob") == 0.0
        assert db.rows("select * from rates order by caller") == [("ann", AT, 3), ("bob", AT + 59 * SECOND, 1)]

    def test_next_window_begins_after_a_minute(self, db: Database) -> None:
        for seconds in (0, 0, 0, 60, 61):
            last = self.take(db, seconds)
        assert last == 0.0
        assert db.rows("select started_at, taken from rates") == [(AT + 60 * SECOND, 2)]

    def test_wait_is_never_nothing(self, db: Database) -> None:
        for seconds in (0, 0, 0):
            self.take(db, seconds)
        assert self.take(db, 59.999999) == 0.000001

    def test_window_that_began_in_the_future_is_over(self, db: Database) -> None:
        for seconds in (90, 90, 90):
            self.take(db, seconds)
        assert self.take(db, 31) == 119.0
        assert self.take(db, 30) == 0.0

    def test_old_windows_are_forgotten(self, db: Database) -> None:
        self.take(db, 0)
        self.take(db, 5, "bob")
        db.run(rates.forget(SQLITE, later(5)))
        assert db.column("select caller from rates") == ["bob"]


class TestDialects:
    """One statement in both forms."""

    def test_postgres_takes_numbered_parameters(self) -> None:
        query = POSTGRES.query("a = $2 and b = $1 and c = $2", 1, 2)
        assert query == Query("a = $2 and b = $1 and c = $2", (1, 2))
        rows = [(1, 2)]
        assert POSTGRES.many("values($2, $1)", rows) == Many("values($2, $1)", rows)

    def test_sqlite_takes_them_in_the_order_of_their_marks(self) -> None:
        assert SQLITE.query("a = $2 and b = $1 and c = $2", 1, 2) == Query("a = ? and b = ? and c = ?", (2, 1, 2))
        assert SQLITE.query("$10", *range(10)) == Query("?", (9,))
        assert SQLITE.many("values($2, $1)", iter([(1, 2), (3, 4)])) == Many("values(?, ?)", [(2, 1), (4, 3)])
