"""No statement for SQLite has numbered or named parameters beside a sequence of values.

Python 3.12.0 to 3.12.3 warn of `?1` with a sequence, and later versions refuse names with one.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory, ServerStore
from openmem.testing.embedder import HashEmbedder

SQL = Path(__file__).resolve().parent.parent / "src" / "openmem" / "_sql"
NUMBERED = re.compile(r"\?\d|[\s(=][:@$]\w")


@pytest.mark.parametrize("file", sorted((SQL / "sqlite").glob("*.py")), ids=lambda file: file.stem)
def test_no_text_of_a_statement_numbers_its_parameters(file: Path) -> None:
    assert not re.search(r"\?\d", file.read_text(encoding="utf-8"))


class Statements(list[str]):
    """Every statement that SQLite was given."""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """Look on at the connections of the tests: SQLite names each statement before its values are put in."""
    seen = Statements()

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            seen.append(sql)
            return super().execute(sql, *parameters)

        def executemany(self, sql: str, parameters: Any) -> sqlite3.Cursor:
            seen.append(sql)
            return super().executemany(sql, parameters)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **named: connect(*args, **{**named, "factory": Watched}))
    return seen


def test_no_statement_of_any_verb_numbers_its_parameters(tmp_path: Path, statements: Statements) -> None:
    with Memory(url=str(tmp_path / "m.db"), embedder=HashEmbedder(8)) as memory:
        tea = memory.add(content="likes tea", user_id="ann", scope="food", tags=["drink"], key="tea")
        memory.add_many([{"content": f"note {number}"} for number in range(100)], user_id="ann")
        memory.add(content="likes milk", user_id="ann", supersedes=[tea.id])
        memory.update(tea.id, content="likes cold tea")
        assert memory.history(tea.id)
        assert memory.search("tea", "ann", include_superseded=True)
        assert memory.list("ann", scope="food", include_superseded=True).items
        memory.context("tea", "ann", token_budget=100)
        lines = memory.export("ann").lines
        memory.import_(lines, conflict="overwrite")
        memory.reembed()
        assert memory.audit("ann", app=None)
        memory.health()
        memory.delete(tea.id)
        assert memory.delete_all("ann", scope="food").complete
        assert memory.delete_all("ann").complete
    with ServerStore(str(tmp_path / "s.db")) as store:
        made = store.create_key(app="editor", user_id=None, grants=["read:*"])
        store.find_key(made.secret)
        store.list_keys()
        store.revoke_key(made.info.id)
        store.take("c", 5, made.info.created_at)
        store.begin_reply("c", "k", "f", made.info.created_at, user_id="ann")
        store.end_reply("c", "k", 201, {}, b"body")
        store.forget_replies_of("ann")
        store.entries("ann")
    assert len(set(statements)) > 50
    assert not [sql for sql in statements if NUMBERED.search(sql)]
