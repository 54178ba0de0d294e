"""Hooks: made, listed and removed, and delivered to by who holds the lease."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from openmem._async.server_store.delivery import AsyncHookDelivery, HookResult, post_message
from openmem._async.server_store.opening import AsyncOpenedStore
from openmem._io.concurrency.call import Call
from openmem._model.checks import MAX_NAME, check_flag, check_limit, check_number, check_owner, check_text, check_time
from openmem._model.hooks import (
    SECRET_BYTES,
    DeadLetter,
    HookInfo,
    NewHook,
    check_events,
    check_hook_url,
    hook_id_of,
    is_hook_id,
    new_hook_secret,
)
from openmem._model.keys import new_key_id
from openmem._model.scopes import parse_pattern
from openmem._model.timestamps import micros
from openmem._protocol.webhooks import message_body, message_id
from openmem._sql.server import hooks
from openmem.errors import InvalidRequestError, NotFoundError, OMPError

if TYPE_CHECKING:
    from openmem._async.memory import AsyncMemory
    from openmem._io.http.public_post import Answer

MAX_SHOWN: Final = 1_000
POST_SECONDS: Final = 15.0
TROUBLED: Final = timedelta(minutes=1)
"""The pause after changes could not be read."""


class AsyncHooks(AsyncOpenedStore):
    """The hooks in a server's store."""

    async def create_hook(
        self,
        url: str,
        *,
        user_id: str | None,
        scope: str | None = None,
        events: Sequence[str] | None = None,
        content: bool = False,
        from_start: bool = False,
        now: datetime | None = None,
    ) -> NewHook:
        """Make a hook. A server over the memories tells its address of changes, from the next one on.

        Args:
            url: An address of `https` or `http`, without user and password.
            user_id: The only user whose changes it is told of; `None` is any user.
            scope: The only scopes, such as `coding/*`; `None` is all.
            events: The only actions, of `add`, `update`, `delete` and `delete_all`; `None` is all.
            content: Whether messages hold the memories, as they are when a message is sent.
            from_start: Whether it is told of all changes that the feed still has, too.
            now: The time of the call, if not that of the clock.

        Raises:
            InvalidRequestError: An argument is wrong, or there are 100 hooks; nothing was stored.
        """
        made = check_time(now, "now") or Call().now
        info = HookInfo(
            id=hook_id_of(new_key_id(secrets.randbits(62))),
            url=check_hook_url(url),
            user_id=check_owner(user_id),
            scope=None if scope is None else str(parse_pattern(scope)),
            events=check_events(events),
            content=check_flag(content, "content"),
            state="active",
            created_at=made,
        )
        since = None if check_flag(from_start, "from_start") else made
        secret = new_hook_secret(secrets.token_bytes(SECRET_BYTES))
        await self._write(hooks.create, info, secret, since)
        await self._place.settle(await self._use())
        return NewHook(info, secret)

    async def list_hooks(self) -> list[HookInfo]:
        """Return all hooks, oldest first, without their secrets."""
        return await self._read(hooks.every)

    async def remove_hook(self, id: str) -> None:
        """Remove a hook, its secret and its messages that were given up.

        Raises:
            NotFoundError: No hook has this id.
        """
        await self._erase(hooks.remove, _hook_id(id))
        await self._place.settle(await self._use())

    async def enable_hook(self, id: str, *, now: datetime | None = None) -> None:
        """Have a hook that was disabled go on where it stopped, and one that failed be tried at once.

        Raises:
            NotFoundError: No hook has this id.
        """
        await self._write(hooks.enable, _hook_id(id), check_time(now, "now") or Call().now)

    async def dead_letters(self, hook_id: str | None = None, *, limit: int = 100) -> list[DeadLetter]:
        """Return messages that were given up, oldest first.

        Args:
            hook_id: Only those of this hook.
            limit: How many at most, 1 to 1,000.
        """
        wanted = None if hook_id is None else _hook_id(hook_id)
        return await self._read(hooks.letters, wanted, check_limit(limit, MAX_SHOWN))

    async def retry_dead_letters(self, hook_id: str | None = None, ids: Sequence[str] | None = None) -> int:
        """Have messages that were given up sent again, by the server; return how many.

        Args:
            hook_id: Only those of this hook.
            ids: Only these messages.
        """
        wanted = None if hook_id is None else _hook_id(hook_id)
        if isinstance(ids, str):
            raise InvalidRequestError("ids must be a list, not str")
        letters = None if ids is None else tuple(check_text(one, "ids", MAX_NAME, control=False) for one in ids)
        return await self._write(hooks.send_again, wanted, letters)

    async def test_hook(self, id: str, *, allow_private: bool = False, timeout: float = POST_SECONDS) -> Answer:
        """Send a message without changes, now and from here; return how that ended.

        Args:
            id: The hook.
            allow_private: Whether it may go to private addresses.
            timeout: Seconds that it may take.

        Raises:
            NotFoundError: No hook has this id.
        """
        hook = await self._read(hooks.find, _hook_id(id))
        if hook is None:
            raise NotFoundError("no hook has this id")
        letter = message_id(hook.info.id, "test", secrets.token_hex(16))
        body = message_body(letter, (), test=True)
        return await post_message(hook, letter, body, Call().now, allow_private=allow_private, timeout=timeout)

    async def take_hooks(self, holder: str, *, now: datetime | None = None) -> list[str] | None:
        """Take or prolong the lease of who delivers; return the ids of hooks that may have something to send.

        Args:
            holder: The process that asks.
            now: The time of the call, if not that of the clock.

        Returns:
            `None` if another process delivers, or there is nothing to deliver to.
        """
        name, moment = check_text(holder, "holder", MAX_NAME, control=False), check_time(now, "now") or Call().now
        busy, held_by, until = await self._read(hooks.lease)
        if not busy:
            return None
        left = until - micros(moment)
        if held_by != name or left < hooks.RENEWED + hooks.LEASE // 6 or left > hooks.LEASE:
            if held_by != name and 0 < left <= hooks.LEASE:
                return None
            if not await self._write(hooks.take, name, moment):
                return None
        return await self._read(hooks.due, moment)

    async def release_hooks(self, holder: str) -> None:
        """Give the lease back, so that another process delivers at once."""
        await self._write(hooks.release, check_text(holder, "holder", MAX_NAME, control=False))

    async def deliver_hook(
        self,
        id: str,
        memory: AsyncMemory,
        *,
        holder: str,
        allow_private: bool = False,
        now: datetime | None = None,
        timeout: float = POST_SECONDS,
    ) -> HookResult:
        """Send the messages of a hook that are to be sent again, and its next one. Only for who holds the lease.

        Args:
            id: The hook.
            memory: The memories whose feed it is told of.
            holder: The process that holds the lease; without it, nothing is sent.
            allow_private: Whether messages may go to private addresses.
            now: The time of the call, if not that of the clock.
            timeout: Seconds that a message and its reply may take, 15 at most.
        """
        seconds = min(check_number(timeout, "timeout"), POST_SECONDS)
        work = AsyncHookDelivery(self, memory, holder, allow_private=allow_private, now=now, seconds=seconds)
        hook = await self._read(hooks.find, _hook_id(id))
        if hook is None:
            return HookResult()
        for letter in await self._read(hooks.letters, hook.info.id, MAX_SHOWN, True):
            await work.send_letter(hook, letter)
        if hook.info.state != "active" or (hook.info.next_at or work.now) > work.now:
            return HookResult()
        try:
            return await work.send_next(hook)
        except OMPError as error:
            trouble = f"the changes cannot be read: {error.code}"
            until = work.now + TROUBLED
            await self._write(hooks.put_off, hook, trouble, until, hook.info.failures)
            return HookResult(trouble=trouble)


def _hook_id(value: Any) -> str:
    if not is_hook_id(value):
        raise NotFoundError("no hook has this id")
    return str(value)
