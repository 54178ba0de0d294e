"""Steps over hooks, the lease of who delivers, and messages that were given up, on a store in memory."""

from __future__ import annotations

from typing import Any

import pytest

from openmem._model.hooks import DeadLetter, HookAtWork, HookInfo
from openmem._sql.server import hooks
from openmem._sql.server.dialect import SQLITE
from openmem.errors import InvalidRequestError, NotFoundError
from tests.pure.sqlite_steps.database import NOW, Database, later

HELD = hooks.LEASE // 1_000_000
LEFT = hooks.RENEWED // 1_000_000


def info(id_: str = "h1", **fields: Any) -> HookInfo:
    given: dict[str, Any] = {"user_id": "ann", "scope": "a/*", "events": ("add",), "content": True, **fields}
    return HookInfo(id_, f"https://example.com/{id_}", state="active", **{"created_at": NOW, "next_at": NOW, **given})


def create(db: Database, id_: str = "h1", **fields: Any) -> HookAtWork:
    db.run(hooks.create(SQLITE, info(id_, **fields), f"whsec_{id_}", NOW))
    return at_work(db, id_)


def at_work(db: Database, id_: str = "h1") -> HookAtWork:
    found = db.run(hooks.find(SQLITE, id_))
    assert found is not None
    return found


def letter(id_: str = "msg_1", hook_id: str = "h1", seconds: float = 1, **fields: Any) -> DeadLetter:
    given: dict[str, Any] = {"changes": 2, "attempts": 10, "error": "no", "waiting": False, "begin": "", "end": "c1"}
    return DeadLetter(id_, hook_id, failed_at=later(seconds), **{**given, **fields})


class TestHooks:
    """Hooks from the first to their end."""

    def test_hook_is_stored_as_it_is(self, db: Database) -> None:
        assert create(db) == HookAtWork(info(), "whsec_h1", NOW, "", "", missed=False, read_at=NOW)
        other = create(db, "h0", user_id=None, scope=None, events=(), content=False, created_at=later(1))
        assert db.run(hooks.every(SQLITE)) == [info(), other.info]
        assert (other.info.user_id, other.info.scope, other.info.events, other.info.content) == (None, None, (), False)
        assert db.run(hooks.find(SQLITE, "h9")) is None

    def test_hook_that_is_stored_twice_is_one(self, db: Database) -> None:
        create(db)
        create(db)
        assert len(db.run(hooks.every(SQLITE))) == 1

    def test_no_more_than_a_hundred_are_stored(self, db: Database) -> None:
        for number in range(100):
            create(db, f"h{number:03}")
        with pytest.raises(InvalidRequestError, match=r"^there are 100 hooks, which is the most: remove one$"):
            create(db, "h100")
        create(db, "h099")
        assert len(db.run(hooks.every(SQLITE))) == 100

    def test_hook_goes_with_its_messages(self, db: Database) -> None:
        hook, other = create(db), create(db, "h2")
        db.run(hooks.give_up(SQLITE, hook, letter(), "c1"))
        db.run(hooks.give_up(SQLITE, other, letter("msg_2", "h2"), "c1"))
        db.run(hooks.remove(SQLITE, "h1"))
        assert [one.id for one in db.run(hooks.every(SQLITE))] == ["h2"]
        assert [one.id for one in db.run(hooks.letters(SQLITE, None, 9))] == ["msg_2"]
        with pytest.raises(NotFoundError, match=r"^no hook has this id$"):
            db.run(hooks.remove(SQLITE, "h1"))

    def test_hook_that_is_disabled_waits_until_it_is_enabled(self, db: Database) -> None:
        create(db)
        db.run(hooks.put_off(SQLITE, at_work(db), "no", later(60), 3))
        db.run(hooks.disable(SQLITE, "h1", "gone"))
        found = at_work(db).info
        assert (found.state, found.failures, found.next_at, found.last_error) == ("disabled", 3, later(60), "gone")
        assert db.run(hooks.due(SQLITE, later(99))) == []
        assert db.run(hooks.lease(SQLITE)) == (False, "", 0)
        db.run(hooks.enable(SQLITE, "h1", later(7)))
        assert at_work(db).info == info(next_at=later(7))
        with pytest.raises(NotFoundError, match=r"^no hook has this id$"):
            db.run(hooks.enable(SQLITE, "h2", NOW))


