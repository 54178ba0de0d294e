"""`omp changes`: the feed of changes for people, pipes and programs, page by page and as they come."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from openmem import Memory
from tests.shell import omp, out, parsed, remember

pytestmark = pytest.mark.usefixtures("shell")


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def named_cursor(said: str) -> str:
    return said.split("--cursor ")[1].strip()


def test_changes_are_shown_in_their_order_without_content() -> None:
    tea = remember("drinks tea", "--scope", "food", "--app", "bot")
    omp("update", tea, "drinks coffee")
    omp("forget", tea)
    remember("hers", "--user", "bob")
    shown = omp("changes")
    assert [row[1:] for row in rows(shown.stdout)] == [
        ["add", tea, "food", "1", "bot"],
        ["update", tea, "food", "2", "cli"],
        ["delete", tea, "food", "2", "cli"],
    ]
    everyone = rows(out("changes", "--all-users"))
    assert sorted(row[6] for row in everyone) == ["ann", "ann", "ann", "bob"]
    omp("forget", "--all", "--yes")
    [erased] = rows(out("changes"))
    assert erased[1:] == ["delete_all", "", "", "", "cli"]


def test_the_end_says_the_cursor_to_go_on_with() -> None:
    ids = [remember(f"note {number}") for number in range(3)]
    first = omp("changes", "--limit", "2")
    assert first.stderr.startswith("There are more: ")
    second = omp("changes", "--cursor", named_cursor(first.stderr))
    assert [row[2] for row in rows(first.stdout + second.stdout)] == ids
    last = omp("changes", "--cursor", named_cursor(second.stderr))
    assert (last.stdout, last.stderr.splitlines()[0]) == ("", "No changes.")
    later = remember("later")
    assert [row[2] for row in rows(out("changes", "--cursor", named_cursor(last.stderr)))] == [later]


def test_json_is_a_page() -> None:
    id_ = remember("note", "--scope", "s")
    remember("another")
    page = parsed("changes", "--limit", "1")
    assert {**page["items"][0], "timestamp": 0, "cursor": 0} == {
        **{"action": "add", "user_id": "ann", "memory_id": id_, "scope": "s", "version": 1, "app": "cli"},
        **{"timestamp": 0, "cursor": 0},
    }
    assert page["has_more"]
    rest = parsed("changes", "--cursor", page["next_cursor"])
    assert (len(rest["items"]), rest["has_more"]) == (1, False)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch, store_url: str) -> Callable[..., None]:
    """Let pauses of `--follow` take no time: in each something is stored, and Ctrl-C ends the one after the last."""

    def plan(*contents: str) -> None:
        left = [*contents]

        def pause(seconds: float) -> None:
            if not left:
                raise KeyboardInterrupt
            with Memory(url=store_url, embedder="none", app="other") as memory:
                memory.add(content=left.pop(0), user_id="ann")

        monkeypatch.setattr("openmem.cli.changes.sleep", pause)

    return plan


def test_new_changes_are_shown_as_they_come_until_ctrl_c(between: Callable[..., None]) -> None:
    for number in range(3):
        remember(f"note {number}")
    between("later", "last")
    done = omp("changes", "--follow", "--limit", "2", code=130)
    assert [row[1:2] + row[4:] for row in rows(done.stdout)] == [["add", "1", "cli"]] * 3 + [["add", "1", "other"]] * 2
    assert parsed("changes", "--cursor", named_cursor(done.stderr))["items"] == []


def test_each_line_that_follows_is_json_and_says_where_to_go_on(between: Callable[..., None]) -> None:
    remember("note")
    between("later")
    done = omp("changes", "--follow", "--json", code=130)
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["app"], second["app"], done.stderr) == ("cli", "other", "")
    assert [item["memory_id"] for item in parsed("changes", "--cursor", first["cursor"])["items"]] == [
        second["memory_id"]
    ]


def test_lines_that_follow_have_short_ids_on_a_terminal(
    between: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = remember("note", "--scope", "a")
    between()
    monkeypatch.setattr("openmem.cli.output.on_terminal", lambda: True)
    [line] = omp("changes", "--follow", code=130).stdout.splitlines()
    assert line.split()[2:] == ["add", id_[-8:], "a", "1", "cli"]
