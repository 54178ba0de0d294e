"""Runs the command `omp`, inside this process or as one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from openmem.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [  # in the order of the help
    *("remember", "recall", "context", "list", "get", "update", "forget", "history", "audit", "changes"),
    *("scopes", "tags", "users"),
    *("export", "import", "copy", "reembed", "migrate", "maintain", "doctor"),
]
GROUPS = ["keys", "hooks"]  # of commands
ESCAPES = "red \x1b[31m, \u009b31m, \u202egnirts, [bold]two[/bold]\nlines"
JSON_LINE = '{"memory":{"id":"m1","content":"c","user_id":"ann","created_at":"2024-01-01T00:00:00Z"}}\n'


def omp(*args: str, stdin: str | bytes | None = None, code: int = 0) -> Any:
    """Run the command inside this process and return what came out."""
    done = CliRunner().invoke(app, args, input=stdin, prog_name="omp")
    assert done.exit_code == code, (done.output, done.exception)
    return done


def out(*args: str, **more: Any) -> str:
    return str(omp(*args, **more).stdout)


def parsed(*args: str, **more: Any) -> Any:
    return json.loads(out(*args, "--json", **more))


def remember(*args: str) -> str:
    return out("remember", *args).strip()


def run(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return subprocess.run([*start(), *args], capture_output=True, text=True, encoding="utf-8", **more)


def start() -> list[str]:
    return [sys.executable, "-m", "openmem.cli"]


SEVERAL = """
import json, sys
from openmem.cli import main

for sys.argv[1:] in json.loads(sys.argv[1]):
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print(end=chr(12), flush=True)
"""
"""Runs commands one after the other, each followed by a form feed: to start takes longer than most commands do."""


def start_several(*commands: Sequence[str]) -> list[str]:
    """Return what runs commands in one process, until one of them fails."""
    return [sys.executable, "-c", SEVERAL, json.dumps(commands)]


def contents(*args: str) -> list[str]:
    return [item["content"] for item in parsed("list", *args)["items"]]