class TestLease:
    """One process delivers."""

    def test_lease_is_of_one_until_it_ends(self, db: Database) -> None:
        create(db)
        assert db.run(hooks.take(SQLITE, "one", NOW)) is True
        assert db.run(hooks.lease(SQLITE))[:2] == (True, "one")
        assert db.run(hooks.take(SQLITE, "two", later(HELD - 1))) is False
        assert db.run(hooks.take(SQLITE, "one", later(1))) is True
        assert db.run(hooks.take(SQLITE, "two", later(HELD))) is False
        assert db.run(hooks.take(SQLITE, "two", later(HELD + 1))) is True
        assert db.run(hooks.take(SQLITE, "one", later(HELD + 2))) is False

    def test_lease_of_a_wrong_clock_does_not_last_for_years(self, db: Database) -> None:
        assert db.run(hooks.take(SQLITE, "one", later(10 * HELD)))
        assert db.run(hooks.take(SQLITE, "two", NOW)) is True

    def test_lease_that_is_given_back_is_free(self, db: Database) -> None:
        db.run(hooks.take(SQLITE, "one", NOW))
        db.run(hooks.release(SQLITE, "two"))
        assert db.run(hooks.take(SQLITE, "two", NOW)) is False
        db.run(hooks.release(SQLITE, "one"))
        assert db.run(hooks.take(SQLITE, "two", NOW)) is True

    def test_message_is_tried_only_while_the_lease_outlasts_it(self, db: Database) -> None:
        hook = create(db)
        assert db.run(hooks.pin(SQLITE, hook, "one", NOW, "c1")) is False
        db.run(hooks.take(SQLITE, "one", NOW))
        for holder, moment, may in (("two", NOW, False), ("one", later(LEFT), False), ("one", later(LEFT - 1), True)):
            assert db.run(hooks.holds(SQLITE, holder, moment)) is may
            assert db.run(hooks.pin(SQLITE, hook, holder, moment, "c1")) is may
            assert at_work(db).pin == ("c1" if may else "")
        db.run(hooks.taken(SQLITE, hook, "msg_1", "c1", NOW))
        assert db.run(hooks.pin(SQLITE, hook, "one", NOW, "c2")) is False  # it is not where it was
        db.run(hooks.disable(SQLITE, "h1", "gone"))
        assert db.run(hooks.pin(SQLITE, at_work(db), "one", NOW, "c2")) is False


