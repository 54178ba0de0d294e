"""The yardstick for the embedded store: the same rows in plain SQLite and numpy, with nothing around them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
from benchmarks.corpus import Batch, Floats

from openmem._retrieval.analysis import terms_of

_CANDIDATES = 50
_LIMIT = 10
_SETTINGS = """
    pragma page_size=16384; pragma journal_mode=wal; pragma synchronous=normal; pragma secure_delete=on;
    pragma temp_store=memory; pragma cache_size=-32768;
"""
_TABLES = """
    create table memories(
      rid integer primary key, id text not null unique, user_id text not null, content text not null, scope text,
      created_at integer not null
    );
    create index memories_created on memories(user_id, created_at);
    create table vectors(rid integer primary key, vector blob not null);
    create virtual table words using fts5(u, content, tokenize='porter ascii');
"""
_MATCH = "select rowid from words where words match ? order by bm25(words, 0.0, 1.0) limit ?"


class BareStore:
    """A table, its vectors and an FTS5 index in a file, for one user; the vectors of a search are held in an array."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        self._db.executescript(_SETTINGS + _TABLES)
        self._rows = 0
        self.matrix: Floats = np.empty((0, 0), dtype=np.float32)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, text: str, vector: Floats) -> None:
        """Insert and commit one row, with its vector and its words."""
        rid, execute = self._next(1), self._db.execute
        execute("begin immediate")
        execute("insert into memories values(?,?,?,?,?,?)", _row(rid, text))
        execute("insert into vectors values(?,?)", (rid, vector.tobytes()))
        execute("insert into words(rowid, u, content) values(?,?,?)", (rid, "u1", text))
        execute("commit")

    def add_many(self, batch: Batch) -> None:
        """Insert rows in one transaction."""
        first, db = self._next(len(batch)), self._db
        db.execute("begin immediate")
        texts = list(enumerate(batch.texts, first))
        db.executemany("insert into memories values(?,?,?,?,?,?)", [_row(rid, text) for rid, text in texts])
        db.executemany(
            "insert into vectors values(?,?)", [(r, v.tobytes()) for r, v in enumerate(batch.vectors, first)]
        )
        db.executemany("insert into words(rowid, u, content) values(?,?,?)", [(rid, "u1", t) for rid, t in texts])
        db.execute("commit")

    def scan(self, query: Floats) -> list[int]:
        """Return the nearest rows: one product, no BLAS threads, and a partial sort."""
        similarity = np.einsum("ij,j->i", self.matrix, query)
        best = np.argpartition(similarity, -_LIMIT)[-_LIMIT:]
        found: list[int] = best[np.argsort(-similarity[best])].tolist()
        return found

    def match(self, query: str) -> list[int]:
        """Return the rows that share a content word with a query, best first."""
        words = " OR ".join(f'"{term}"' for term in dict.fromkeys(terms_of(query)))
        return [row[0] for row in self._db.execute(_MATCH, (f'u:"u1" AND content:({words})', _CANDIDATES))]

    def search(self, query: str, vector: Floats) -> tuple[list[int], list[int]]:
        """Return both lists, which are not joined here."""
        return self.scan(vector), self.match(query)

    def _next(self, count: int) -> int:
        first = self._rows + 1
        self._rows += count
        return first


def _row(rid: int, text: str) -> tuple[int, str, str, str, str, int]:
    return rid, f"m-{rid:024d}", "u1", text, "a/b", 1_700_000_000_000_000 + rid
