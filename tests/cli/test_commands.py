"""The command `omp` as a user meets it: in a shell, in a pipe, on a terminal, called rightly and wrongly."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem.cli import output
from tests.shell import ESCAPES, JSON_LINE, ROOT, contents, omp, out, parsed, remember, run, start
from tests.terminal import all_of

pytestmark = pytest.mark.usefixtures("shell")

# What the commands do


def test_command_runs_as_a_process(store_path: Path) -> None:
    done = run("remember", "Ann", "prefers", "dark", "mode", "--scope", "ui", "--tag", "a", "--tag", "b")
    assert (done.returncode, done.stderr) == (0, f"A new store was made: {store_path}\n")
    fields = run("list").stdout.rstrip("\n").split("\t")
    assert [fields[0], *fields[2:]] == [done.stdout.strip(), "Ann prefers dark mode", "ui", "a, b"]
    assert datetime.fromisoformat(fields[1]).utcoffset() == timedelta(0)


def test_stdin_is_remembered_without_its_last_line_end() -> None:
    omp("remember", "-", stdin="first – line\nsecond\n")
    assert contents() == ["first – line\nsecond"]


def test_all_options_of_remember_are_stored() -> None:
    old = remember("old")
    options = f"--scope a/b --tag t --key k --confidence 0.5 --supersedes {old} --ref r --app shell"
    times = "--valid-from 2024-01-01T00:00+02:00 --valid-to 2999-01-01T00:00Z"
    record = parsed("remember", "new", *options.split(), *times.split())
    assert (record["scope"], record["tags"]) == ("a/b", ["t"])
    assert (record["key"], record["confidence"], record["supersedes"]) == ("k", 0.5, [old])
    assert record["source"] == {"app": "shell", "type": "explicit", "ref": "r"}
    assert (record["valid_from"], record["valid_to"]) == ("2023-12-31T22:00:00Z", "2999-01-01T00:00:00Z")
    assert contents() == ["new"]
    assert contents("--superseded") == ["new", "old"]


def test_memory_is_named_by_its_key() -> None:
    made = parsed("remember", "tea", "--key", "drink")
    assert parsed("get", "--key", "drink") == made
    changed = parsed("update", "--key", "drink", "green", "tea", "--if-version", "1")
    assert (changed["id"], changed["content"], changed["version"]) == (made["id"], "green tea", 2)
    assert parsed("update", "--key", "drink", "--scope", "a")["content"] == "green tea"
    assert [past["version"] for past in parsed("history", "--key", "drink")["items"]] == [2, 1]
    assert parsed("forget", "--key", "drink") == {"forgotten": "drink"}
    assert contents() == []
    for command in ("get", "history", "forget"):
        assert omp(command, "--key", "drink", code=1).stderr == "Error: no memory has the key 'drink'\n"
        assert "--key" in omp(command, "--key", "drink", made["id"], code=2).stderr
        assert "--key" in omp(command, code=2).stderr


def test_memory_is_remembered_only_on_terms() -> None:
    made = parsed("remember", "tea", "--key", "drink", "--if-absent")
    again = refused("remember", "milk", "--key", "drink", "--if-absent")
    assert (again["code"], again["details"]) == ("already_exists", {"id": made["id"], "version": 1})
    assert parsed("remember", "milk", "--key", "drink", "--if-version", "1")["version"] == 2
    assert refused("remember", "beer", "--key", "drink", "--if-version", "1")["code"] == "version_conflict"
    assert "needs a key" in omp("remember", "beer", "--if-absent", code=2).stderr
    assert contents() == ["milk"]


def refused(*args: str) -> dict[str, Any]:
    """Return the error of a command that failed."""
    error: dict[str, Any] = json.loads(omp(*args, "--json", code=1).stderr)["error"]
    return error


def test_metadata_are_stored_replaced_patched_and_cleared() -> None:
    given = '{"lang": "py", "n": 1.0, "deep": {"a": 1}}'
    record = parsed("remember", "tea", "--metadata", given)
    assert json.dumps(record["metadata"]) == given
    patched = parsed("update", record["id"], "--metadata-patch", '{"n": null, "deep": {"b": 2}}')
    assert patched["metadata"] == {"lang": "py", "deep": {"a": 1, "b": 2}}
    assert parsed("update", record["id"], "--metadata", "{}")["metadata"] == {}
    assert "metadata" not in parsed("update", record["id"], "--clear", "metadata")
    for wrong in ("7", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "\udc80"):
        assert omp("remember", "tea", "--metadata", wrong, code=2).stderr
    assert len(contents()) == 1


def test_filter_narrows_each_command_that_takes_it() -> None:
    for number, lang in enumerate(("py", "js", "py")):
        remember(f"tea {number}", "--metadata", json.dumps({"lang": lang, "n": number}))
    remember("tea")
    where = ("--where", '{"lang": "py", "n": {"$gt": 0}}')
    assert contents(*where) == ["tea 2"]
    assert [one["memory"]["content"] for one in parsed("recall", "tea", *where)["results"]] == ["tea 2"]
    assert len(parsed("context", "tea", *where)["citations"]) == 1
    assert "$like" in omp("list", "--where", '{"n": {"$like": 1}}', code=2).stderr
    for wrong in ("7", "{", '{"a": 1, "a": 2}'):
        assert omp("list", "--where", wrong, code=2).stderr
    assert omp("forget", "mem_1", *where, code=2).stderr
    assert parsed("forget", "--all", "--yes", *where)["erased"]["memories"] == 1
    assert sorted(contents()) == ["tea", "tea 0", "tea 1"]


def test_memory_that_is_not_searchable_is_listed_and_not_recalled() -> None:
    id_ = remember("green tea", "--not-searchable")
    assert contents() == ["green tea"]
    assert "Nothing found." in omp("recall", "tea").stderr
    assert "searchable" not in parsed("update", id_, "--searchable")
    assert len(out("recall", "tea").splitlines()) == 1
    assert parsed("update", id_, "--not-searchable")["searchable"] is False
    assert "Nothing found." in omp("recall", "tea").stderr


def test_same_key_replaces_and_history_shows_the_old_version() -> None:
    id_ = remember("one", "--key", "k")
    assert remember("two", "--key", "k") == id_
    rows = [line.split("\t") for line in out("history", id_).splitlines()]
    assert [(row[2], row[5]) for row in rows] == [("one", "1")]


def test_recall_finds_by_words_and_filters() -> None:
    remember("tea with milk", "--scope", "food/drinks", "--tag", "hot")
    remember("iced tea", "--scope", "food", "--tag", "cold")
    assert len(out("recall", "some", "tea").splitlines()) == 2
    for option in (["--scope", "food/drinks/*"], ["--tag", "hot"], ["--limit", "1", "--scope", "food/drinks"]):
        assert [line.split("\t")[3] for line in out("recall", "tea", *option).splitlines()] == ["tea with milk"]
    best = parsed("recall", "iced", "tea", "--explain")["results"][0]
    assert best["memory"]["content"] == "iced tea"
    assert best["explain"]
    assert "Nothing found." in omp("recall", "tea", "--tag", "x").stderr


def test_as_of_shows_what_held_then() -> None:
    remember("lives in Berlin", "--valid-from", "2020-01-01", "--valid-to", "2022-01-01")
    assert contents() == []
    assert contents("--as-of", "2021-01-01") == contents("--expired") == ["lives in Berlin"]
    assert out("recall", "Berlin", "--as-of", "2021-01-01T12:00Z")


def test_context_keeps_to_its_budget() -> None:
    for number in range(20):
        remember(f"Ann likes tea number {number}")
    assert "[1] " in out("context", "tea")
    assert 0 < parsed("context", "tea", "--budget", "80")["token_count"] <= 80


def test_list_goes_on_at_the_cursor() -> None:
    for name in ("one", "two", "three"):
        remember(name)
    first = omp("list", "--limit", "2")
    assert [line.split("\t")[2] for line in first.stdout.splitlines()] == ["three", "two"]
    assert contents("--cursor", first.stderr.split("--cursor ")[1].strip()) == ["one"]
    assert contents("--since", "1h") == ["three", "two", "one"]
    assert contents("--until", "1h") == []


def test_get_shows_every_field() -> None:
    id_ = remember("two\nlines", "--tag", "t")
    lines = dict(line.split("\t") for line in out("get", id_).splitlines())
    assert (lines["id"], lines["content"], lines["tags"]) == (id_, r"two\nlines", '["t"]')


def test_memory_of_another_user_is_not_there() -> None:
    id_ = remember("secret")
    for verb in ("get", "forget", "history"):
        assert "no memory has the id" in omp(verb, id_, "--user", "bob", code=1).stderr
    assert contents("--user", "bob") == []
    assert contents() == ["secret"]


def test_user_is_the_login_name_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_USER")
    monkeypatch.setenv("LOGNAME", "carol")
    assert parsed("remember", "x")["user_id"] == "carol"


def test_audit_shows_who_did_what() -> None:
    id_ = remember("x", "--scope", "s", "--app", "shell")
    omp("get", id_)
    assert [entry["action"] for entry in parsed("audit")["entries"]] == ["get", "add"]
    assert [line.split("\t")[1:] for line in out("audit", "--by", "shell").splitlines()] == [["shell", "add", id_, "s"]]


def test_forget_erases_one_memory() -> None:
    id_, _ = remember("x"), remember("y")
    assert out("forget", id_) == f"{id_}\n"
    assert contents() == ["y"]


@pytest.mark.parametrize(
    ("answer", "erased"),
    [("y\n", True), ("YES\n", True), ("maybe\ny\n", True), ("\n", False), ("n\n", False), ("", False), ("x", False)],
)
def test_forget_all_asks_first(answer: str, erased: bool) -> None:
    remember("x")
    done = omp("forget", "--all", stdin=answer, code=0 if erased else 1)
    assert "Erase all memories of ann" in done.stderr
    assert done.stderr.count("Please answer") == (answer[:1] in ("m", "x"))
    assert (contents() == []) is erased
    assert ("memories\t1\t0" in done.stdout.splitlines()) is erased


def test_forget_all_of_a_scope_leaves_the_rest() -> None:
    remember("x", "--scope", "a/b"), remember("y", "--scope", "c"), remember("z", "--user", "bob")
    receipt = parsed("forget", "--all", "--scope", "a/*", "--yes")
    assert (receipt["complete"], receipt["erased"]["memories"], receipt["scope"]) == (True, 1, "a/*")
    assert contents() + contents("--user", "bob") == ["y", "z"]


# Moving


def test_export_pipes_into_another_store(tmp_path: Path) -> None:
    remember("x", "--tag", "t"), remember("y", "--user", "bob")
    other = str(tmp_path / "other.db")
    lines = out("export", "--all-users")
    assert parsed("import", "--url", other, stdin=lines)["imported"] == 2
    assert out("list", "--url", other) == out("list")
    assert contents("--url", other, "--user", "bob") == ["y"]
    assert out("export").count("\n") == 2  # the header and Ann's own


def test_export_into_a_pipe_is_the_same_as_into_a_file(tmp_path: Path) -> None:
    remember(ESCAPES)
    omp("export", str(tmp_path / "out.jsonl"))
    line = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[1]
    assert "\u202e" in line
    assert run("export").stdout.splitlines()[1] == line


def test_exported_file_is_private_and_replaces_the_old_one_when_complete(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("old")
    remember("x")
    assert "user_id" in omp("export", str(file), "--user", "*", code=2).stderr
    assert (file.read_text(), [*tmp_path.glob("*.part")]) == ("old", [])
    assert parsed("export", str(file)) == {"file": str(file), "exported": 1}
    assert len(file.read_text(encoding="utf-8").splitlines()) == 2
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("conflict", "outcome"), [("skip", 0), ("overwrite", 0), ("duplicate", 1)])
def test_import_follows_the_policy(conflict: str, outcome: int) -> None:
    omp("import", stdin=JSON_LINE)
    report = parsed("import", "--conflict", conflict, stdin=JSON_LINE)
    assert [field for field, count in report.items() if count] == [
        {"skip": "skipped", "overwrite": "overwritten", "duplicate": "duplicated"}[conflict]
    ]
    assert len(contents()) == 1 + outcome


def test_long_import_tells_how_far_it_is_on_stderr_and_where_it_failed(tmp_path: Path) -> None:
    many, bad = tmp_path / "many.jsonl", tmp_path / "bad.jsonl"
    many.write_text("".join(JSON_LINE.replace("m1", f"m{number}") for number in range(5_000)))
    bad.write_text(JSON_LINE.replace("m1", "new") + "\n" * 500 + "junk\n")
    done = omp("import", str(many), str(bad), code=1)
    assert "read 5,000" in done.stderr
    assert f"{bad}: line 502: is not JSON" in done.stderr
    assert "1 memory before it went in" in done.stderr
    assert done.stdout == ""
    assert len(omp("export").stdout.splitlines()) == 5_002


# Called wrongly, and failing


@pytest.mark.parametrize(
    "args",
    [
        "nonsense",
        "list --nonsense",
        "remember",
        "remember -- ''",
        "remember x --confidence 2",
        "remember x --confidence much",
        "remember x --user *",
        "remember x --valid-from 2024-01-02 --valid-to 2024-01-01",
        "recall x --mode magic",
        "recall x --mode sideways --json",
        "recall x --limit 0",
        "list --since yesterday",
        "list --cursor junk",
        "changes --cursor junk",
        "changes --follow --limit 0",
        "list --scope a//b",
        "list --provider nonsense",
        "list --url ftp://x",
        "list --timeout -1",
        "context x --budget 0",
        "forget",
        "forget m1 --all",
        "forget m1 --scope a",
        "import --conflict guess",
        "migrate --schema x",
        "migrate --sql --schema Not;OK",
        "migrate --sql --partitions 1",
        "migrate --partitions 16",
        "list --schema x",
        "doctor extra",
    ],
)
def test_misuse_exits_with_2_and_says_why(args: str) -> None:
    if "--cursor" in args:
        remember("x")
    done = omp(*["" if arg == "''" else arg for arg in args.split()], code=2)
    assert done.stdout == ""
    assert "Error: " in done.stderr or '"invalid_request"' in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("get nope", "no memory has the id 'nope'"),
        ("list --url {root}/pyproject.toml", "not a database"),
        ("import {root}/nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("import {root}", "directory"),
        ("import {root}/pyproject.toml", "line 1"),
        ("export {root}/no/where.jsonl", "no such file"),
        ("recall x --mode vector", "embedder"),
        ("reembed", "embedder"),
    ],
)
def test_failure_exits_with_1_and_says_why(args: str, said: str) -> None:
    remember("of another", "--user", "bob")
    plain = omp(*args.format(root=ROOT).split(), code=1)
    assert plain.stderr.startswith("Error: ")
    assert (plain.stdout, said in plain.stderr) == ("", True), plain.stderr
    error = json.loads(omp(*args.format(root=ROOT).split(), "--json", code=1).stderr)["error"]
    assert said in error["message"]
    assert error["code"]


def test_bytes_that_are_not_utf8_are_refused() -> None:
    assert "not UTF-8" in omp("remember", "-", stdin=b"\xff", code=2).stderr
    assert "line 2: is not UTF-8" in omp("import", stdin=JSON_LINE.encode() + b"\xff\n", code=1).stderr


def test_no_command_shows_help_and_version_is_told() -> None:
    assert "Commands:" in omp(code=2).output
    assert re.fullmatch(r"openmem \d+\.\d+\.\d+\S*\n", out("--version"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["list", "export", "--help"])
def test_full_disk_behind_stdout_is_an_error_without_a_traceback(command: str) -> None:
    remember("x")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*start(), command], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.lower()) == (1, "error: no space left on device\n")


def test_reader_that_goes_away_is_no_error_worth_a_word() -> None:
    omp("import", stdin="".join(JSON_LINE.replace("m1", f"m{number}") for number in range(2_000)))
    process = subprocess.Popen([*start(), "export", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b'{"format"')
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_interrupt_ends_quietly_and_keeps_whole_batches_only(tmp_path: Path) -> None:
    remember("of another", "--user", "bob")
    first, pipe = tmp_path / "first.jsonl", subprocess.PIPE
    first.write_text(JSON_LINE)
    lines = "".join(JSON_LINE.replace("m1", f"n{number}") for number in range(4_999))
    command = [*start(), "import", str(first), "-"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        _write(process.stdin, lines)
        assert process.stderr is not None
        assert process.stderr.readline() == "read 5,000\n"  # the batch lacks one line, and it waits for that
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().strip() == ""
        assert process.wait() == 130
    assert out("export").count("\n") == 1 + 1 + 4_500


def _write(stream: IO[str] | None, text: str) -> None:
    assert stream is not None
    stream.write(text)
    stream.flush()


# On a terminal


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_terminal_gets_tables_without_the_control_characters_of_memories() -> None:
    id_ = remember(ESCAPES)
    shown = on_terminal("list")
    assert re.match(r"\x1b\[2mid +", shown)
    assert id_[-8:] in shown
    assert "scope" not in shown  # no memory has one
    flat = re.sub(r"\s+", " ", shown)
    assert r"red \x1b[31m, \x9b31m, \u202egnirts, [bold]two[/bold]\nlines" in flat
    assert not {"\x1b[31m", "\u009b", "\u202e"} & set(re.findall(r"\x1b\[\d+m|\u009b|\u202e", shown))
    assert on_terminal("export").count(r"\u202e") == 1
    assert r"\x1b[31m" in on_terminal("get", id_)


def on_terminal(*args: str) -> str:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([*start(), *args], stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = all_of(ours)
    assert process.wait() == 0
    return shown


@given(st.text(st.characters() | st.sampled_from(ESCAPES)))
def test_printed_text_has_no_risky_characters_and_json_stays_the_same(text: str) -> None:
    risky = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
    assert not risky.search(output.printable(text))
    assert not re.search(r"[\n\t]", output.one_line(text))
    dumped = output.dump({"text": text})
    assert not risky.search(dumped)
    assert json.loads(dumped) == {"text": text}