class TestMovingOn:
    """The place of a hook in the feed."""

    def test_hooks_that_may_have_something_to_send_come_longest_waiting_first(self, db: Database) -> None:
        for id_, seconds in (("h1", 5), ("h2", 1), ("h3", 9)):
            db.run(hooks.put_off(SQLITE, create(db, id_), "no", later(seconds), 1))
        assert db.run(hooks.due(SQLITE, later(5))) == ["h2", "h1"]
        db.run(hooks.give_up(SQLITE, at_work(db, "h3"), letter("msg_3", "h3"), "c1"))
        db.run(hooks.put_off(SQLITE, at_work(db, "h3"), "no", later(9), 1))
        db.run(hooks.send_again(SQLITE, "h3", None))
        assert db.run(hooks.due(SQLITE, later(5))) == ["h2", "h1", "h3"]

    def test_message_that_was_taken_is_behind_its_hook(self, db: Database) -> None:
        hook = create(db)
        db.run(hooks.start_over(SQLITE, hook))
        db.run(hooks.put_off(SQLITE, hook, "no", later(60), 3))
        assert at_work(db).missed is True
        db.run(hooks.taken(SQLITE, hook, "msg_1", "c1", later(3)))
        found = at_work(db)
        assert found.info == info(next_at=later(3), delivered_at=later(3))
        assert (found.cursor, found.pin, found.missed, found.read_at) == ("c1", "", False, later(3))
        db.run(hooks.taken(SQLITE, hook, "msg_2", "c0", later(4)))
        assert at_work(db) == found  # who saw an earlier place changes nothing

    def test_changes_that_it_is_not_told_of_are_passed_over(self, db: Database) -> None:
        hook = create(db)
        db.run(hooks.pass_over(SQLITE, hook, "c1", later(1), False))
        assert (at_work(db).cursor, at_work(db).since, at_work(db).read_at) == ("c1", NOW, later(1))
        db.run(hooks.pass_over(SQLITE, at_work(db), "c2", later(2), True))
        assert (at_work(db).cursor, at_work(db).since) == ("c2", None)
        db.run(hooks.pass_over(SQLITE, hook, "c9", later(3), True))
        assert at_work(db).cursor == "c2"

    def test_message_that_was_given_up_is_kept_and_passed_over(self, db: Database) -> None:
        hook = create(db)
        db.run(hooks.put_off(SQLITE, hook, "no", later(60), 9))
        db.run(hooks.give_up(SQLITE, hook, letter(), "c1"))
        found = at_work(db)
        assert found.info == info(next_at=later(1), last_error="no", dead_letters=1)
        assert (found.cursor, found.pin) == ("c1", "")
        assert db.run(hooks.letters(SQLITE, "h1", 9)) == [letter()]

    def test_message_that_was_taken_after_all_is_given_up_no_more(self, db: Database) -> None:
        hook = create(db)
        for id_ in ("msg_1", "msg_2"):
            db.run(hooks.give_up(SQLITE, hook, letter(id_), "c1"))
        db.run(hooks.taken(SQLITE, at_work(db), "msg_1", "c2", later(1)))
        assert [one.id for one in db.run(hooks.letters(SQLITE, None, 9))] == ["msg_2"]
        db.run(hooks.forget_letter(SQLITE, "msg_2"))
        assert db.run(hooks.letters(SQLITE, None, 9)) == []

    def test_messages_wait_to_be_sent_again(self, db: Database) -> None:
        for id_, hook_id, seconds in (("m3", "h1", 3), ("m1", "h1", 1), ("m2", "h2", 2)):
            db.run(hooks.give_up(SQLITE, create(db, hook_id), letter(id_, hook_id, seconds), "c1"))
        assert [one.id for one in db.run(hooks.letters(SQLITE, None, 2))] == ["m1", "m2"]
        assert db.run(hooks.send_again(SQLITE, "h2", ["m1", "m9"])) == 0
        assert db.run(hooks.letters(SQLITE, "h1", 9, True)) == []
        assert db.run(hooks.send_again(SQLITE, None, ["m1"])) == 1
        assert [one.id for one in db.run(hooks.letters(SQLITE, "h1", 9, True))] == ["m1"]
        assert db.run(hooks.send_again(SQLITE, None, None)) == 3
        db.run(hooks.failed_again(SQLITE, "m1", "still no", later(9)))
        assert db.run(hooks.letters(SQLITE, "h1", 9)) == [
            letter("m3", "h1", 3, waiting=True),
            letter("m1", "h1", 9, attempts=11, error="still no"),
        ]

    def test_hooks_are_at_work_while_one_is_active_or_a_message_waits(self, db: Database) -> None:
        hook = create(db)
        db.run(hooks.give_up(SQLITE, hook, letter(), "c1"))
        db.run(hooks.disable(SQLITE, "h1", "gone"))
        assert db.run(hooks.lease(SQLITE))[0] is False
        db.run(hooks.send_again(SQLITE, "h1", None))
        assert db.run(hooks.lease(SQLITE))[0] is True
        assert db.run(hooks.due(SQLITE, NOW)) == ["h1"]
