"""The delivery to hooks: the next message is made of the feed of changes, sent, and its end noted."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from openmem._async.server_store.opening import AsyncOpenedStore
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import async_import_module
from openmem._model.checks import check_time
from openmem._model.hooks import DeadLetter, HookAtWork
from openmem._protocol.webhooks import (
    MAX_ATTEMPTS,
    MAX_BODY,
    change_name,
    change_text,
    message_body,
    message_headers,
    message_id,
    pause_after,
    verdict_of,
)
from openmem._sql.server import hooks
from openmem.errors import InvalidRequestError, NotFoundError, OMPError
from openmem.types import Change, ChangePage

if TYPE_CHECKING:
    from openmem._async.memory import AsyncMemory
    from openmem._io.http.public_post import Answer, AsyncPublicPost

BATCH: Final = 100
"""Changes of the feed that one message is made of."""

_CLIENT: Final = "openmem._io.http.public_post"
_STORED_AGAIN: Final = timedelta(hours=1)
_LOST: Final = ("cursor_expired", "cursor_ahead")


class HookResult(NamedTuple):
    """The end of a step of delivery: whether there is `more` to do at once, and the `trouble` that there was."""

    more: bool = False
    trouble: str | None = None


class Batch(NamedTuple):
    """The next message of a hook: its changes as JSON, the cursor behind them, whether more follow, their names."""

    texts: list[str]
    end: str
    more: bool
    names: list[str]


class AsyncHookDelivery:
    """One step of the delivery to a hook."""

    def __init__(
        self,
        store: AsyncOpenedStore,
        memory: AsyncMemory,
        holder: str,
        *,
        allow_private: bool,
        now: datetime | None,
        seconds: float,
    ) -> None:
        self._store, self._memory, self._holder = store, memory, holder
        self._allow_private, self._seconds = allow_private, seconds
        self._now = check_time(now, "now")

    @property
    def now(self) -> datetime:
        """The time."""
        return self._now or Call().now

    async def send_next(self, hook: HookAtWork) -> HookResult:
        """Send the next message, or move on over changes that the hook is not told of."""
        store = self._store
        page = await self._page(hook.info.user_id, hook.cursor)
        if page is None:
            await store._write(hooks.start_over, hook)
            return HookResult(more=True, trouble="changes were removed before they were sent")
        batch = await self._batch(hook, page, hook.pin)
        if not batch.texts:
            # An idle feed of Postgres moves its cursor all the time: that is stored now and then only.
            old = self.now - hook.read_at > _STORED_AGAIN
            begun = not page.has_more and hook.since is not None
            if page.items or page.has_more or begun or old:
                await store._write(hooks.pass_over, hook, batch.end, self.now, begun)
            return HookResult(more=batch.more)
        if not await store._write(hooks.pin, hook, self._holder, self.now, batch.names[-1]):
            return HookResult()
        letter_id = message_id(hook.info.id, batch.names[0], batch.names[-1])
        answer = await self._post(hook, letter_id, message_body(letter_id, batch.texts, missed=hook.missed))
        verdict = verdict_of(answer.status)
        if verdict == "taken":
            await store._write(hooks.taken, hook, letter_id, batch.end, self.now)
            return HookResult(more=batch.more)
        trouble = _trouble(answer)
        if verdict == "gone":
            await store._write(hooks.disable, hook.info.id, trouble)
            return HookResult(trouble=f"disabled: {trouble}")
        return await self._failed(hook, batch, letter_id, trouble)

    async def _failed(self, hook: HookAtWork, batch: Batch, letter_id: str, trouble: str) -> HookResult:
        # 1. It is tried again after a pause. 2. It was tried for the last time, and is kept. 3. Too many are kept.
        store, failures, now = self._store, hook.info.failures + 1, self.now
        if failures < MAX_ATTEMPTS:
            until = now + pause_after(failures, random.random())
            await store._write(hooks.put_off, hook, trouble, until, failures)
            return HookResult(trouble=trouble)
        if hook.info.dead_letters >= hooks.MAX_LETTERS:
            await store._write(hooks.disable, hook.info.id, trouble)
            return HookResult(trouble=f"disabled, as too many messages were given up: {trouble}")
        letter = DeadLetter(
            letter_id,
            hook.info.id,
            len(batch.texts),
            failures,
            trouble,
            now,
            waiting=False,
            begin=hook.cursor,
            end=batch.names[-1],
        )
        await store._write(hooks.give_up, hook, letter, batch.end)
        return HookResult(more=True, trouble=f"a message was given up: {trouble}")

    async def send_letter(self, hook: HookAtWork, letter: DeadLetter) -> None:
        """Send a message again that was given up."""
        store = self._store
        try:
            page = await self._page(hook.info.user_id, letter.begin)
            batch = None if page is None else await self._batch(hook, page, letter.end)
        except OMPError as error:
            await store._write(hooks.failed_again, letter.id, f"the changes cannot be read: {error.code}", self.now)
            return
        if batch is None:
            await store._write(hooks.failed_again, letter.id, "its changes are no longer in the feed", self.now)
            return
        if not batch.texts:  # an erasure took them out of the feed
            await store._write(hooks.forget_letter, letter.id)
            return
        if not await store._read(hooks.holds, self._holder, self.now):
            return
        answer = await self._post(hook, letter.id, message_body(letter.id, batch.texts))
        if verdict_of(answer.status) == "taken":
            await store._write(hooks.forget_letter, letter.id)
        else:
            await store._write(hooks.failed_again, letter.id, _trouble(answer), self.now)

    async def _page(self, user_id: str | None, cursor: str) -> ChangePage | None:
        """Return the changes behind a cursor; `None` if some may be gone."""
        try:
            return await self._memory.changes(user_id, cursor=cursor or None, limit=BATCH)
        except InvalidRequestError as error:
            if (error.details or {}).get("reason") in _LOST:
                return None
            raise

    async def _batch(self, hook: HookAtWork, page: ChangePage, pin: str) -> Batch:
        """Return what of a page goes into one message: up to the pin, if it is there, and at most `MAX_BODY` bytes."""
        # Cursors of the same place may differ from one look to the next; the names of changes do not.
        texts: list[str] = []
        names: list[str] = []
        end, size = "", 0
        for change in page.items:
            if hook.info.wants(change) and (hook.since is None or (change.timestamp or hook.since) >= hook.since):
                text = await self._text(hook, change)
                size += len(text.encode())
                if texts and size > MAX_BODY and end:
                    return Batch(texts, end, True, names)
                texts.append(text)
                names.append(change_name(change))
            end = change.cursor or ""
            if pin and end and names[-1:] == [pin]:
                return Batch(texts, end, True, names)
        # The cursor of the page may be further on, where a later look finds no change to end the same message with.
        return Batch(texts, end or page.next_cursor, page.has_more, names)

    async def _text(self, hook: HookAtWork, change: Change) -> str:
        fields = change.model_dump(mode="json", exclude_none=True)
        if not hook.info.content or change.memory_id is None or change.action == "delete":
            return change_text(fields, None, content=hook.info.content)
        try:
            record = await self._memory.get(change.memory_id, user_id=change.user_id)
        except NotFoundError:
            return change_text(fields, None, content=True)
        # It may have moved since to where the hook has no say.
        seen = hook.info.pattern.matches(record.scope)
        return change_text(fields, record.model_dump(mode="json", exclude_none=True) if seen else None, content=True)

    async def _post(self, hook: HookAtWork, letter_id: str, body: bytes) -> Answer:
        return await post_message(
            hook, letter_id, body, Call().now, allow_private=self._allow_private, timeout=self._seconds
        )


async def post_message(
    hook: HookAtWork, letter_id: str, body: bytes, now: datetime, *, allow_private: bool, timeout: float
) -> Answer:
    """Sign a message to a hook and send it; return how that ended."""
    client = await async_import_module(_CLIENT, None)  # a store without hooks needs none
    sender: AsyncPublicPost = client.AsyncPublicPost(allow_private=allow_private)
    return await sender.post(hook.info.url, message_headers(hook.secret, letter_id, now, body), body, timeout)


def _trouble(answer: Answer) -> str:
    return answer.trouble or f"the receiver answered {answer.status}"
