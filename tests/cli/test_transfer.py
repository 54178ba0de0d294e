"""`omp copy` between the stores of our own: everything arrives, whatever happens, and it says what it does."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from platformdirs import user_config_path

from openmem import Memory
from openmem.cli.transfer import Ends, default_notes, fingerprint
from tests.copy_process import copy_killed_twice, done_of, wait_for
from tests.sample_memories import TOTAL, USERS, SampleMemories, assert_searches, fill
from tests.shell import omp, start
from tests.terminal import Terminal, left_of

Source = tuple[Path, SampleMemories]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """The file of a store with 1,000 memories, and what they are."""
    path = tmp_path_factory.mktemp("full") / "full.db"
    with Memory(url=path, embedder="none") as memory:
        fill(memory)
        return path, SampleMemories(memory)


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: None) -> None:
    """Have the notes, too, in the folder of the test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OMP_URL")


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """The file of a store with three memories of Ann and one of Bob."""
    path = tmp_path / "few.db"
    with Memory(url=path, embedder="none") as memory:
        memory.add_many([{"content": f"fact {number}"} for number in range(3)], user_id="ann")
        memory.add(content="swims", user_id="bob")
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target.db"


def copy(source: object, target: object, *more: str, code: int = 0) -> Any:
    return omp("copy", "--from", str(source), "--to", str(target), *more, code=code)


def contents(place: object, user: str = "ann") -> list[str]:
    with Memory(url=str(place), embedder="none") as memory:
        return sorted(record.content for record in memory.list(user).items)


def outcome(done: Any) -> dict[str, str]:
    return dict(line.split("\t") for line in done.stdout.splitlines())


# Everything arrives


AT_LENGTH = ("sqlite to postgres", "postgres to sqlite")
WAYS = ["sqlite to sqlite", *(pytest.param(way, marks=pytest.mark.long) for way in AT_LENGTH)]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, full: Source, target: Path) -> Iterator[tuple[str, str]]:
    path, to = str(full[0]), str(target)
    if request.param == "sqlite to sqlite":
        yield path, to
        return
    url = request.getfixturevalue("postgres_url")
    if request.param == "sqlite to postgres":
        yield path, url
        return
    with Memory(url=url, embedder="none") as memory, Memory(url=path, embedder="none") as old:
        old.transfer(memory)
    yield url, to


def test_everything_arrives_though_the_copy_is_killed_twice(way: tuple[str, str], full: Source, tmp_path: Path) -> None:
    args = ["--from", way[0], "--to", way[1], "--batch", "50"]
    report = copy_killed_twice(args, tmp_path / "notes", {}, TOTAL)
    assert (report["memories"], report["verified"]) == (TOTAL, TOTAL)
    with Memory(url=way[1], embedder="none") as memory:
        full[1].assert_holds(SampleMemories(memory))
        assert_searches(memory)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_ctrl_c_says_in_plain_words_where_the_next_run_goes_on(full: Source, target: Path, tmp_path: Path) -> None:
    notes, pipe = tmp_path / "deep" / "notes", subprocess.PIPE
    args = ["copy", "--from", str(full[0]), "--to", str(target), "--state", str(notes), "--batch", "50"]
    with subprocess.Popen([*start(), *args], stdout=pipe, stderr=pipe) as process:
        wait_for(notes, 100, process)
        process.send_signal(signal.SIGINT)
        out, said = (text.decode() for text in process.communicate())
    noted = done_of(notes)
    assert (process.returncode, out) == (130, "")
    assert noted >= 100
    assert said.splitlines()[-1] == f"Stopped after {noted} memories. The same command goes on there."
    assert "Traceback" not in said
    done = omp(*args)
    assert f"Going on after {noted} memories." in done.stderr
    found = outcome(done)
    assert int(found["imported"]) + int(found["skipped"]) == TOTAL - noted
    assert (found["verified"], notes.exists()) == (str(TOTAL), False)


def test_failure_in_the_middle_keeps_notes_where_no_file_is_named(few: Path, target: Path, tmp_path: Path) -> None:
    with Memory(url=target, embedder="none") as memory:
        memory.list("ann")
    with sqlite3.connect(target) as connection:
        connection.execute(
            "create trigger full before insert on memories when new.content = 'swims' "
            "begin select raise(fail, 'no more'); end"
        )
    failed = copy(few, target, "--batch", "1", code=1).stderr.splitlines()
    assert failed[0] == "Stopped after 3 memories. The same command goes on there."
    assert failed[1].startswith("Error: ")
    [notes] = tmp_path.rglob("*.json")
    assert "Going on" not in copy(few, target, "--dry-run").stderr
    with sqlite3.connect(target) as connection:
        connection.execute("drop trigger full")
    done = copy(few, target, "--batch", "1")
    assert (outcome(done)["imported"], outcome(done)["verified"]) == ("1", "4")
    assert not notes.exists()


