"""An aiohttp service on one shared memory: `python aiohttp_app.py` in this folder, then port 8000.

One `AsyncMemory` lives as long as the app; requests use it at the same time. The user comes from a header here;
take it from your own login instead. Every failure leaves as the same JSON envelope.

    curl -X POST localhost:8000/memories -H 'X-User-Id: ann' -d '{"content": "Ann prefers dark mode"}'
    curl 'localhost:8000/memories/search?q=dark+mode' -H 'X-User-Id: ann'
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from openmem import AsyncMemory, InvalidRequestError, OMPError

MEMORY = web.AppKey("memory", AsyncMemory)


async def remember(request: web.Request) -> web.Response:
    body = await body_of(request)
    record = await request.app[MEMORY].add(
        content=body.get("content", ""), user_id=user_of(request), scope=body.get("scope"), tags=body.get("tags")
    )
    return reply(record, status=201)


async def recall(request: web.Request) -> web.Response:
    hits = await request.app[MEMORY].search(request.query.get("q", ""), user_of(request))
    return web.json_response([hit.model_dump(mode="json") for hit in hits])


async def one(request: web.Request) -> web.Response:
    return reply(await request.app[MEMORY].get(request.match_info["id"], user_id=user_of(request)))


async def context(request: web.Request) -> web.Response:
    body = await body_of(request)
    block = await request.app[MEMORY].context(
        body.get("query", ""), user_of(request), token_budget=body.get("token_budget", 500)
    )
    return reply(block)


def user_of(request: web.Request) -> str:
    return request.headers.get("X-User-Id", "")


async def body_of(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text())
    except ValueError:
        raise InvalidRequestError("the body must be JSON") from None
    if not isinstance(body, dict):
        raise InvalidRequestError("the body must be a JSON object")
    return body


def reply(model: BaseModel, status: int = 200) -> web.Response:
    return web.json_response(text=model.model_dump_json(), status=status)


@web.middleware
async def errors_as_envelopes(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except OMPError as error:
        headers = {} if error.retry_after is None else {"Retry-After": str(round(error.retry_after))}
        return web.json_response(error.to_envelope(), status=error.http_status, headers=headers)


def create_app(open_memory: Callable[[], AsyncMemory] = lambda: AsyncMemory(app="aiohttp-example")) -> web.Application:
    """Return the app.

    Args:
        open_memory: Makes the memory. By default the environment (`OMP_URL`, …) says where it is.
    """

    async def memory_of_app(app: web.Application) -> AsyncIterator[None]:
        async with open_memory() as app[MEMORY]:
            yield

    app = web.Application(middlewares=[errors_as_envelopes])
    app.cleanup_ctx.append(memory_of_app)
    app.router.add_post("/memories", remember)
    app.router.add_get("/memories/search", recall)
    app.router.add_get("/memories/{id}", one)
    app.router.add_post("/context", context)
    return app


if __name__ == "__main__":
    web.run_app(create_app(), host="127.0.0.1", port=8000)
