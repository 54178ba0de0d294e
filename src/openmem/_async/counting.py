"""The verbs that count what there is, without showing a memory."""

from __future__ import annotations

from openmem._async.client import AsyncClient
from openmem._async.verbs import verb
from openmem._rules.overview import make_scopes_query, make_tags_query, make_users_query
from openmem.types import Overview, ScopeInfo, TagInfo, UserPage


class AsyncCounting(AsyncClient):
    """`scopes`, `tags` and `users`."""

    @verb
    async def scopes(
        self,
        user_id: str,
        *,
        prefix: str | None = None,
        depth: int | None = None,
        timeout: float | None = None,
    ) -> Overview[ScopeInfo]:
        """Return the scopes of a user's memories in the order of their paths, with counts and the last change.

        A memory counts once: as superseded, if another one hides it, else as expired, if it is outside its time of
        validity, else as current. Memories without a scope count under `None`, which comes first.

        Args:
            user_id: Whose scopes.
            prefix: Only this scope and those below it.
            depth: How many segments of a path are told apart, 1 to 256; what lies deeper counts as part of the scope
                above it.
            timeout: Seconds this call may take.

        Returns:
            A list of at most 10,000; `truncated` says that there are more.
        """
        call = self._call(timeout)
        request = make_scopes_query(user_id, prefix=prefix, depth=depth)
        return await self._use(call, lambda provider: provider.scopes(request, call))

    @verb
    async def tags(self, user_id: str, *, scope: str | None = None, timeout: float | None = None) -> Overview[TagInfo]:
        """Return the tags of a user's current memories, with how many have each; those of most memories first.

        Args:
            user_id: Whose tags.
            scope: A scope, or a scope followed by `/*`.
            timeout: Seconds this call may take.

        Returns:
            A list of at most 10,000; `truncated` says that there are more.
        """
        call = self._call(timeout)
        request = make_tags_query(user_id, scope=scope)
        return await self._use(call, lambda provider: provider.tags(request, call))

    @verb
    async def users(
        self,
        *,
        prefix: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        timeout: float | None = None,
    ) -> UserPage:
        """Return a page of the users who have memories, with counts and the last change.

        They come in an order of the store's own, in which each comes once. A caller who may see one user only sees
        that one, with the memories that it may read.

        Args:
            prefix: Only users whose ids begin with this text.
            limit: How many at most, 1 to 1,000.
            cursor: `next_cursor` of the page before.
            timeout: Seconds this call may take.

        Raises:
            ScopeDeniedError: The caller is bound to no user and has no admin grant for everything.
        """
        call = self._call(timeout)
        request = make_users_query(prefix=prefix, limit=limit, cursor=cursor)
        return await self._use(call, lambda provider: provider.users(request, call))
