"""Reports of `omp` on the store, on itself, and on what is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from scripts import cli_help
from typer.testing import CliRunner

from openmem import Memory, redacted_url
from openmem.cli.app import app
from openmem.cli.doctor import EXTRAS
from openmem.cli.options import moment
from tests.old_rows import age
from tests.openai_stub import OpenAIStub, fault
from tests.shell import COMMANDS, ESCAPES, GROUPS, JSON_LINE, ROOT, omp, out, parsed, remember, run

pytestmark = pytest.mark.usefixtures("shell")


# The store itself


def with_embedder(stub: OpenAIStub, *args: str, code: int = 0) -> Any:
    environment = {"OMP_EMBEDDER": "openai:small", "OPENAI_BASE_URL": stub.url}
    done = CliRunner().invoke(app, args, env=environment, prog_name="omp")
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_json_on_request(command: str, store_url: str, tmp_path: Path) -> None:
    id_ = remember(ESCAPES)
    args = {"get": [id_], "history": [id_], "forget": [id_], "recall": ["red"], "context": ["red"], "remember": ["x"]}
    args["update"] = [id_, "y"]
    if command == "reembed":
        with OpenAIStub() as stub:
            assert with_embedder(stub, "reembed", "--json").stdout.startswith("{")
        return
    if command == "copy":
        args["copy"] = ["--from", store_url, "--to", str(tmp_path / "copy.db")]
    done = omp(command, *args.get(command, []), "--json", stdin=JSON_LINE)
    documents = done.stdout.splitlines() if command == "export" else [done.stdout]
    assert all(isinstance(json.loads(document), dict) for document in documents)
    assert done.stderr == ""


def test_doctor_finds_another_model_and_reembed_repairs_it(store_url: str) -> None:
    with OpenAIStub() as stub:
        with Memory(url=store_url, embedder=None) as memory:
            memory.add(content="x", user_id="ann")
        assert with_embedder(stub, "reembed").stdout == "1 of 1 memory have the model small\n"
        assert json.loads(with_embedder(stub, "doctor", "--json").stdout)["embedder"] == "small"
        other = {"OMP_EMBEDDER": "openai:large", "OPENAI_BASE_URL": stub.url}
        done = CliRunner().invoke(app, ["doctor", "--json"], env=other)
        found = json.loads(done.stdout)
        assert (done.exit_code, found["ok"]) == (1, False)
        assert "embedded with small, but the embedder is large" in found["problems"][0]["problem"]
        assert "omp reembed" in found["problems"][0]["remedy"]


def test_store_filled_before_there_was_an_embedder_is_noticed_and_repaired() -> None:
    remember("Ann likes tea")
    with OpenAIStub() as stub:
        done = with_embedder(stub, "doctor", code=1)
        assert "1 of 1 memories have no vector of the embedder small" in done.stderr
        assert "omp reembed" in done.stderr
        with_embedder(stub, "reembed")
        assert with_embedder(stub, "doctor").stderr == ""


def test_recall_of_words_only_names_the_way_to_vectors() -> None:
    remember("Ann likes tea")
    with OpenAIStub() as stub:
        found = run("recall", "tea", env={**os.environ, "OMP_EMBEDDER": "openai:small", "OPENAI_BASE_URL": stub.url})
    assert "Ann likes tea" in found.stdout
    assert "omp reembed" in found.stderr


def test_doctor_probes_the_embedder_on_request() -> None:
    remember("x", "--user", "bob")
    with OpenAIStub() as stub:
        with_embedder(stub, "reembed")
        assert "the embedder works" in with_embedder(stub, "doctor", "--probe").stdout
        stub.faults.append(fault(401, {"error": {"message": "bad key"}}))
        assert "Error: " in with_embedder(stub, "doctor", "--probe", code=1).stderr


def test_healthy_doctor_says_where_the_store_is_and_what_is_there(store_path: Path) -> None:
    remember("x")
    facts = dict(line.split("\t") for line in out("doctor").splitlines())
    assert (facts["provider"], facts["healthy"], facts["store path"]) == ("sqlite", "yes", str(store_path))
    assert (facts["store memories"], facts["store users"]) == ("1", "1")
    assert facts["environment"] == "OMP_EMBEDDER, OMP_URL, OMP_USER"
    assert "cli yes" in facts["extras"]
    assert facts["embedder"].startswith("none")


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["--url", "/no/such/folder/x.db"], "there is no store at /no/such/folder/x.db"),
        (["--url", str(ROOT / "pyproject.toml")], "not a database"),
        (["--provider", "nonsense"], "no provider 'nonsense'"),
        (["--embedder", "openai:x"], "needs a key"),
        (["--url", "nowhere://ann:hunter2@h/db?password=hunter2"], "scheme"),
    ],
)
def test_sick_doctor_exits_with_1_and_says_what_to_do(
    args: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    remember("x")
    done = omp("doctor", *args, code=1)
    assert problem in done.stderr
    assert "To do: " in done.stderr
    assert "hunter2" not in done.output
    assert "openmem\t" in done.stdout
    assert ("store path" in done.stdout) is ("--embedder" in args)  # the store is looked at all the same


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:1/db?password=p", "postgresql://h:1/db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("a@b.db", "a@b.db"),
    ],
)
def test_url_is_shown_without_secrets(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


def test_migrate_prints_the_script_or_says_that_the_file_does_it_itself(store_path: Path) -> None:
    assert "create extension if not exists vector" in out("migrate", "--sql")
    assert "create schema if not exists other" in parsed("migrate", "--sql", "--schema", "other")["sql"]
    assert not store_path.exists()
    assert "migrates its file when it opens it" in out("migrate")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-01T09:30+02:00", datetime(2024, 5, 1, 7, 30, tzinfo=UTC)),
        ("2024-05-01T09:30Z", datetime(2024, 5, 1, 9, 30, tzinfo=UTC)),
        ("2024-05-01", datetime(2024, 5, 1).astimezone(UTC)),
    ],
)
def test_time_is_understood(text: str, expected: datetime) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(("text", "ago"), [("30m", 1_800), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)])
def test_time_ago_is_understood(text: str, ago: int) -> None:
    assert abs(datetime.now(UTC) - timedelta(seconds=ago) - moment(text)) < timedelta(seconds=5)


@pytest.mark.parametrize("text", ["", "soon", "7y", "999999w", "2024-13-01", "0001-01-01", "-1d"])
def test_text_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time"):
        moment(text)


# Help, and what it costs


def test_page_shows_the_help_of_every_command() -> None:
    page = cli_help.PAGE.read_text(encoding="utf-8")
    assert cli_help.filled(page) == page, "run: python -m scripts.cli_help"
    assert re.findall(r"^<!-- help: ([a-z]+) -->$", page, re.MULTILINE) == ["omp", *COMMANDS, *GROUPS]


def test_help_loads_nothing_but_what_the_extra_brings() -> None:
    code = "import sys; from openmem.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, cwd=ROOT / "src")
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert not {"pydantic", "numpy", "httpx", "sqlite3", "asyncio", "rich.console", "openmem._sync"} & loaded


def test_command_without_its_extra_says_what_to_install() -> None:
    # -S leaves out everything that was installed.
    code = "from openmem.cli import main; main()"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT / "src")
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'openmem-sdk[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_knows_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(project["optional-dependencies"]) - {"all"} == set(EXTRAS)


def test_maintain_removes_what_is_older_than_asked_for(store_path: Path) -> None:
    made = parsed("remember", "tea")["id"]
    with Memory(url=str(store_path), embedder="none") as memory:
        for number in range(4):
            memory.update(made, content=f"tea {number}")
    age(str(store_path), 40)
    planned = parsed("maintain", "--audit-days", "30", "--versions", "1", "--dry-run")
    assert (planned["entries"], planned["versions"], planned["dry_run"]) == (5, 3, True)
    shown = out("maintain", "--audit-days", "30", "--versions", "1", "--dry-run")
    assert shown == "audit entries: 5 would be removed\nearlier versions: 3 would be removed\n"
    lines = out("maintain", "--audit-days", "30", "--versions", "1").splitlines()
    assert lines[:2] == ["audit entries: 5 removed", "earlier versions: 3 removed"]
    assert lines[2].endswith(f"bytes before, {store_path.stat().st_size:,} after")
    assert [state["version"] for state in parsed("history", made)["items"]] == [4]


def test_maintain_without_limits_removes_nothing_and_takes_those_of_the_environment(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = parsed("remember", "tea")["id"]
    with Memory(url=str(store_path), embedder="none") as memory:
        memory.update(made, content="green tea")
    assert (parsed("maintain")["versions"], len(parsed("history", made)["items"])) == (0, 1)
    monkeypatch.setenv("OMP_VERSIONS", "0")
    parsed("maintain")
    assert parsed("history", made)["items"] == []
    assert "versions must be" in omp("maintain", "--versions", "-1", code=2).stderr