# What it says


def test_result_is_rows_and_one_sentence(few: Path, target: Path) -> None:
    done = copy(few, target)
    assert outcome(done) == {
        **{"imported": "4", "overwritten": "0", "skipped": "0", "left behind": "0"},
        **{"verified": "4", "missing": "0", "different": "0"},
    }
    assert done.stderr == "All 4 memories found again in sqlite, field by field.\n"
    assert outcome(copy(few, target))["skipped"] == "4"


def test_json_is_the_report_and_nothing_else(few: Path, target: Path) -> None:
    done = copy(few, target, "--json")
    report = json.loads(done.stdout)
    assert (report["source"], report["target"], report["memories"], report["verified"]) == ("sqlite", "sqlite", 4, 4)
    assert done.stderr == ""


def test_dry_run_writes_nothing_and_keeps_no_notes(few: Path, target: Path, tmp_path: Path) -> None:
    done = copy(few, target, "--dry-run", "--state", str(tmp_path / "notes"))
    assert done.stdout == "4 memories would be copied from sqlite to sqlite.\n"
    assert contents(target) == []
    assert not (tmp_path / "notes").exists()


def test_audit_log_says_which_app_copied(few: Path, target: Path) -> None:
    copy(few, target, "--app", "mover")
    with Memory(url=target, embedder="none") as memory:
        assert {entry.app for entry in memory.audit("ann")} == {"mover"}


def test_only_one_users_memories_on_request(few: Path, target: Path) -> None:
    assert outcome(copy(few, target, "--user", "ann"))["imported"] == "3"
    assert (len(contents(target)), contents(target, "bob")) == (3, [])


def test_difference_is_told_with_exit_code_1_and_overwritten_on_request(few: Path, target: Path) -> None:
    copy(few, target)
    with Memory(url=target, embedder="none") as memory:
        [changed, *_] = memory.list("ann").items
        memory.update(changed.id, content="changed")
    done = copy(few, target, code=1)
    assert (outcome(done)["different"], outcome(done)["verified"]) == ("1", "3")
    assert f"Error: not everything is in sqlite as in sqlite: {changed.id}\n" in done.stderr
    assert "changed" in contents(target)
    assert outcome(copy(few, target, "--conflict", "overwrite"))["overwritten"] == "4"
    assert contents(target) == contents(few)


def test_missing_memory_is_told_with_exit_code_1(few: Path, target: Path) -> None:
    for file, content in ((few, "mine"), (target, "another's")):
        with Memory(url=file, embedder="none") as memory:
            memory.add(content=content, user_id="ann", key="same key")
    done = copy(few, target, "--json", code=1)
    assert (json.loads(done.stdout)["missing"], json.loads(done.stdout)["skipped"]) == (1, 1)


