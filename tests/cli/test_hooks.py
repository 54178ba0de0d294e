"""`omp hooks`: makes hooks, shows the secret of each once, lists, tries, enables and removes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from openmem import Memory, ServerStore
from openmem._model.timestamps import time_of
from openmem._protocol.webhooks import MAX_ATTEMPTS
from tests.hook_receiver import Receiver
from tests.shell import omp, out, parsed

pytestmark = pytest.mark.usefixtures("shell")

SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=\n")
URL = "https://example.com/in?token=t"


def test_secret_of_a_hook_is_shown_once(store_path: Path) -> None:
    done = omp("hooks", "add", URL, "--user", "ann", "--scope", "a/*", "--event", "add", "--event", "delete")
    assert SECRET.fullmatch(done.stdout)
    [info] = parsed("hooks", "list")["hooks"]
    assert f"the hook {info['id']}." in done.stderr
    assert (info["url"], info["user_id"], info["scope"], info["events"]) == (URL, "ann", "a/*", ["add", "delete"])
    assert (info["content"], info["state"], info["failures"], info["dead_letters"]) == (False, "active", 0, 0)
    for listed in (out("hooks", "list"), out("hooks", "list", "--json")):
        assert done.stdout.strip() not in listed
    assert out("hooks", "list").split("\t")[:6] == [info["id"], "ann", "a/*", "add, delete", "", "active"]
    assert out("hooks", "remove", info["id"]) == f"{info['id']}\n"
    assert omp("hooks", "list").stderr == "There are no hooks.\n"


def test_hooks_are_listed_where_there_is_no_store_without_making_one(store_path: Path) -> None:
    assert parsed("hooks", "list") == {"hooks": []}
    assert "there is no store at" in omp("hooks", "remove", "hook_000000000000", code=1).stderr
    assert not Path(f"{store_path}-server.db").exists()


def test_mistakes_are_said(store_path: Path) -> None:
    assert "https:// or http://" in omp("hooks", "add", "ftp://x.example", "--user", "ann", code=2).stderr
    assert "events[0]" in omp("hooks", "add", URL, "--user", "ann", "--event", "ad", code=2).stderr
    assert "Missing option '--user'" in omp("hooks", "add", URL, code=2).stderr
    omp("hooks", "add", URL, "--user", "*")
    error = json.loads(omp("hooks", "enable", "nonsense", "--json", code=1).stderr)["error"]
    assert error["code"] == "not_found"


def test_hook_is_tried_by_hand(store_path: Path) -> None:
    with Receiver(204, 500) as receiver:
        made = parsed("hooks", "add", receiver.url, "--user", "*", "--content", "--from-start")
        receiver.secret = made["secret"]
        refused = omp("hooks", "test", made["id"], code=1)
        assert refused.stdout == "the host has a private or reserved address, to which nothing is sent\n"
        assert receiver.requests == 0
        tried = parsed("hooks", "test", made["id"], "--allow-private-hooks")
        assert (tried["status"], tried["taken"]) == (204, True)
        assert (receiver.got[0]["test"], receiver.forged) == (True, 0)
        failed = omp("hooks", "test", made["id"], "--allow-private-hooks", code=1)
        assert failed.stdout == "the receiver answered 500\n"


def test_messages_that_were_given_up_are_listed_and_sent_again(store_path: Path) -> None:
    assert out("remember", "tea")
    with Receiver(*[500] * MAX_ATTEMPTS) as receiver:
        made = parsed("hooks", "add", receiver.url, "--user", "*", "--from-start")
        receiver.secret = made["secret"]
        with ServerStore(f"{store_path}-server.db") as store, Memory(url=str(store_path), embedder="none") as memory:
            for hour in range(MAX_ATTEMPTS):
                moment = time_of((2_000_000_000 + hour * 36_000) * 1_000_000)
                store.take_hooks("cli", now=moment)
                store.deliver_hook(made["id"], memory, holder="cli", allow_private=True, now=moment)
        assert omp("hooks", "failed", "--hook", "hook_000000000000").stderr == "No message was given up.\n"
        row = out("hooks", "failed").rstrip("\n").split("\t")
        assert row[1:4] == [made["id"], "1", str(MAX_ATTEMPTS)]
        assert row[5:] == ["", "the receiver answered 500"]
        assert out("hooks", "retry", "msg_unknown") == "0\n"
        assert out("hooks", "retry", row[0], "--hook", made["id"]) == "1\n"
        assert parsed("hooks", "failed")["dead_letters"][0]["waiting"] is True
        assert parsed("hooks", "list")["hooks"][0]["dead_letters"] == 1
        assert out("hooks", "enable", made["id"]) == f"{made['id']}\n"
