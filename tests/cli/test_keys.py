"""`omp keys`: makes keys that are good, shows each once, and lists and revokes them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openmem import ServerStore
from tests.shell import omp, out, parsed, run

pytestmark = pytest.mark.usefixtures("shell")

SECRET = re.compile(r"omp_[0-9a-z]{12}_[A-Za-z0-9_-]{43}")


def create(*args: str, **more: Any) -> Any:
    given = dict(zip(args[::2], args[1::2], strict=True))
    needed = {"--app": "editor", "--user": "ann", "--grant": "read:coding/*"}
    return omp(
        "keys", "create", *args, *(part for pair in needed.items() if pair[0] not in given for part in pair), **more
    )


@pytest.fixture
def place(store_path: Path) -> str:
    """The address of the keys of that store."""
    return f"{store_path}-server.db"


def test_key_is_shown_once_and_works(place: str) -> None:
    done = create("--grant", "write:coding/preferences", "--grant", "read:coding/*")
    secret = done.stdout.strip()
    assert SECRET.fullmatch(secret)
    key_id = secret.split("_")[1]
    assert f"This is the key {key_id}." in done.stderr
    assert "not be shown again" in done.stderr
    assert f"{place}." in done.stderr
    assert secret not in done.stderr
    with ServerStore(place) as store:
        found = store.find_key(secret)
    assert found is not None
    assert (found.app, found.user_id) == ("editor", "ann")
    assert {str(grant) for grant in found.grants} == {"write:coding/preferences", "read:coding/*"}
    for listed in (out("keys", "list"), out("keys", "list", "--json")):
        assert key_id in listed
        assert not SECRET.search(listed)
        assert secret[17:] not in listed


def test_list_shows_every_field(place: str) -> None:
    create("--user", "*", "--expires", "12h")
    row = out("keys", "list").rstrip("\n").split("\t")
    assert len(row) == 8
    assert row[1:4] == ["editor", "*", "read:coding/*"]
    created, expires = datetime.fromisoformat(row[4]), datetime.fromisoformat(row[5])
    assert abs(expires - created - timedelta(hours=12)) < timedelta(seconds=5)
    assert row[6:] == ["", "active"]
    with ServerStore(place) as store:
        store.touch_keys({row[0]: created})
    assert out("keys", "list").split("\t")[6] == row[4]
    assert parsed("keys", "list")["keys"][0]["last_used_at"] == row[4]


def test_json_has_the_same(place: str) -> None:
    made = parsed("keys", "create", "--app", "a", "--user", "*", "--grant", "admin:*", "--expires", "2999-01-01T00:00Z")
    secret, where = made.pop("secret"), made.pop("store")
    assert (SECRET.fullmatch(secret) is not None, where) == (True, place)
    assert made.pop("id") == secret.split("_")[1]
    assert datetime.fromisoformat(made.pop("created_at")) <= datetime.now(UTC)
    assert made == {
        "app": "a",
        "user_id": "*",
        "grants": ["admin:*"],
        "state": "active",
        "expires_at": "2999-01-01T00:00:00+00:00",
    }


def test_revoked_key_is_of_no_use_but_listed(place: str) -> None:
    secret = create().stdout.strip()
    key_id = secret.split("_")[1]
    assert out("keys", "revoke", key_id) == f"{key_id}\n"
    assert parsed("keys", "revoke", key_id)["state"] == "revoked"
    assert out("keys", "list").rstrip().split("\t")[-1] == "revoked"
    with ServerStore(place) as store:
        assert store.find_key(secret) is None


def test_expired_key_is_listed_as_such(place: str) -> None:
    with ServerStore(place) as store:
        past = datetime(2020, 1, 1, tzinfo=UTC)
        store.create_key(app="a", user_id=None, grants=["read:*"], now=past, expires_at=past + timedelta(days=1))
    assert out("keys", "list").rstrip().split("\t")[-1] == "expired"


def test_empty_list_says_so_and_makes_no_store(store_path: Path) -> None:
    place = f"{store_path}-server.db"
    assert omp("keys", "list").stderr == f"There are no keys in {place}.\n"
    assert not Path(place).exists()
    assert parsed("keys", "list") == {"keys": []}


def test_unknown_key_cannot_be_revoked() -> None:
    assert "there is no store at" in omp("keys", "revoke", "000000000000", code=1).stderr
    omp("keys", "create", "--app", "a", "--user", "*", "--grant", "read:*")
    assert omp("keys", "revoke", "000000000000", code=1).stderr == "Error: no key has this id\n"
    error = json.loads(omp("keys", "revoke", "nonsense", "--json", code=1).stderr)["error"]
    assert error["code"] == "not_found"


def test_secret_given_for_an_id_is_not_repeated() -> None:
    secret = create().stdout.strip()
    assert secret not in omp("keys", "revoke", secret, code=1).output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--user", ""], "user_id is required"),
        (["--user", "a*"], "is not allowed"),
        (["--app", " "], "app must not be blank"),
        (["--grant", "look:*"], "must be one of read, write, delete, admin"),
        (["--grant", "read"], "read:coding/*"),
        (["--expires", "soon"], "is no time"),
        (["--expires", "2020-01-01"], "in the future"),
        (["--expires", "0d"], "in the future"),
        (["--expires", "999999w"], "too far away"),
        (["--store", "http://127.0.0.1/"], "postgresql://, sqlite:///FILE or a path"),
    ],
)
def test_wrong_key_is_misuse_and_nothing_is_stored(args: list[str], message: str) -> None:
    assert message in create(*args, code=2).stderr
    assert omp("keys", "list").stdout == ""


@pytest.mark.parametrize("missing", ["--app", "--user", "--grant"])
def test_key_needs_an_app_a_user_and_grants(missing: str) -> None:
    given = {"--app": "a", "--user": "ann", "--grant": "read:*"}
    args = [part for name, value in given.items() if name != missing for part in (name, value)]
    assert f"Missing option '{missing}'" in omp("keys", "create", *args, code=2).stderr


def test_store_is_where_the_option_or_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one.db", tmp_path / "two.db"
    create("--store", str(one))
    monkeypatch.setenv("OMP_SERVER_STORE", f"sqlite:///{two}")
    create("--app", "two")
    assert out("keys", "list").split("\t")[1] == "two"
    assert out("keys", "list", "--store", str(one)).split("\t")[1] == "editor"


def test_password_of_the_database_is_not_shown(postgres_url: str) -> None:
    url = postgres_url.replace("//postgres@", "//postgres:pass-word@")
    done = create("--url", url)
    assert "schema openmem_server" in done.stderr
    assert "pass-word" not in done.output
    made = parsed("keys", "create", "--app", "a", "--user", "*", "--grant", "read:*", "--url", url)
    assert "pass-word" not in json.dumps(made)
    assert [row.split("\t")[1] for row in out("keys", "list", "--url", url).splitlines()] == ["editor", "a"]


def test_command_runs_as_a_process() -> None:
    done = run("keys", "create", "--app", "editor", "--user", "ann", "--grant", "read:*")
    assert (done.returncode, SECRET.fullmatch(done.stdout.strip()) is not None) == (0, True)
    assert run("keys", "list").stdout.startswith(done.stdout.split("_")[1])
