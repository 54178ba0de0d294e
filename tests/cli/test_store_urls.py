"""Store addresses of the commands: where they look, what they make there and with which rights, and what they print."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from openmem import FastEmbed, Memory
from openmem._config.settings import resolve_settings
from openmem._embedding.choices import parse_embedder
from openmem.cli.commands import ALIASES, behind_the_command
from openmem.errors import ProviderUnavailableError
from tests.shell import JSON_LINE, contents, omp, out, parsed, remember, run, start_several
from tests.terminal import all_of

pytestmark = pytest.mark.usefixtures("shell")


@pytest.mark.parametrize(
    "args",
    [
        *("recall x", "context x", "list", "get m1", "update m1 x", "forget m1", "history m1", "audit", "export"),
        *("changes", "forget --all --yes", "reembed --embedder fastembed:none@/nowhere", "doctor"),
        "keys revoke 000000000000",
    ],
)
def test_a_command_that_stores_nothing_makes_no_store(args: str, tmp_path: Path) -> None:
    folder = tmp_path / "typo"
    folder.mkdir()
    done = omp(*args.split(), "--url", str(folder / "notes.db"), code=1)
    assert f"there is no store at {folder / 'notes.db'}" in done.stderr
    assert not [*folder.iterdir()]


@pytest.mark.parametrize("args", ["remember x --confidence 2", "import {root}/nowhere.jsonl", "remember x --user *"])
def test_a_command_that_fails_before_it_stores_makes_no_store(args: str, store_path: Path, tmp_path: Path) -> None:
    assert run(*args.format(root=tmp_path).split()).returncode
    assert not store_path.exists()


@pytest.mark.parametrize("args", ["remember x", "import"])
def test_a_command_that_stores_makes_the_store_and_says_so_once(args: str, store_path: Path) -> None:
    said = f"A new store was made: {store_path}\n"
    assert omp(*args.split(), stdin=JSON_LINE).stderr.endswith(said)
    assert said not in omp(*args.split(), stdin=JSON_LINE).stderr


def test_migrate_makes_the_store_and_says_so(store_path: Path) -> None:
    assert f"A new store was made: {store_path}" in out("migrate")
    assert "new store" not in out("migrate")


def test_json_is_alone_on_both_streams_when_a_store_is_made() -> None:
    done = omp("remember", "x", "--json")
    assert json.loads(done.stdout)["content"] == "x"
    assert done.stderr == ""


def test_the_library_can_refuse_to_make_a_store(tmp_path: Path) -> None:
    with (
        pytest.raises(ProviderUnavailableError, match="no store at") as caught,
        Memory(url=tmp_path / "a.db", create=False, embedder="none"),
    ):
        pass
    assert caught.value.place == str(tmp_path / "a.db")


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights in another way")
def test_only_their_owner_may_read_the_files_of_a_store(store_path: Path) -> None:
    before = os.umask(0o022)
    try:
        remember("x")
        with Memory(url=store_path, embedder="none") as memory:
            memory.list("ann")
            omp("keys", "create", "--app", "a", "--user", "*", "--grant", "read:*")
            rights = {path.name: path.stat().st_mode & 0o777 for path in store_path.parent.glob(f"{store_path.name}*")}
    finally:
        os.umask(before)
    assert {f"{store_path.name}{end}" for end in ("", "-wal", "-shm", "-server.db")} <= rights.keys()
    assert set(rights.values()) == {0o600}


@pytest.mark.parametrize(("args", "place"), [("list --url {file}", "{file}"), ("list --url http://127.0.0.1:9", ":9")])
def test_an_error_of_a_store_names_its_place_without_secrets(args: str, place: str, tmp_path: Path) -> None:
    file = tmp_path / "no.db"
    file.write_text("no database, and long enough to be looked at " * 40)
    done = omp(*args.format(file=file).split(), code=1)
    assert place.format(file=file) in done.stderr


def test_errors_of_an_address_hold_no_password() -> None:
    done = run("list", "--url", "postgresql://ann:hunter2@127.0.0.1:9/notes", "--timeout", "5")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "hunter2" not in done.stderr


# Options before the command, and other names of commands


def test_options_of_all_commands_may_stand_before_the_command() -> None:
    remember("x"), remember("y", "--user", "bob")
    assert json.loads(out("--json", "--user", "bob", "list"))["items"][0]["content"] == "y"
    assert json.loads(out("--user=bob", "--json", "list", "--limit", "1"))["items"][0]["content"] == "y"
    assert json.loads(out("--json", "keys", "list")) == {"keys": []}
    assert "Error: " in omp("--user", code=2).stderr or "Usage" in omp("--user", code=2).output


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("list --limit 1", "list --limit 1"),
        ("--json list --limit 1", "list --json --limit 1"),
        ("--url=x --user ann keys list a", "keys list --url=x --user ann a"),
        ("--json keys", "keys --json"),
        ("--json --version", "--version"),
        ("--nonsense list", "--nonsense list"),
        ("--json", ""),
        ("remember -- --json", "remember -- --json"),
    ],
)
def test_arguments_are_put_behind_the_command(args: str, expected: str) -> None:
    assert behind_the_command(args.split()) == expected.split()


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_the_names_of_the_verbs_are_commands_too(alias: str) -> None:
    assert f"Usage: omp {alias} " in out(alias, "--help")


def test_aliases_do_what_the_commands_do() -> None:
    id_ = out("add", "Ann likes tea").strip()
    assert out("search", "tea").startswith(id_)
    out("delete", id_)
    assert contents() == []


def test_a_mistyped_command_names_the_nearest() -> None:
    assert "Did you mean 'remember'" in omp("remembr", "x", code=2).stderr


# Changing


def test_update_changes_what_is_given_and_leaves_the_rest() -> None:
    id_ = remember("one", "--scope", "a", "--tag", "t", "--confidence", "0.5")
    assert out("update", id_, "two", "words", "--tag", "u", "--tag", "v") == f"{id_}\n"
    record = parsed("update", id_, "--clear", "scope", "--clear", "confidence", "--valid-to", "2999-01-01T00:00Z")
    assert (record["content"], record["tags"], record["version"]) == ("two words", ["u", "v"], 3)
    assert record["valid_to"] == "2999-01-01T00:00:00Z"
    assert "scope" not in record
    assert "confidence" not in record
    omp("update", id_, "-", stdin="three\n")
    assert contents() == ["three"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("", "give what to change"),
        ("--clear nonsense", "none of scope, tags"),
        ("--clear scope --scope a", "both given and cleared"),
        ("--confidence 2", "confidence"),
        ("x --if-version 7", "version"),
    ],
)
def test_a_wrong_update_changes_nothing(args: str, said: str) -> None:
    id_ = remember("one")
    done = omp("update", id_, *args.split(), code=1 if "version" in args else 2)
    assert said in done.stderr
    assert parsed("get", id_)["version"] == 1


# Times at the ends of the calendar


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC", "Pacific/Kiritimati"])
@pytest.mark.parametrize(
    ("moment", "year"), [("0001-01-01T00:00:00Z", "0001"), ("9999-12-31T23:59:59.999999Z", "9999")]
)
def test_first_and_last_moment_can_be_shown_in_every_zone(
    zone: str, moment: str, year: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pty

    line = {"memory": {"id": "m1", "user_id": "ann", "content": "tea", "created_at": moment}}
    omp("import", stdin=json.dumps(line))
    commands = (["list", "--expired"], ["recall", "tea", "--expired"], ["history", "m1"], ["audit"], ["get", "m1"])
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TZ": zone, "COLUMNS": "100", "TERM": "xterm"}
    process = subprocess.Popen(start_several(*commands), stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    shown = all_of(ours).split("\f")
    _, complaint = process.communicate()
    assert process.returncode == 0, complaint
    assert len(shown) == len(commands) + 1
    for args, printed in zip(commands, shown, strict=False):
        assert args[0] not in ("list", "recall") or year.lstrip("0") in printed


# Settings


def test_schema_of_the_environment_is_read_for_postgres_only() -> None:
    def schema(url: str, **options: str) -> object:
        return resolve_settings(None, url, None, None, None, options, {"OMP_SCHEMA": "mine"}).options.get("schema")

    assert schema("postgresql://h/db") == "mine"
    assert schema("postgresql://h/db", schema="given") == "given"
    assert schema("notes.db") is None


def test_migrate_prints_the_schema_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_SCHEMA", "mine")
    assert "mine.memories" in out("migrate", "--sql").replace('"', "")


def test_model_folder_can_be_named_in_words() -> None:
    assert parse_embedder("fastembed:my/model@/models/it") == FastEmbed("my/model", model_path="/models/it")
    assert "/nowhere" in omp("remember", "x", "--embedder", "fastembed:BAAI/bge-small-en-v1.5@/nowhere", code=1).stderr
