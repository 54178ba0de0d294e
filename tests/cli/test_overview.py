"""`omp scopes`, `omp tags` and `omp users`: what there is, for people, pipes and programs."""

from __future__ import annotations

import pytest

from tests.shell import omp, out, parsed, remember

pytestmark = pytest.mark.usefixtures("shell")


def fill() -> None:
    for number, scope in enumerate(("coding/a", "coding/b", None)):
        options = ["--scope", scope] if scope else []
        remember(f"note {number}", *options, "--tag", "all", "--tag", f"t{number}")
    omp("remember", "hers", "--user", "bob")


def test_scopes_are_shown_with_counts() -> None:
    fill()
    rows = [line.split("\t") for line in out("scopes").splitlines()]
    assert [row[:4] for row in rows] == [
        ["", "1", "0", "0"],
        ["coding/a", "1", "0", "0"],
        ["coding/b", "1", "0", "0"],
    ]
    assert [line.split("\t")[:2] for line in out("scopes", "--depth", "1", "--prefix", "coding").splitlines()] == [
        ["coding", "2"]
    ]
    assert [scope["current"] for scope in parsed("scopes")["scopes"]] == [1, 1, 1]


def test_tags_are_shown_by_how_many_have_them() -> None:
    fill()
    assert out("tags").splitlines() == ["all\t3", "t0\t1", "t1\t1", "t2\t1"]
    assert parsed("tags", "--scope", "coding/a") == {"tags": [{"tag": "all", "count": 1}, {"tag": "t0", "count": 1}]}


def test_users_are_shown_page_by_page() -> None:
    fill()
    whole = [line.split("\t")[0] for line in out("users").splitlines()]
    assert "bob" in whole
    assert len(whole) == 2
    first = omp("users", "--limit", "1")
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = omp("users", "--limit", "1", "--cursor", cursor)
    assert [line.split("\t")[0] for line in (first.stdout + second.stdout).splitlines()] == whole
    assert [user["user_id"] for user in parsed("users", "--prefix", "bo")["items"]] == ["bob"]


def test_nothing_is_said_where_there_is_nothing() -> None:
    remember("note")
    for command, said in ((("scopes", "--user", "eve"), "No memories."), (("tags",), "No tags.")):
        done = omp(*command)
        assert (done.stdout, done.stderr) == ("", f"{said}\n")
    assert omp("users", "--prefix", "eve").stderr == "No users.\n"
