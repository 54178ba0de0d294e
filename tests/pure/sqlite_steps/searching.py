"""Searches on an embedded store in memory."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from openmem._model.requests import SearchQuery, View
from openmem._retrieval.user_index import UserCache
from openmem._sql.sqlite import search
from openmem._sql.sqlite.search import RESULTS, Prepared
from openmem._sql.writing import Model
from openmem.types import SearchResult
from tests.pure.sqlite_steps.database import AT, MODEL, Database


def unit(*numbers: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(numbers, dtype=np.float32)


class Searching:
    """A store and the cache of a process that searches it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.cache = UserCache(1_000_000, nullcontext)

    @staticmethod
    def query(text: str, seconds: float = 10, **asked: Any) -> tuple[SearchQuery, int]:
        own = {name: asked.pop(name) for name in ("limit", "min_score", "explain") if name in asked}
        view = View(asked.pop("user_id", "ann"), **asked)
        return SearchQuery(text, view, **own), AT + int(seconds * 1_000_000)

    def words(self, text: str, **asked: Any) -> list[SearchResult]:
        query, now = self.query(text, **asked)
        return self.db.run(search.by_keyword(query, now, self.cache, RESULTS))

    def ids(self, text: str, **asked: Any) -> str:
        """Return the ids that words find, best first; each has one letter."""
        return "".join(result.memory.id for result in self.words(text, **asked))

    def vector(self, *numbers: float, model: Model = MODEL, **asked: Any) -> list[SearchResult]:
        query, now = self.query("tea", **asked)
        return self.db.run(search.by_vector(query, now, self.cache, unit(*numbers), model))

    def begin(self, text: str, **asked: Any) -> Prepared | list[SearchResult]:
        query, now = self.query(text, **asked)
        return self.db.run(search.begin(query, now, self.cache, RESULTS))

    def both(self, text: str, *numbers: float, model: Model = MODEL, **asked: Any) -> list[SearchResult]:
        prepared = self.begin(text, **dict(asked))
        assert isinstance(prepared, Prepared)
        query, now = self.query(text, **asked)
        return self.db.run(search.hybrid(query, now, self.cache, unit(*numbers), model, prepared, RESULTS))
