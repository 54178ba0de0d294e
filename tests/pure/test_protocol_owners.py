"""A server that mixes things up does not show one user's memories to another."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from openmem._model.cursors import MAX_CURSOR
from openmem._model.ids import Key
from openmem._model.requests import AuditQuery, View
from openmem._model.scopes import parse_pattern
from openmem._model.where import parse_where
from openmem._protocol.http_errors import Endpoint
from openmem._protocol.owners import ReplyCheck
from openmem.errors import ProviderError
from openmem.types import UTC, AuditEntry, ErasureReceipt, MemoryRecord

CHECK = ReplyCheck(Endpoint("https://omp.test", "omp.test", "other"), "remote")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def record(id_: str = "a", user_id: str = "ann", scope: str | None = None) -> MemoryRecord:
    return MemoryRecord(id=id_, content="tea", user_id=user_id, created_at=NOW, scope=scope)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(ProviderError) as caught:
        call()
    assert caught.value.provider == "remote"
    return caught.value.message.removeprefix("omp.test answered ")


def test_memory_must_be_the_one_that_was_asked_for() -> None:
    one = record()
    assert CHECK.one(one, "a", "ann") is CHECK.one(one, "a", None) is one
    assert CHECK.one(one, "event-7", "ann") is one  # what comes of a queued text has an id of its own
    assert refused(lambda: CHECK.one(one, "b", "ann")) == "with another memory than was asked for"
    assert refused(lambda: CHECK.one(one, "a", "bob")) == "with a memory of another user"
    assert refused(lambda: CHECK.one(one, "event-7", "bob")) == "with a memory of another user"


def test_memory_must_have_the_key_that_was_asked_for() -> None:
    one = record().model_copy(update={"key": "home"})
    assert CHECK.one(one, Key("home"), "ann") is CHECK.one(one, Key("home"), None) is one
    other = "with another memory than was asked for"
    for key in (Key("work"), Key("a"), Key("event-7")):
        assert refused(partial(CHECK.one, one, key, "ann")) == other
    assert refused(lambda: CHECK.one(record(), Key("home"), "ann")) == other
    assert refused(lambda: CHECK.one(one, Key("home"), "bob")) == "with a memory of another user"


def test_view_shows_its_user_and_scope_and_not_more_than_asked_for() -> None:
    view = View("ann", parse_pattern("s/*"))
    CHECK.seen([record(scope="s"), record(scope="s/t")], view, 2)
    CHECK.seen([record(scope="q"), record()], View("ann"), 2)
    assert refused(lambda: CHECK.seen([record(scope="s")] * 3, view, 2)) == "3 where at most 2 were asked for"
    assert refused(lambda: CHECK.seen([record(scope="s"), record(scope="q")], view, 2)) == (
        "with a memory of another scope than was asked for"
    )
    mixed = [record(scope="s"), record(user_id="bob", scope="s")]
    assert refused(lambda: CHECK.seen(mixed, view, 2)) == "with a memory of another user"


def test_each_memory_is_of_the_user_in_its_place() -> None:
    CHECK.owners(["ann", None, "bob"], [record(), record(user_id="cid"), record(user_id="bob")])
    assert refused(lambda: CHECK.owners(["ann", "ann"], [record(), record(user_id="bob")])) == (
        "with a memory of another user"
    )


def test_receipt_is_that_of_the_erasure() -> None:
    receipt = ErasureReceipt(user_id="ann", scope="s/*", erased_at=NOW, erased={}, remaining={})
    whole = receipt.model_copy(update={"scope": None})
    assert CHECK.receipt(receipt, "ann", parse_pattern("s/*")) is receipt
    assert CHECK.receipt(whole, "ann", None) is whole
    other = "with the receipt of another erasure than was asked for"
    assert refused(lambda: CHECK.receipt(receipt, "bob", parse_pattern("s/*"))) == other
    assert refused(lambda: CHECK.receipt(receipt, "ann", None)) == other
    assert refused(lambda: CHECK.receipt(whole, "ann", parse_pattern("s"))) == other


def test_audit_entries_are_of_the_app_and_not_more_than_asked_for() -> None:
    entries = [AuditEntry(app="chat"), AuditEntry(app="mail")]
    assert CHECK.entries(entries, AuditQuery("ann", limit=2)) is entries
    assert CHECK.entries(entries[:1], AuditQuery("ann", app="chat")) == entries[:1]
    assert refused(lambda: CHECK.entries(entries, AuditQuery("ann", limit=1))) == "2 where at most 1 were asked for"
    assert refused(lambda: CHECK.entries(entries, AuditQuery("ann", app="chat"))) == (
        "with an entry of another app than was asked for"
    )


def test_cursor_leads_on_and_can_be_sent_back() -> None:
    assert CHECK.cursor(None, "c") is None
    assert CHECK.cursor("d", "c") == "d"
    assert CHECK.cursor("c" * MAX_CURSOR, None) == "c" * MAX_CURSOR
    assert refused(lambda: CHECK.cursor("c", "c")) == "with the cursor that it was given: its pages come to no end"
    unfit = "with a cursor that cannot be sent back"
    assert refused(lambda: CHECK.cursor("", "c")) == refused(lambda: CHECK.cursor("c" * (MAX_CURSOR + 1), "c")) == unfit


def test_filter_allows_all_that_is_shown_and_is_that_of_the_receipt() -> None:
    where = parse_where({"n": 1})
    one = record().model_copy(update={"metadata": {"n": 1}})
    CHECK.seen([one], View("ann", where=where), 1)
    assert refused(lambda: CHECK.seen([one, record()], View("ann", where=where), 2)) == (
        "with a memory that the filter does not allow"
    )
    receipt = ErasureReceipt(user_id="ann", erased_at=NOW, erased={}, remaining={}, where={"n": 1})
    assert CHECK.receipt(receipt, "ann", None, where) is receipt
    for other in (None, parse_where({"n": True})):
        assert refused(partial(CHECK.receipt, receipt, "ann", None, other)) == (
            "with the receipt of another erasure than was asked for"
        )
