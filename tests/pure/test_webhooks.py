"""Messages to hooks: signed as Standard Webhooks say, with pauses that grow, and to public addresses only."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from openmem._model.hooks import HookInfo, new_hook_secret, secret_key
from openmem._protocol.public_addresses import is_public
from openmem._protocol.webhooks import (
    MAX_ATTEMPTS,
    change_name,
    change_text,
    message_body,
    message_headers,
    message_id,
    pause_after,
    signature,
    verdict_of,
)
from openmem.errors import InvalidRequestError
from openmem.types import UTC, Change

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def hook(**given: Any) -> HookInfo:
    fields: dict[str, Any] = {"user_id": None, "scope": None, "events": (), "content": False, **given}
    return HookInfo("hook_1", "https://example.com/", state="active", created_at=NOW, **fields)


def change(action: Any = "add", scope: str | None = None, user_id: str = "ann", memory_id: str | None = "m") -> Change:
    return Change(action=action, user_id=user_id, memory_id=memory_id, scope=scope)


def test_signature_is_that_of_the_convention() -> None:
    """The example of its specification."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert (
        signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_headers_name_the_message_its_second_and_its_signature() -> None:
    secret = new_hook_secret(bytes(range(32)))
    headers = message_headers(secret, "msg_1", NOW, b"{}")
    assert headers["webhook-id"] == "msg_1"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert headers["webhook-signature"] == signature(secret, "msg_1", headers["webhook-timestamp"], b"{}")
    assert headers["Content-Type"] == "application/json"
    assert secret_key(secret) == bytes(range(32))
    with pytest.raises(InvalidRequestError):
        secret_key("whsec_no base64")


def test_id_of_a_message_depends_on_all_that_it_is_made_of() -> None:
    ids = {message_id("h", "a", "b"), message_id("h", "a", "c"), message_id("h", "b", "b"), message_id("g", "a", "b")}
    assert len(ids) == 4
    assert message_id("h", "a", "b") in ids
    assert all(one.startswith("msg_") and len(one) == 36 for one in ids)


def test_name_of_a_change_is_the_same_whatever_its_cursor_is_and_another_for_another() -> None:
    assert change_name(change()) == change_name(change().model_copy(update={"cursor": "c"}))
    others = [change("update"), change(scope="a"), change(user_id="bob"), change(memory_id="n")]
    others += [change().model_copy(update=fields) for fields in ({"version": 2}, {"timestamp": NOW})]
    assert len({change_name(one) for one in (change(), *others)}) == 7


def test_body_holds_the_changes_and_says_what_is_missing() -> None:
    texts = [change_text({"action": "add", "memory_id": "ü"}, None, content=False)]
    assert json.loads(message_body("msg_1", texts)) == {
        "id": "msg_1",
        "changes": [{"action": "add", "memory_id": "ü"}],
    }
    assert json.loads(message_body("m", (), missed=True)) == {"id": "m", "changes": [], "missed": True}
    assert json.loads(message_body("m", (), test=True)) == {"id": "m", "changes": [], "test": True}


def test_memory_is_in_its_change_only_on_request() -> None:
    fields = {"action": "update", "memory_id": "m"}
    assert json.loads(change_text(fields, {"content": "tea"}, content=True)) == {**fields, "memory": {"content": "tea"}}
    assert json.loads(change_text(fields, None, content=True)) == {**fields, "memory": None}
    assert json.loads(change_text(fields, {"content": "tea"}, content=False)) == fields
    assert json.loads(change_text({"action": "delete_all"}, None, content=True)) == {"action": "delete_all"}


def test_pauses_grow_up_to_a_bound_and_differ_by_chance() -> None:
    whole = [pause_after(failures, 0.0).total_seconds() for failures in range(1, 12)]
    assert whole[:4] == [5, 20, 80, 320]
    assert whole[-1] == whole[-2] == 4 * 3600
    assert pause_after(1, 1.0).total_seconds() == 3.75
    assert pause_after(10_000, 0.5).total_seconds() == 4 * 3600 * 0.875
    assert 12 * 3600 < sum(whole[: MAX_ATTEMPTS - 1]) < 20 * 3600


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        *((one, "taken") for one in (200, 204, 299)),
        (410, "gone"),
        *((one, "failed") for one in (None, 101, 199, 300, 302, 404, 429, 500)),
    ],
)
def test_only_2xx_is_a_success(status: int | None, verdict: str) -> None:
    assert verdict_of(status) == verdict


@pytest.mark.parametrize(
    ("given", "found", "wanted"),
    [
        ({}, change(), True),
        ({"user_id": "ann"}, change(user_id="bob"), False),
        ({"user_id": "ann"}, change(), True),
        ({"events": ("delete",)}, change(), False),
        ({"events": ("add", "delete")}, change("delete"), True),
        ({"scope": "food"}, change(scope="food"), True),
        ({"scope": "food"}, change(scope="food/tea"), False),
        ({"scope": "food/*"}, change(scope="food/tea"), True),
        ({"scope": "food/*"}, change(scope="foodie"), False),
        ({"scope": "food/*"}, change(), False),
        ({"scope": "food/*"}, change("delete_all", None, memory_id=None), True),
        ({"scope": "food/*"}, change("delete_all", "food/tea", memory_id=None), True),
        ({"scope": "food/*"}, change("delete_all", "work/*", memory_id=None), False),
    ],
)
def test_hook_is_told_of_what_it_asked_for(given: dict[str, Any], found: Change, wanted: bool) -> None:
    assert hook(**given).wants(found) is wanted


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "192.0.1.1", "223.255.255.255"),
        *("2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808"),
    ],
)
def test_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1"),
        *("192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:db8::1"),
        *("2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0"),
        *("2606:4700::1111%eth0", "fec0::1", "ff02::1", "4000::1", "example.com", "", "0x7f.1", "2130706433"),
    ],
)
def test_any_other_address_is_not(address: str) -> None:
    assert not is_public(address)
