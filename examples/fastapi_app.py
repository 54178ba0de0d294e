"""A FastAPI service on one shared memory: `uvicorn fastapi_app:app` in this folder.

One `AsyncMemory` lives as long as the app; requests use it at the same time. The user comes from a header here;
take it from your own login instead. Every failure leaves as the same JSON envelope.

    curl -X POST localhost:8000/memories -H 'X-User-Id: ann' -H 'Content-Type: application/json' \
         -d '{"content": "Ann prefers dark mode"}'
    curl 'localhost:8000/memories/search?q=dark+mode' -H 'X-User-Id: ann'
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from openmem import AsyncMemory, ContextBlock, InvalidRequestError, MemoryRecord, OMPError, SearchResult


class Note(BaseModel):
    """The body of a request to remember something."""

    content: str
    scope: str | None = None
    tags: list[str] | None = None


class Question(BaseModel):
    """The body of a request for prompt text."""

    query: str
    token_budget: int = 500


def shared_memory(request: Request) -> AsyncMemory:
    memory: AsyncMemory = request.app.state.memory
    return memory


Memory = Annotated[AsyncMemory, Depends(shared_memory)]
User = Annotated[str, Header(alias="X-User-Id")]
router = APIRouter()


@router.post("/memories", status_code=201)
async def remember(note: Note, memory: Memory, user: User = "") -> MemoryRecord:
    return await memory.add(content=note.content, user_id=user, scope=note.scope, tags=note.tags)


@router.get("/memories/search")
async def recall(q: str, memory: Memory, user: User = "", limit: int = 10) -> list[SearchResult]:
    return await memory.search(q, user, limit=limit)


@router.get("/memories/{id}")
async def one(id: str, memory: Memory, user: User = "") -> MemoryRecord:
    return await memory.get(id, user_id=user)


@router.post("/context")
async def context(question: Question, memory: Memory, user: User = "") -> ContextBlock:
    return await memory.context(question.query, user, token_budget=question.token_budget)


async def on_memory_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OMPError)
    headers = {} if error.retry_after is None else {"Retry-After": str(round(error.retry_after))}
    return JSONResponse(error.to_envelope(), status_code=error.http_status, headers=headers)


async def on_bad_request(request: Request, error: Exception) -> JSONResponse:
    """FastAPI checks the form of a request before the memory sees it: same envelope, same status."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return await on_memory_error(request, InvalidRequestError(f"{place}: {first['msg']}"))


def create_app(open_memory: Callable[[], AsyncMemory] = lambda: AsyncMemory(app="fastapi-example")) -> FastAPI:
    """Return the app.

    Args:
        open_memory: Makes the memory. By default the environment (`OMP_URL`, …) says where it is.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_memory() as app.state.memory:
            yield

    app = FastAPI(title="Memory example", lifespan=lifespan)
    app.add_exception_handler(OMPError, on_memory_error)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.include_router(router)
    return app


app = create_app()
