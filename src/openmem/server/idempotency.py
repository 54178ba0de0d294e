"""`Idempotency-Key`: a request that is sent again gets the first answer again, and does nothing twice."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from openmem import Access, AsyncServerStore, InvalidRequestError, OMPError, Seed, StoredReply
from openmem.server.replies import Reply

if TYPE_CHECKING:
    from openmem.server.exchange import Exchange

logger = logging.getLogger("openmem.server")

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_KEPT: Final = ("content-type", "etag", "location")


class Replies:
    """Remembers replies in the server's store."""

    def __init__(self, store: AsyncServerStore | None) -> None:
        self._store = store

    async def once(
        self, exchange: Exchange, user_id: str | None, act: Callable[[Seed | None], Awaitable[Reply]]
    ) -> Reply:
        """Do something once per caller and `Idempotency-Key`.

        Args:
            exchange: The request; its body must be the same each time.
            user_id: Whose memories it is about; `None` for those of several users.
            act: Does it, and makes the same ids from the same seed.

        Raises:
            IdempotencyConflictError: The key was used for another request.
        """
        key = exchange.header("idempotency-key")
        if key is None:
            return await act(None)
        if not _KEY.fullmatch(key):
            raise InvalidRequestError("Idempotency-Key must be 1 to 255 visible ASCII characters")
        store = self._store
        if store is None:
            return await act(None)
        user_id = Access(user_id, ()).user_id  # checked before anything is written down
        exchange.memory()  # so are the headers: an old answer excuses no wrong request
        caller = exchange.caller.id
        now = datetime.now(UTC)
        known = await store.begin_reply(caller, key, _fingerprint(exchange, user_id), now, user_id=user_id)
        if known.reply is not None and known.reply.body is not None:
            return _again(known.reply, known.reply.body)
        reply = await act(known.seed)
        try:
            await store.end_reply(caller, key, reply.status, _kept_headers(reply), reply.body or b"")
        except OMPError as error:
            # It is done; sent again, the seed makes sure that it is not done twice.
            logger.warning("a reply could not be remembered: %s req=%s", error.code, exchange.request_id)
        return reply if known.reply is None else reply.with_header("idempotent-replayed", "true")

    async def forget(self, user_id: str) -> None:
        """Forget the replies that hold memories of a user."""
        if self._store is not None:
            await self._store.forget_replies_of(user_id)


def _fingerprint(exchange: Exchange, user_id: str | None) -> str:
    scope = exchange.scope
    head = f"{scope['method']} {scope['path']} {user_id!a}\n".encode(errors="backslashreplace")
    return hashlib.sha256(head + exchange.body).hexdigest()


def _kept_headers(reply: Reply) -> dict[str, str]:
    texts = {name.decode(): value.decode("latin-1") for name, value in reply.headers}
    return {name: texts[name] for name in _KEPT if name in texts}


def _again(stored: StoredReply, body: bytes) -> Reply:
    reply = Reply(stored.status, body)
    for name, value in stored.headers.items():
        reply.with_header(name, value)
    return reply.with_header("idempotent-replayed", "true")
