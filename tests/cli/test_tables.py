"""Lists can be read on terminals from 40 to 200 columns, and ids can be typed as they are shown there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rich.cells import cell_len

from openmem import Memory
from openmem.cli.short_ids import shortened
from openmem.cli.tables import is_table
from tests.narrow_terminals import COMMANDS, LONG, PAGE, blocks, fill, filled, on_terminal, on_terminal_each
from tests.shell import omp, out, parsed, remember

pytestmark = [
    pytest.mark.usefixtures("shell"),
    pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal"),
]


@pytest.mark.parametrize("width", [40, 47, 60, 72, 80, 100, 120, 160, 200])
def test_a_long_memory_is_readable_at_every_width(width: int, tmp_path: Path) -> None:
    assert len(LONG) == 108
    fill(tmp_path / "notes.db")
    shown = on_terminal_each(width, *COMMANDS.values(), path=tmp_path / "notes.db")
    assert len(shown) == len(COMMANDS) == 2
    for text in shown:
        check_readable(text.splitlines(), width)


def check_readable(lines: list[str], width: int) -> None:
    text = " ".join(" ".join(lines).split())
    assert all(cell_len(line) <= width for line in lines)
    # It takes a few lines, each of which holds several words, and nothing of it is cut.
    about = [line for line in lines if set(line.split()) & set(LONG.split())]
    assert len(about) <= -(-len(LONG) // 30) + 1
    for word in {*LONG.split(), "coding/preferences", "editor,", "appearance"}:
        assert word in text
    assert len(lines) <= 12


def test_page_shows_what_terminals_show(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    fill(tmp_path / "notes.db")
    assert filled(page, tmp_path / "notes.db") == page, "run: python -m tests.narrow_terminals"
    assert {width for width, _ in blocks(page)} == {40, 60, 80, 120}


def test_words_of_any_width_fill_no_more_than_the_line(tmp_path: Path) -> None:
    with Memory(url=tmp_path / "wide.db", embedder="none") as memory:
        memory.add(content="安住在里斯本" * 20, user_id="ann", scope="a" * 60, tags=["生活" * 20])
        memory.add(content="x" * 300, user_id="ann")
    for width in (40, 80, 200):
        shown = on_terminal(width, "list", path=tmp_path / "wide.db")
        assert max(map(cell_len, shown.splitlines())) <= width
        assert shown.count("x") == 300


def test_a_table_is_shown_where_its_texts_have_room() -> None:
    names, rows = ("id", "memory", "scope"), [("12345678", "m" * 108, "s" * 18)]
    assert next(width for width in range(40, 200) if is_table(names, rows, width)) == 8 + 18 + 4 + 40
    assert is_table(names, [("12345678", "short", "s")], 40)


# Short ids


def test_ids_are_as_short_as_tells_them_apart() -> None:
    first, second = "mem_01M8F037K8YBZP6Z5NT5A1X5YA", "mem_01M8F037K8YBZP6Z5NA5A1X5YA"
    assert shortened([first]) == ["5A1X5YA".rjust(8, "T")]
    assert shortened([first, second]) == ["T5A1X5YA", "A5A1X5YA"]
    assert shortened([first, second.replace("NA5A", "NT5A").replace("6Z", "7Z")]) == ["6Z5NT5A1X5YA", "7Z5NT5A1X5YA"]
    assert shortened(["my-own-name-of-a-memory", "m1"]) == ["my-own-name-of-a-memory", "m1"]
    assert shortened(["3f0c5b52-5a5e-4f1c-9f06-0d9a3c1b2e4f", first]) == ["3c1b2e4f", "T5A1X5YA"]


@pytest.mark.parametrize("command", ["get", "history", "update", "forget"])
def test_the_end_of_an_id_stands_for_the_id(command: str) -> None:
    id_, other = remember("one"), remember("two")
    args = ["--tag", "t"] if command == "update" else []
    for end in (id_[-8:].lower(), f"…{id_[-10:]}"):
        if command == "forget" and end[0] == "…":
            break
        parsed(command, end, *args)
    known = [item["id"] for item in parsed("list")["items"]]
    assert known == ([other] if command == "forget" else [other, id_])
    if command == "update":
        assert parsed("get", id_)["version"] == 3


def test_a_replaced_memory_is_found_by_the_end_of_its_id() -> None:
    old = remember("old")
    remember("new", "--supersedes", old)
    assert parsed("get", old[-8:])["content"] == "old"


def test_an_end_that_several_ids_have_is_refused_and_names_them(store_path: Path) -> None:
    ids = [f"mem_01M8F037K8YBZP6Z5N{letter}5A1X5YA" for letter in "TA"]
    for id_ in ids:
        line = f'{{"memory":{{"id":"{id_}","content":"c","user_id":"ann","created_at":"2024-01-01T00:00:00Z"}}}}'
        omp("import", stdin=line)
    done = omp("forget", "5A1X5YA", code=2)
    assert all(id_ in done.stderr for id_ in ids)
    assert len(parsed("list")["items"]) == 2
    assert parsed("get", "T5A1X5YA")["id"] == ids[0]


@pytest.mark.parametrize("typed", ["5YA", "nothing-like-it", "ZZZZZZZZ", "%", "…"])
def test_text_that_ends_no_id_is_no_memory(typed: str) -> None:
    remember("one")
    assert f"no memory has the id {typed!r}" in omp("get", typed, code=1).stderr


def test_the_end_of_the_id_of_another_user_is_no_memory() -> None:
    id_ = remember("secret", "--user", "bob")
    assert "no memory has the id" in omp("get", id_[-8:], code=1).stderr


def test_a_pipe_gets_whole_ids() -> None:
    id_ = remember("one")
    assert out("list").startswith(f"{id_}\t")
