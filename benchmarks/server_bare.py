"""The yardstick for the server: a FastAPI app on asyncpg that runs openmem's own statements and checks nothing.

No keys, no limits, no request ids, no errors: requests come in, rows go out. Texts and parameters of the searches are
made beforehand. Run by `uvicorn --factory benchmarks.server_bare:make_app`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
from benchmarks.corpus import Corpus
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from openmem._model.ids import new_memory_ids, routing_bucket
from openmem._rules.drafting import make_draft
from openmem._rules.validation import make_search_query
from openmem._sql.postgres import search, write
from openmem._sql.postgres.names import Names
from openmem._sql.postgres.rows import RECORD_NAMES
from openmem._sql.steps import Query
from openmem._sql.writing import Incoming, Stamp

SEED = 11
QUERIES = 64
_FIRST = 4
_CONTENT = _FIRST + search.CANDIDATES.names.index("content")
PROJECTIONS: dict[int, search.Projection[Any]] = {10: search.RESULTS, 100: search.CANDIDATES}
_BUCKET, _USER, _ENTRY, _AT, _REQUEST = 0, 1, 2, 3, 8

Row = Any


class Note(BaseModel):
    """A memory to store."""

    content: str
    user_id: str
    scope: str | None = None


class Question(BaseModel):
    """A request for a context."""

    query: str
    user_id: str
    token_budget: int = 500


def queries() -> list[str]:
    """Return the queries that all clients send."""
    return Corpus(SEED).queries(QUERIES).texts


def make_app() -> FastAPI:
    """Return the app; `BARE_URL` names the database."""
    app = FastAPI(lifespan=_lifespan)
    app.post("/memories", status_code=201)(_add)
    app.get("/memories/search")(_search)
    app.post("/context")(_context)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["BARE_URL"], min_size=10, max_size=10) as pool:
        _State.pool = pool
        for text in queries():
            for limit in (10, 100):
                _State.ready[text, limit] = _prepared(text, limit)
        yield


class _State:
    pool: Any = None
    ready: dict[tuple[str, int], tuple[str, list[Any]]] = {}  # noqa: RUF012


async def _add(note: Note) -> JSONResponse:
    stamp = _stamp()
    draft = make_draft(note.content, note.user_id, note.scope)
    (id_,) = new_memory_ids([note.user_id], stamp.now, secrets.randbits(71))
    statement = next(write.add_one(Names(), Incoming(draft, id_), None, stamp))
    assert isinstance(statement, Query)
    await _State.pool.execute(statement.sql, *statement.params)
    stored = {"id": id_, "content": note.content, "user_id": note.user_id, "scope": note.scope}
    return JSONResponse({**stored, "created_at": stamp.now.isoformat(), "version": 1}, 201)


async def _search(q: str, user_id: str) -> JSONResponse:
    rows = await _found(q, user_id, 10)
    return JSONResponse({"results": [{"memory": _record(row), "score": row[1]} for row in rows]})


async def _context(question: Question) -> JSONResponse:
    rows = await _found(question.query, question.user_id, 100)
    text = ""
    citations: list[dict[str, Any]] = []
    for row in rows:
        line = f"[{len(citations) + 1}] {row[_CONTENT]}\n"
        if len(text) + len(line) > 4 * question.token_budget:
            break
        text += line
        citations.append({"memory_id": row["id"], "score": row[1]})
    return JSONResponse({"text": text, "citations": citations, "token_count": len(text) // 4})


async def _found(text: str, user_id: str, limit: int) -> list[Row]:
    sql, values = _State.ready[text, limit]
    given, stamp = [*values], _stamp()
    given[_BUCKET], given[_USER] = routing_bucket(user_id), user_id
    given[_ENTRY], given[_AT], given[_REQUEST] = stamp.entry_id, stamp.now, stamp.request_id
    rows = await _State.pool.fetch(sql, *given)
    return [row for row in rows if row["id"] is not None][:limit]


def _prepared(text: str, limit: int) -> tuple[str, list[Any]]:
    query = make_search_query(text, "nobody", limit=limit, action="search" if limit == 10 else "context")
    statement = next(search.hybrid(Names(), query, None, None, _stamp(), PROJECTIONS[limit], fused=False))
    assert isinstance(statement, Query)
    return statement.sql, list(statement.params)


def _record(row: Row) -> dict[str, Any]:
    shown = dict(zip(RECORD_NAMES, row[_FIRST:], strict=False))  # behind them: what large ones would be asked for with
    shown["created_at"] = shown["created_at"].isoformat()
    return {name: value for name, value in shown.items() if value is not None and name != "bucket"}


def _stamp() -> Stamp:
    request_id = secrets.token_hex(16)
    return Stamp(datetime.now(UTC), "benchmark", request_id, f"bare{request_id}")
