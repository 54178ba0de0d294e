"""The verb that shows what has changed."""

from __future__ import annotations

from openmem._async.client import AsyncClient
from openmem._async.verbs import verb
from openmem._rules.validation import make_feed_query
from openmem.types import ChangePage


class AsyncFeed(AsyncClient):
    """`changes`."""

    @verb
    async def changes(
        self,
        user_id: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> ChangePage:
        """Return what was added, updated, deleted and erased, oldest first, without content.

        Of a user, changes come in the order in which they were committed, and a cursor never skips one, however many
        processes write. Of all users, those of one are in order; those of several may come by turns.

        Args:
            user_id: Whose memories; `None` for those of all users.
            cursor: `next_cursor` of the page before, or the `cursor` of a change; `None` begins with the oldest that is
                kept.
            limit: How many at most, 1 to 1,000.
            timeout: Seconds this call may take.

        Raises:
            InvalidRequestError: The audit log keeps its entries for a time, and some behind the cursor are gone:
                `details["reason"]` is `cursor_expired`. Or the store is another one, or was restored: `cursor_ahead`.
            UnsupportedCapabilityError: The provider keeps no such record.
        """
        call = self._call(timeout)
        request = make_feed_query(user_id, cursor=cursor, limit=limit)
        return await self._use(call, lambda provider: provider.changes(request, call), request)