def test_long_copy_tells_rate_and_time_left(full: Source, target: Path) -> None:
    said = copy(full[0], target).stderr.splitlines()
    assert said[0] == "looked at 1,000"
    assert re.fullmatch(r"copied 1,000 of 1,000, [\d,]+ a second, 0:00:00 left", said[1])
    assert re.fullmatch(r"compared 1,000 of 1,000, [\d,]+ a second, 0:00:00 left", said[2])


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_terminal_shows_a_bar_for_each_stage_and_a_table(few: Path, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    drawn = terminal.drawn_by("omp copy --from few.db --to target.db --embedder none")
    bars = re.findall(r"(looked at|copied|compared) ━+ +(\d+)/(\d+|\?)", drawn)
    assert {("looked at", "4", "?"), ("copied", "4", "4"), ("compared", "4", "4")} <= {*bars}
    # All that is left in the end is the table and a sentence.
    left = left_of(drawn).split("\n")
    assert re.fullmatch(r"outcome +memories", left[0].strip())
    assert re.fullmatch(r"imported +4", left[1].strip())
    assert left[-2:] == ["All 4 memories found again in sqlite, field by field.", ""]


# What is wrong


def test_notes_that_the_source_no_longer_knows_start_over(few: Path, target: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    args = ["copy", "--from", str(few), "--to", str(target), "--state", str(notes), "--batch", "1"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("openmem.cli.transfer_checkpoint.Notes.forget", lambda self: None)
        omp(*args)
    written = json.loads(notes.read_text())
    written["progress"]["cursor"] = "of another version"
    notes.write_text(json.dumps(written))
    done = omp(*args)
    assert "Going on after 3 memories." in done.stderr
    assert "starting over" in done.stderr
    assert outcome(done)["skipped"] == "4"
    assert not notes.exists()


@pytest.mark.parametrize("text", ["my diary", "{}", "[]", '{"copy": "x", "progress": {"stage": 3}}'])
def test_file_that_holds_no_notes_is_left_alone(few: Path, target: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "notes").write_text(text)
    done = copy(few, target, "--state", str(tmp_path / "notes"), code=2)
    assert "holds no notes of a copy" in done.stderr
    assert (tmp_path / "notes").read_text() == text
    assert not target.exists()


def test_notes_of_another_copy_are_refused(few: Path, target: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("openmem.cli.transfer_checkpoint.Notes.forget", lambda self: None)
        copy(few, target, "--state", str(notes), "--batch", "1")
    assert "another copy" in copy(few, tmp_path / "third.db", "--state", str(notes), code=2).stderr
    assert "another copy" in copy(few, target, "--state", str(notes), "--user", "ann", code=2).stderr
    assert "Going on" in copy(few, target, "--state", str(notes)).stderr


@pytest.mark.parametrize(
    ("end", "text", "problem"),
    [
        ("from", "{", "is not JSON"),
        ("to", "[]", "must hold an object"),
        ("to", '{"colour": "red"}', "no option 'colour'"),
        ("from", b"\xff", "is not JSON"),
        ("to", None, "no such file"),
    ],
)
def test_bad_file_of_options_is_said(
    few: Path, target: Path, tmp_path: Path, end: str, text: str | bytes | None, problem: str
) -> None:
    file = tmp_path / "options.json"
    if text is not None:
        file.write_bytes(text.encode() if isinstance(text, str) else text)
    done = copy(few, target, f"--{end}-options", str(file), code=1 if text is None else 2)
    assert problem in done.stderr.replace("\n", " ")
    assert not target.exists()


def test_options_reach_the_store(few: Path, postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "options.json").write_text('{"schema": "elsewhere"}')
    copy(few, postgres_url, "--to-options", str(tmp_path / "options.json"))
    with Memory(url=postgres_url, embedder="none", schema="elsewhere") as memory:
        assert len(memory.list("ann").items) == 3


@pytest.mark.parametrize(
    ("source", "to", "problem"),
    [
        ("missing.db", "t.db", "there is no file"),
        ("sqlite:///missing.db", "t.db", "there is no file"),
        ("few.db", "nonsense", "there is no provider 'nonsense'"),
        ("nonsense", "t.db", "there is no provider 'nonsense'"),
        ("nowhere://x", "t.db", "scheme"),
        ("few.db", "few.db", "same location"),
        ("few.db", "sqlite:///./few.db", "same location"),
        ("few.db", "", "url"),
    ],
)
def test_wrong_location_is_said_and_nothing_is_made(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, to: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = omp("copy", "--from", source, "--to", to, code=2)
    assert problem in done.stderr
    assert not (tmp_path / "t.db").exists()
    assert not (tmp_path / "missing.db").exists()


def test_password_is_in_no_output_and_in_no_notes(few: Path, target: Path, postgres_url: str, tmp_path: Path) -> None:
    url = postgres_url.replace("//postgres@", "//postgres:hunter2@")
    assert "hunter2" in url
    notes = tmp_path / "notes"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("openmem.cli.transfer_checkpoint.Notes.forget", lambda self: None)
        done = copy(few, url, "--state", str(notes), "--batch", "1", "--conflict", "skip")
    again = copy(url.replace("hunter2", "hunter3"), target, "--json")
    lost = copy(few, "postgresql://u:hunter2@127.0.0.1:1/d?password=hunter2", code=1)
    said = "".join([done.output, done.stderr, again.output, lost.output, lost.stderr, notes.read_text()])
    assert "hunter" not in said
    assert json.loads(notes.read_text())["progress"]["done"] == 3


def test_notes_belong_to_the_place_whatever_its_password() -> None:
    to = Ends(from_="a.db", to="postgresql://ann:one@h/d?password=one&x=1")
    assert fingerprint(to) == fingerprint(Ends(from_="./a.db", to="postgresql://ann:two@h/d?password=two&x=1"))
    others = [Ends(from_="a.db", to=place) for place in ("postgresql://bob:one@h/d", "postgresql://ann:one@i/d")]
    assert len({fingerprint(each) for each in (to, *others)}) == 3


def test_fixture_is_what_the_tests_say(full: Source) -> None:
    assert (len(full[1].memories), {user for user, _ in full[1].memories}) == (TOTAL, set(USERS))


def test_notes_of_a_copy_are_in_the_users_folder_and_those_of_earlier_versions_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = Ends(from_="a.db", to="b.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # which counted once, against its specification
    today = default_notes(ends)
    assert today == user_config_path("openmem", appauthor=False, roaming=True) / "copies" / today.name
    earlier = Path(typer.get_app_dir("openmem"), "copies", today.name)
    assert earlier != today
    for path, found in ((earlier, earlier), (today, today)):
        path.parent.mkdir(parents=True)
        path.touch()
        assert default_notes(ends) == found
