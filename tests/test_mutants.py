"""Mutants that cannot be told from the code: the rule that knows some of them leaves no other out."""

from __future__ import annotations

import pytest
from scripts.mutants import Mutant, is_same_in_other_letters


def mutant(old: str, new: str, path: str = "_sql/sqlite/read.py") -> Mutant:
    return Mutant(path, "page", 1, f"def page():\n    yield {old}\n", f"def page():\n    yield {new}\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('Query("select a from b")', 'Query("SELECT A FROM B")'),
        ('_where("m.rid = ?", "x")', '_where("M.RID = ?", "x")'),
        ('_where("(a, b) < ($1, $2)")', '_where("(A, B) < ($1, $2)")'),
    ],
)
def test_statement_in_other_letters_is_the_same(old: str, new: str) -> None:
    assert is_same_in_other_letters(mutant(old, new))
    assert not is_same_in_other_letters(mutant(old, new, "_rules/paging.py"))


def test_codec_in_other_letters_is_the_same() -> None:
    assert is_same_in_other_letters(mutant('text.encode("utf-8", "replace")', 'text.encode("UTF-8", "replace")'))
    assert not is_same_in_other_letters(mutant('text.encode("utf-8", "replace")', 'text.encode("utf-8", "REPLACE")'))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('Query("select a from b")', 'Query("XXselect a from bXX")'),
        ('Query("select a from b")', "Query(None)"),
        ("Query(\"select 'a'\")", "Query(\"SELECT 'A'\")"),
        ('{"memories": Query("select 1")}', '{"MEMORIES": Query("select 1")}'),
        ('raise Error("no key has this id")', 'raise Error("NO KEY HAS THIS ID")'),
    ],
)
def test_other_mutants_are_not(old: str, new: str) -> None:
    assert not is_same_in_other_letters(mutant(old, new))
