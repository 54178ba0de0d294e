"""The guard: a provider before the provider, which lets through what a caller may do.

It checks what the arguments alone decide. What depends on a stored memory is decided by the provider inside its
transaction where `enforces_access` says so, and by `AsyncOuterGuard` for all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from openmem._async.provider import AsyncProvider
from openmem._io.concurrency.call import Call
from openmem._model.access import Access, missing_grant
from openmem._model.candidates import Candidate
from openmem._model.feed import FeedQuery
from openmem._model.requests import (
    AuditQuery,
    Change,
    Draft,
    Erasure,
    HistoryQuery,
    ListQuery,
    ScopesQuery,
    SearchQuery,
    TagsQuery,
    UsersQuery,
    View,
)
from openmem._model.results import HistoryPage
from openmem._model.retention import MaintenanceReport, Retention
from openmem._model.scopes import EVERYTHING, ScopePattern
from openmem._rules.overview import page_of_user
from openmem.errors import ScopeDeniedError
from openmem.types import (
    AuditEntry,
    Capabilities,
    ChangePage,
    ErasureReceipt,
    Health,
    ImportConflict,
    ImportReport,
    MemoryPage,
    MemoryRecord,
    Overview,
    ReembedReport,
    ScopeInfo,
    SearchResult,
    TagInfo,
    UserPage,
)


class AsyncGuard(AsyncProvider):
    """Lets through to a provider what one caller may do.

    A verb that has no rule here is not let through: the base says that it is not supported.

    Args:
        inner: The provider; it was opened already.
        access: What the caller may do.
    """

    def __init__(self, inner: AsyncProvider, access: Access) -> None:
        self.inner = inner
        self.access = access
        self.name = inner.name  # type: ignore[misc]  # each guard has the name of what it guards
        self.understands = inner.understands  # type: ignore[misc]  # and lets through what that understands

    async def capabilities(self, call: Call) -> Capabilities:
        """Say what the provider can do."""
        return await self.inner.capabilities(call)

    async def health(self, call: Call) -> Health:
        """Say how the provider is; the details count the memories of all users, so they are for admins."""
        health = await self.inner.health(call)
        return health if self.access.is_admin() else health.model_copy(update={"detail": {}})

    async def add(
        self, drafts: Sequence[Draft], on_progress: Callable[[int, int], object] | None, call: Call
    ) -> list[MemoryRecord]:
        """Store drafts whose scopes may be written."""
        self.check_drafts(drafts)
        return await self.inner.add(drafts, on_progress, call)

    async def get(self, id: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return one memory that may be read."""
        return await self.inner.get(id, self.owner(user_id), call)

    async def update(self, id: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change one memory that may be read and written."""
        owner = self.owner(user_id)
        self.check_change(change)
        return await self.inner.update(id, owner, change, call)

    async def delete(self, id: str, user_id: str | None, call: Call) -> None:
        """Erase one memory that may be deleted."""
        await self.inner.delete(id, self.owner(user_id), call)

    async def get_by_key(self, key: str, user_id: str | None, call: Call) -> MemoryRecord:
        """Return the memory with a key, if it may be read."""
        return await self.inner.get_by_key(key, self.owner(user_id), call)

    async def update_by_key(self, key: str, user_id: str | None, change: Change, call: Call) -> MemoryRecord:
        """Change the memory with a key, if it may be read and written."""
        owner = self.owner(user_id)
        self.check_change(change)
        return await self.inner.update_by_key(key, owner, change, call)

    async def delete_by_key(self, key: str, user_id: str | None, call: Call) -> str | None:
        """Erase the memory with a key, if it may be deleted."""
        return await self.inner.delete_by_key(key, self.owner(user_id), call)

    async def delete_all(self, user_id: str, scope: ScopePattern | None, call: Call) -> ErasureReceipt:
        """Erase memories of scopes that may all be deleted."""
        owner = self.named(user_id)
        self.access.need("delete", scope or EVERYTHING)
        return await self.inner.delete_all(owner, scope, call)

    async def delete_matching(self, erasure: Erasure, call: Call) -> ErasureReceipt:
        """Erase those that a filter is true of, in scopes that may all be deleted."""
        self.named(erasure.user_id)
        self.access.need("delete", erasure.scope or EVERYTHING)
        return await self.inner.delete_matching(erasure, call)

    async def list(self, query: ListQuery, call: Call) -> MemoryPage:
        """Return a page of the memories that may be read."""
        return await self.inner.list(replace(query, view=self.view(query.view)), call)

    async def scopes(self, query: ScopesQuery, call: Call) -> Overview[ScopeInfo]:
        """Return the scopes of the memories that may be read."""
        return await self.inner.scopes(replace(query, view=self.view(query.view)), call)

    async def tags(self, query: TagsQuery, call: Call) -> Overview[TagInfo]:
        """Return the tags of the memories that may be read."""
        return await self.inner.tags(replace(query, view=self.view(query.view)), call)

    async def users(self, query: UsersQuery, call: Call) -> UserPage:
        """Return all users to an admin; to a caller who is bound to one that user alone, by what it may read."""
        own = self.access.user_id
        if own is None:
            self.access.need("admin", EVERYTHING)
            return await self.inner.users(query, call)
        return page_of_user(own, await self.scopes(ScopesQuery(View(own), 0), call), query)

    async def search(self, query: SearchQuery, call: Call) -> Sequence[SearchResult]:
        """Return the best matches among the memories that may be read."""
        return await self.inner.search(self.seen(query), call)

    async def candidates(self, query: SearchQuery, call: Call) -> Sequence[Candidate]:
        """Return the same for a context."""
        return await self.inner.candidates(self.seen(query), call)

    async def history(self, id: str, user_id: str | None, call: Call) -> Sequence[MemoryRecord]:
        """Return those earlier states and superseded memories that may be read."""
        return await self.inner.history(id, self.owner(user_id), call)

    async def history_page(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of those."""
        return await self.inner.history_page(replace(query, user_id=self.owner(query.user_id)), call)

    async def history_by_key(self, query: HistoryQuery, call: Call) -> HistoryPage:
        """Return a page of those of the memory with a key."""
        return await self.inner.history_by_key(replace(query, user_id=self.owner(query.user_id)), call)

    async def audit(self, query: AuditQuery, call: Call) -> Sequence[AuditEntry]:
        """Return the audit log to a caller who may read all of the user's memories."""
        self.named(query.user_id)
        self.access.need("read", EVERYTHING)
        return await self.inner.audit(query, call)

    async def changes(self, query: FeedQuery, call: Call) -> ChangePage:
        """Return those of the next changes that the caller may see."""
        return await self.inner.changes(self.feed(query), call)

    async def wait_for_ingest(self, ids: Sequence[str], user_id: str, call: Call) -> None:
        """Wait for memories that may be read."""
        await self.inner.wait_for_ingest(ids, self.named(user_id), call)

    async def export(
        self, user_id: str | None, cursor: str | None, limit: int, call: Call
    ) -> tuple[Sequence[MemoryRecord], str | None]:
        """Return all memories of a user to who may read them, those of all users to an admin."""
        owner = self.owner(user_id)
        if owner is None:
            self.access.need("admin", EVERYTHING)
        else:
            self.access.need("read", EVERYTHING)
        return await self.inner.export(owner, cursor, limit, call)

    async def import_(self, drafts: Sequence[Draft], conflict: ImportConflict, call: Call) -> ImportReport:
        """Store records for a caller who may write everywhere."""
        for draft in drafts:
            self.named(draft.user_id)
        self.access.need("write", EVERYTHING)
        return await self.inner.import_(drafts, conflict, call)

    async def reembed(self, on_progress: Callable[[int, int], object] | None, call: Call) -> ReembedReport:
        """Move every memory of every user, for an admin."""
        self.access.need("admin", EVERYTHING)
        if self.access.user_id is not None:
            raise _bound()
        return await self.inner.reembed(on_progress, call)

    async def maintain(self, retention: Retention, call: Call, *, dry_run: bool) -> MaintenanceReport:
        """Remove what is old of every user, for an admin."""
        self.access.need("admin", EVERYTHING)
        if self.access.user_id is not None:
            raise _bound()
        return await self.inner.maintain(retention, call, dry_run=dry_run)

    def check_drafts(self, drafts: Sequence[Draft]) -> None:
        """Check that every draft belongs to the caller's user and goes where the caller may write."""
        for draft in drafts:
            self.named(draft.user_id)
        for index, draft in enumerate(drafts):
            if not self.access.may("write", draft.scope):
                error = missing_grant("write", draft.scope)
                if len(drafts) > 1:
                    error.details = {**(error.details or {}), "index": index}
                raise error

    def check_change(self, change: Change) -> None:
        """Check that a memory is moved only to where the caller may write."""
        if "scope" in change.fields:
            self.access.need("write", change.fields["scope"])

    def named(self, user_id: str) -> str:
        """Return the user that the caller named, who must be its own where it has one."""
        if self.access.user_id not in (None, user_id):
            raise _bound()
        return user_id

    def owner(self, user_id: str | None) -> str | None:
        """Return the same where no user need be named: then it is the caller's own, or any."""
        return self.access.user_id if user_id is None else self.named(user_id)

    def seen(self, query: SearchQuery) -> SearchQuery:
        """Return the query among what the caller may read."""
        view = self.view(query.view)
        return query if view is query.view else replace(query, view=view)

    def feed(self, query: FeedQuery) -> FeedQuery:
        """Return the query for what the caller may see: what it may read of a user, and as an admin of all users."""
        owner, visible = self.owner(query.user_id), self.access.patterns("read")
        if owner is None:
            self.access.need("admin", EVERYTHING)
        if visible == ():
            self.access.need("read", EVERYTHING)
        return replace(query, user_id=owner, visible=visible)

    def view(self, view: View) -> View:
        """Return the view with what the caller may read of it."""
        self.named(view.user_id)
        visible = self.access.patterns("read")
        if visible is None:
            return view
        if view.scope is not None or not visible:
            self.access.need("read", view.scope)
        return replace(view, visible=visible)


def _bound() -> ScopeDeniedError:
    return ScopeDeniedError("the key is bound to another user")
