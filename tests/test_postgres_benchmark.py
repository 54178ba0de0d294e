"""The pure parts of the Postgres benchmark: verdicts, right answers, and statements that are openmem's own."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.corpus import Corpus
from benchmarks.measure import table
from benchmarks.postgres_bare import insert, same_add, same_search
from benchmarks.postgres_goals import Share
from benchmarks.postgres_ratios import frequent_words
from benchmarks.postgres_recall import Asker


@pytest.mark.parametrize(("figure", "verdict"), [(0.8, "PASS"), (1.0, "PASS"), (0.799, "MISS")])
def test_share_may_equal_its_goal(figure: float, verdict: str) -> None:
    assert Share("bulk", "8 rows/s", "10 rows/s", figure, 5, at_least=0.8).verdict == verdict


def test_share_without_a_goal_has_no_verdict() -> None:
    assert Share("bulk", "8 rows/s", "10 rows/s", 0.1, 5).verdict == ""


def test_share_stands_in_the_table() -> None:
    last = table([Share("recall@10", "1.000", "exact", 1.0, 20, at_least=1.0)]).splitlines()[-1]
    assert last.split() == ["recall@10", "1.000", "exact", "1.000", ">=", "1", "20", "PASS"]


def test_right_answer_is_the_nearest_that_the_filter_lets_through() -> None:
    vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    asker = Asker("user", ["a", "b", "c"], vectors, {})
    through = np.array([False, True, True])
    assert asker.nearest(np.array([1.0, 0.0], dtype=np.float32), through) == {"b", "c"}
    many = Asker("user", [str(n) for n in range(12)], np.linspace(0, 1, 12, dtype=np.float32).reshape(12, 1), {})
    best = many.nearest(np.ones(1, dtype=np.float32), np.ones(12, dtype=np.bool_))
    assert best == {str(n) for n in range(2, 12)}


def test_same_statement_has_the_audit_entry_and_the_bare_insert_has_not() -> None:
    batch = Corpus(1).batch(2)
    search, _ = same_search("some words", "user", batch.vectors[0])
    add, _ = same_add(batch.texts[0], "user", "a/b", batch.vectors[0])
    assert "insert into openmem.audit" in search
    assert "insert into bare.memories" in add
    assert "insert into bare.audit" in add
    sql, rows = insert(batch, "user", "a/b")
    assert sql.startswith("insert into bare.memories")
    assert "audit" not in sql
    assert len(rows) == 2
    assert len({row[1] for row in rows}) == 2


def test_frequent_words_are_in_many_texts() -> None:
    texts = Corpus(3).batch(1_000).texts
    for word in frequent_words(4):
        assert sum(word in text.split() for text in texts) > 100
