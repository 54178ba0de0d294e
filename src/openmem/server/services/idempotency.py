"""`Idempotency-Key`: a request that is sent again gets the first answer again, and does nothing twice."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from openmem import (
    Access,
    AsyncServerStore,
    IdempotencySeed,
    InvalidRequestError,
    NotFoundError,
    OMPError,
    ProviderError,
)
from openmem._model.keys import Remembered, StoredReply
from openmem.server.routes.responses import Reply
from openmem.server.services.current_request import CurrentRequest

logger = logging.getLogger("openmem.server")

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_KEPT: Final = ("content-type", "etag", "location")
_ERASED: Final = 404


class Replies:
    """Remembers replies in the server's store."""

    def __init__(self, store: AsyncServerStore | None) -> None:
        self._store = store

    async def once(
        self, request: CurrentRequest, user_id: str | None, act: Callable[[IdempotencySeed | None], Awaitable[Reply]]
    ) -> Reply:
        """Do something once per caller and `Idempotency-Key`.

        Args:
            request: The request; its body must be the same each time.
            user_id: Whose memories it is about; `None` for those of several users.
            act: Does it, and makes the same ids from the same seed.

        Raises:
            IdempotencyConflictError: The key was used for another request.
            NotFoundError: It was done before, and a memory that it stored was deleted since.
        """
        key = request.header("idempotency-key")
        if key is None:
            return await act(None)
        if not _KEY.fullmatch(key):
            raise InvalidRequestError("Idempotency-Key must be 1 to 255 visible ASCII characters")
        store = self._store
        if store is None:
            return await act(None)
        user_id = Access(user_id, ()).user_id  # checked before anything is written down
        request.memory()  # so are the headers: an old answer excuses no wrong request
        caller = request.caller.id
        now = datetime.now(UTC)
        begun = store.begin_reply(caller, key, _fingerprint(request, user_id), now, user_id=user_id)
        known = await request.in_time(begun)
        if known.reply is not None and known.reply.status == _ERASED:
            raise NotFoundError("a memory that this request stored was deleted since; nothing is stored again")
        if known.reply is not None and known.reply.body is not None:
            return _again(known.reply, known.reply.body)
        try:
            reply = await (await act(known.seed)).complete()
        except OMPError as error:
            await self._refused(request, key, known, error)
            raise
        headers, body = _kept_headers(reply), reply.body or b""
        ended = store.end_reply(caller, key, reply.status, headers, body, memory_ids=reply.memory_ids)
        # It is done; sent again, the seed makes sure that it is not done twice.
        await _or_warn("a reply could not be remembered", request, ended)
        return reply if known.reply is None else reply.with_header("idempotent-replayed", "true")

    async def _refused(self, request: CurrentRequest, key: str, known: Remembered, error: OMPError) -> None:
        """Free the key of a request that certainly did nothing: what is put right may be sent under it."""
        if self._store is not None and known.is_new and not isinstance(error, ProviderError):
            freed = self._store.release_reply(request.caller.id, key, known.seed)
            await _or_warn("a key could not be freed", request, freed)

    async def erase(self, request: CurrentRequest, memory_id: str, user_id: str | None) -> None:
        """Erase the replies that hold a memory which was deleted; that they were sent stays known.

        Args:
            request: The request that deleted it.
            memory_id: The memory.
            user_id: Whose it was, if that is known.
        """
        if self._store is not None:
            await request.in_time(self._store.erase_replies(memory_id, user_id=user_id, status=_ERASED))

    async def forget(self, user_id: str) -> None:
        """Forget the replies that hold memories of a user."""
        if self._store is not None:
            await self._store.forget_replies_of(user_id)


async def _or_warn(trouble: str, request: CurrentRequest, work: Awaitable[None]) -> None:
    try:
        await request.in_time(work)
    except OMPError as error:
        logger.warning("%s: %s req=%s", trouble, error.code, request.request_id)


def _fingerprint(request: CurrentRequest, user_id: str | None) -> str:
    scope = request.scope
    head = f"{scope['method']} {scope['path']} {user_id!a}\n".encode(errors="backslashreplace")
    for name in ("if-match", "if-none-match"):  # the same bytes with another condition are another request
        condition = request.header(name)
        if condition is not None:
            head += f"{name}: {condition!a}\n".encode()
    return hashlib.sha256(head + request.body).hexdigest()


def _kept_headers(reply: Reply) -> dict[str, str]:
    texts = {name.decode(): value.decode("latin-1") for name, value in reply.headers}
    return {name: texts[name] for name in _KEPT if name in texts}


def _again(stored: StoredReply, body: bytes) -> Reply:
    reply = Reply(stored.status, body)
    for name, value in stored.headers.items():
        reply.with_header(name, value)
    return reply.with_header("idempotent-replayed", "true")
