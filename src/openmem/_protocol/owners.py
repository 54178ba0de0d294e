"""Whether what an OMP server answers is what was asked for: of that user, in that scope, and not more of it. Pure.

A server is trusted with its memories, and yet a mix-up there must not show one user's memories to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Final

from openmem._model.cursors import MAX_CURSOR
from openmem._model.feed import FeedQuery
from openmem._model.ids import Key, Named
from openmem._model.requests import (
    AuditQuery,
    ScopesQuery,
    UsersQuery,
    View,
)
from openmem._model.scopes import ScopePattern
from openmem._model.where import Where, matches, parse_where
from openmem._protocol.http_errors import Endpoint
from openmem.errors import ProviderError
from openmem.types import (
    AuditEntry,
    ChangePage,
    ErasureReceipt,
    MemoryRecord,
    ScopeInfo,
    UserInfo,
)

QUEUED: Final = "event-"
"""Begins the id of a text that is still taken in; what comes of it has an id of its own."""


class ReplyCheck:
    """Refuses replies of one server that are not what was asked for.

    Args:
        endpoint: The server.
        provider: The name that errors carry.
    """

    def __init__(self, endpoint: Endpoint, provider: str) -> None:
        self._endpoint, self._provider = endpoint, provider

    def one(self, record: MemoryRecord, named: Named, user_id: str | None) -> MemoryRecord:
        """Return a memory that was asked for by its id or its key.

        Raises:
            ProviderError: It is another one, or another user's.
        """
        self.owners([user_id], [record])
        if not _is_meant(record, named):
            raise self._refused("with another memory than was asked for")
        return record

    def seen(self, records: Sequence[MemoryRecord], view: View, limit: int) -> None:
        """Check memories that a view shows.

        Raises:
            ProviderError: One is another user's, outside of the view's scope or against its filter, or there are more
                than asked for.
        """
        self.count(records, limit)
        self.owners(repeat(view.user_id), records)
        if view.scope is not None and not all(view.scope.matches(record.scope) for record in records):
            raise self._refused("with a memory of another scope than was asked for")
        if view.where is not None and not all(matches(view.where, record.metadata) for record in records):
            raise self._refused("with a memory that the filter does not allow")

    def owners(self, wanted: Iterable[str | None], records: Iterable[MemoryRecord]) -> None:
        """Check that each memory is of the user at its position; `None` is any.

        Raises:
            ProviderError: One is another user's.
        """
        for user_id, record in zip(wanted, records, strict=False):
            if user_id not in (None, record.user_id):
                raise self._refused("with a memory of another user")

    def count(self, items: Sequence[object], limit: int) -> None:
        """Check that there are at most so many.

        Raises:
            ProviderError: There are more.
        """
        if len(items) > limit:
            raise self._refused(f"{len(items)} where at most {limit} were asked for")

    def receipt(
        self, receipt: ErasureReceipt, user_id: str, scope: ScopePattern | None, where: Where | None = None
    ) -> ErasureReceipt:
        """Return the receipt of an erasure.

        Raises:
            ProviderError: It is for another user, or another part of the scopes, or another filter.
        """
        meant = receipt.scope == (None if scope is None else str(scope)) and parse_where(receipt.where) == where
        if receipt.user_id != user_id or not meant:
            raise self._refused("with the receipt of another erasure than was asked for")
        return receipt

    def entries(self, entries: Sequence[AuditEntry], query: AuditQuery) -> Sequence[AuditEntry]:
        """Return audit entries.

        Raises:
            ProviderError: One is of another app than was asked for, or there are more than asked for.
        """
        self.count(entries, query.limit)
        if query.app is not None and any(entry.app != query.app for entry in entries):
            raise self._refused("with an entry of another app than was asked for")
        return entries

    def scopes(self, infos: Iterable[ScopeInfo], query: ScopesQuery) -> None:
        """Check scopes that were asked for.

        Raises:
            ProviderError: One is outside of those.
        """
        asked = query.view.scope
        if asked is not None and not all(asked.matches(info.scope) for info in infos):
            raise self._refused("with another scope than was asked for")

    def users(self, infos: Sequence[UserInfo], query: UsersQuery) -> None:
        """Check users that were asked for.

        Raises:
            ProviderError: One does not begin as was asked for, or there are more than asked for.
        """
        self.count(infos, query.limit)
        if not all(info.user_id.startswith(query.prefix or "") for info in infos):
            raise self._refused("with another user than was asked for")

    def changes(self, page: ChangePage, query: FeedQuery) -> ChangePage:
        """Return a page of changes.

        Raises:
            ProviderError: One is another user's, there are more than asked for, or the page leads back to itself.
        """
        self.count(page.items, query.limit)
        if query.user_id is not None and any(one.user_id != query.user_id for one in page):
            raise self._refused("with a change of another user's memory")
        if page.has_more or page.next_cursor != query.cursor:
            self.cursor(page.next_cursor, query.cursor)
        return page

    def cursor(self, following: str | None, asked: str | None) -> str | None:
        """Return the cursor of the next page.

        Raises:
            ProviderError: It leads back to the page that was asked for, or is none.
        """
        if following is None:
            return None
        if following == asked:
            raise self._refused("with the cursor that it was given: its pages come to no end")
        if not 0 < len(following) <= MAX_CURSOR:
            raise self._refused("with a cursor that cannot be sent back")
        return following

    def _refused(self, what: str) -> ProviderError:
        return ProviderError(f"{self._endpoint.server} answered {what}", provider=self._provider)


def _is_meant(record: MemoryRecord, named: Named) -> bool:
    if isinstance(named, Key):
        return record.key == named.name
    return record.id == named or named.startswith(QUEUED)
