"""The facade: every verb of the protocol, checked here and done by a provider."""

from __future__ import annotations

from openmem._async.adding import AsyncAdding, Progress
from openmem._async.counting import AsyncCounting
from openmem._async.feed import AsyncFeed
from openmem._async.keeping import AsyncKeeping
from openmem._async.listing import AsyncListing
from openmem._async.portability import AsyncPortable
from openmem._async.provider import AsyncProvider
from openmem._async.searching import AsyncSearching
from openmem._async.verbs import verb
from openmem._io.concurrency.call import Call, clock, milliseconds_since
from openmem._model.arguments import Texts, Time
from openmem._model.checks import check_callable, check_flag
from openmem._model.retention import MaintenanceReport, Retention
from openmem._rules.capabilities import with_arguments
from openmem._rules.validation import (
    check_ids,
    check_user_id,
    make_audit_query,
)
from openmem.types import (
    AuditEntry,
    Capabilities,
    Health,
    ReembedReport,
)


class AsyncMemory(AsyncAdding, AsyncKeeping, AsyncListing, AsyncCounting, AsyncSearching, AsyncFeed, AsyncPortable):
    """One stable set of verbs over every memory backend.

    Every verb takes `timeout`, in seconds, instead of the instance's own, and raises an `OMPError`:
    `InvalidRequestError` before the backend is touched when an argument breaks the contract,
    `UnsupportedCapabilityError` for what the provider cannot do, `DeadlineExceededError` when the time is up, and
    `ProviderError` when the backend fails. After `close` every verb raises `RuntimeError`.

    Args:
        provider: Name of a provider. Without it, the scheme of `url`, then `base_url`, then the environment
            decides; with none of them, memories go to one SQLite file in the user's data folder.
        url: Where the store is: `sqlite:///FILE`, a path, `postgresql://…`, or `http(s)://…` of an OMP server.
        base_url: Address of a service.
        api_key: Key for the service.
        embedder: `None` for the local model if the extra `local` is installed, `"none"`, `"openai:model"`,
            `"fastembed[:model[@folder]]"`, or an object with `dim`, `model` and `embed(texts)`.
        app: Who uses this instance, for the audit log.
        timeout: Seconds that a verb may take, `None` for no limit.
        retry: How often, and after how long, requests to a server, a service or an embeddings endpoint are repeated:
            an `openmem.providers.Retry`. For providers that make requests, or have such an embedder.
        create: Make the store where there is none; `False` makes that an error, so that a wrong address is noticed.
        **options: What only the provider knows.

    Raises:
        InvalidRequestError: An argument is wrong, or something is missing; the message says what to give or install.
        UnsupportedProviderError: There is no such provider.
    """

    @verb
    async def audit(
        self,
        user_id: str,
        *,
        app: str | None = None,
        since: Time | None = None,
        limit: int = 100,
        timeout: float | None = None,
    ) -> list[AuditEntry]:
        """Return who did what to a user's memories, newest first. Entries never hold content.

        Args:
            user_id: Whose audit log.
            app: Only what this app did.
            since: Only what happened at this time or later.
            limit: How many at most, 1 to 1,000.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        request = make_audit_query(user_id, app=app, since=since, limit=limit)
        return [*await self._use(call, lambda provider: provider.audit(request, call), request)]

    @verb
    async def capabilities(self, *, timeout: float | None = None) -> Capabilities:
        """Return what the provider can do."""
        call = self._call(timeout)

        async def ask(provider: AsyncProvider) -> Capabilities:
            return with_arguments(await provider.capabilities(call), provider.understands)

        return await self._use(call, ask)

    @verb
    async def wait_for_ingest(self, ids: Texts, user_id: str, *, timeout: float | None = None) -> None:
        """Return once the memories can be found; at once where storing makes them so.

        Args:
            ids: What `add` returned.
            user_id: Whose memories.
            timeout: Seconds this call may take; `OMP_INGEST_TIMEOUT` in the environment is its default.

        Raises:
            NotFoundError: There is no memory of one of the ids.
            IngestionTimeoutError: A memory was not ready in time.
        """
        call = self._call(self._ingest_timeout if timeout is None and self._root is None else timeout)
        known, owner = check_ids(ids), check_user_id(user_id)
        await self._use(call, lambda provider: provider.wait_for_ingest(known, owner, call))

    @verb
    async def reembed(self, *, on_progress: Progress | None = None, timeout: float | None = None) -> ReembedReport:
        """Move every memory to the model of this instance's embedder.

        The store can be read with the old model meanwhile. A move that was interrupted goes on where it stopped.

        Args:
            on_progress: Called with how many memories are done and how many there are.
            timeout: Seconds this call may take; there is no limit unless given.
        """
        call = self._call(timeout, limited=False)
        check_callable(on_progress, "on_progress")
        return await self._use(call, lambda provider: provider.reembed(on_progress, call))

    @verb
    async def maintain(
        self,
        *,
        audit_days: float | None = None,
        versions: int | None = None,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> MaintenanceReport:
        """Remove old audit entries and old versions of all users' memories now, and shrink the file.

        What was removed stays removed if it is interrupted; the next time goes on from there.

        Args:
            audit_days: Entries that are older go; as this instance was told, unless given.
            versions: How many earlier versions of each memory stay, from 0; the same.
            dry_run: Only say how much would be removed.
            timeout: Seconds this call may take; there is no limit unless given.

        Raises:
            UnsupportedCapabilityError: The provider is no store of ours.
        """
        call = self._call(timeout, limited=False)
        asked, only_count = Retention(audit_days, versions), check_flag(dry_run, "dry_run")
        return await self._use(call, lambda provider: provider.maintain(asked, call, dry_run=only_count))

    @verb
    async def health(self, *, timeout: float | None = None) -> Health:
        """Ask the backend something small and return how it went."""
        call = self._call(timeout)
        return await self._use(call, lambda provider: _timed_health(provider, call))


async def _timed_health(provider: AsyncProvider, call: Call) -> Health:
    started = clock()
    health = await provider.health(call)
    health.latency_ms = milliseconds_since(started)
    return health
