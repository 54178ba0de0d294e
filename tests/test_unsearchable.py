"""A memory that no search is to find leaves no words and no vector in a store, and no embedder is asked for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from openmem import Memory
from openmem._sql.sqlite.schema import APPLICATION_ID, MIGRATIONS
from openmem.testing import HashEmbedder

TEXT = "Wensleydale cheese"


class Watched(HashEmbedder):
    """An embedder that remembers what it was asked for."""

    def __init__(self, model: str = "watched") -> None:
        super().__init__(model=model)
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.asked += texts
        return super().embed(texts)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, store_path: Path) -> str:
    return str(store_path if request.param == "sqlite" else request.getfixturevalue("emptied_postgres_url"))


def traces(url: str) -> tuple[int, int, int]:
    """Return how many memories have words, how many are in an index of words, and how many have a vector."""
    if not url.startswith("postgresql"):
        with closing(sqlite3.connect(url)) as file:
            words = file.execute("select count(*) from memories where words <> '' or terms <> 0").fetchone()[0]
            indexed = file.execute("select count(distinct doc) from word_postings").fetchone()[0]
            models = [row[0] for row in file.execute("select model_no from models")]
            vectors = sum(file.execute(f"select count(*) from vectors_{no}").fetchone()[0] for no in models)
            return words, indexed, vectors
    with psycopg.connect(url) as connection:
        query = """
            select count(*) filter (where words <> ''::tsvector), count(*) filter (where words <> ''::tsvector),
              count(*) filter (where model is not null or embedding is not null) from openmem.memories
        """
        row = connection.execute(query).fetchone()
        waiting = connection.execute("select count(*) from openmem.vectors").fetchone()
        assert row is not None
        assert waiting is not None
        return int(row[0]), int(row[1]), int(row[2]) + int(waiting[0])


def test_no_words_and_no_vector_are_stored_and_no_embedder_is_asked(url: str) -> None:
    embedder = Watched()
    with Memory(url=url, embedder=embedder) as memory:
        record = memory.add(TEXT, user_id="ann", searchable=False, tags=["cheese"])
        memory.add_many([{"content": f"{TEXT} {n}", "searchable": False} for n in range(100)], user_id="ann")
        assert memory.import_(memory.export("ann").lines, conflict="overwrite").overwritten == 101
        assert memory.update(record.id, searchable=False, content=f"{TEXT}, aged").searchable is False
        assert (embedder.asked, traces(url)) == ([], (0, 0, 0))
        assert memory.health().detail.get("without_vector", 0) == 0
        memory.update(record.id, searchable=True)
        assert embedder.asked == [f"{TEXT}, aged"]
        words, _, vectors = traces(url)
        assert (words, vectors) == (1, 1)
        memory.update(record.id, searchable=False)
        assert (len(embedder.asked), traces(url)) == (1, (0, 0, 0))
        assert memory.delete_all("ann").complete


def test_move_to_another_model_leaves_them_without_a_vector(url: str) -> None:
    with Memory(url=url, embedder=Watched("old")) as memory:
        memory.add(TEXT, user_id="ann", searchable=False)
        memory.add("likes tea", user_id="ann")
        memory.add(TEXT, user_id="bob", searchable=False)
    embedder = Watched("new")
    with Memory(url=url, embedder=embedder) as memory:
        report = memory.reembed()
        assert (report.done, report.total) == (1, 1)
        assert embedder.asked.count(TEXT) == 0
        assert traces(url)[2] == 1
        [found] = memory.search("tea", "ann", mode="vector")
        assert found.memory.content == "likes tea"
        assert memory.search(TEXT, "bob", mode="vector") == []


def test_change_by_another_client_meanwhile_gets_the_vector_of_its_own_text(url: str) -> None:
    """The text is read before it is embedded: what was read must not be given back to a memory that has another."""

    class Meddling(Watched):
        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            if not self.asked:
                with Memory(url=url, embedder="none") as other:
                    other.update(record.id, content="likes milk")
            return super().embed(texts)

    with Memory(url=url, embedder="none") as memory:
        record = memory.add(TEXT, user_id="ann", searchable=False)
    embedder = Meddling()
    with Memory(url=url, embedder=embedder) as memory:
        changed = memory.update(record.id, searchable=True)
        assert (changed.content, changed.version) == ("likes milk", 3)
        assert embedder.asked == [TEXT, "likes milk"]
        [found] = memory.search("likes milk", "ann", mode="vector")
        assert found.score == pytest.approx(1.0)


def test_file_of_an_older_version_is_searchable(store_path: Path) -> None:
    before = next(n for n, statements in enumerate(MIGRATIONS) if any("searchable" in one for one in statements))
    with closing(sqlite3.connect(store_path, isolation_level=None)) as file:
        for statement in (*sum(MIGRATIONS[:before], ()), f"pragma application_id={APPLICATION_ID}"):
            file.execute(statement)
        file.execute(f"pragma user_version={before}")
        file.execute("insert into users(user_no, user_id) values(1, 'ann')")
        file.execute(
            "insert into memories(rid, id, user_no, content, created_at, version, terms, words) "
            "values(?, 'm1', 1, ?, 1767225600000000, 1, 1, 'chees')",
            ((1 << 32) + 1, TEXT),
        )
    with Memory(url=store_path, embedder="none") as memory:
        [found] = memory.search("cheese", "ann")
        assert found.memory.searchable
