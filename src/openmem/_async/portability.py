"""The verbs that carry memories from one store to another."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import Any, Self, cast

from openmem._async import ndjson as pages
from openmem._async.client import AsyncClient
from openmem._async.provider import AsyncProvider
from openmem._async.transfer import AsyncTransfer
from openmem._async.verbs import verb
from openmem._io.concurrency.primitives import AsyncBatches
from openmem._model.checks import check_callable, check_choice, check_flag, check_instance, check_owner
from openmem._protocol.export_format import memory_of
from openmem._rules.capabilities import with_arguments
from openmem._rules.validation import MAX_LIST, check_conflict, check_limit
from openmem.errors import InvalidRequestError
from openmem.types import (
    Capabilities,
    ExportPage,
    ImportConflict,
    ImportReport,
    MemoryRecord,
    TransferConflict,
    TransferProgress,
    TransferReport,
)


class AsyncPortable(AsyncClient):
    """`export`, `import_` and `transfer`."""

    @verb
    async def export(
        self,
        user_id: str | None = None,
        *,
        cursor: str | None = None,
        limit: int = MAX_LIST,
        timeout: float | None = None,
    ) -> ExportPage:
        """Return a page of memories as lines of JSON, hidden ones too; the first page begins with a header.

        Args:
            user_id: Whose memories, `None` for those of all users.
            cursor: `next_cursor` of the page before.
            limit: Memories per page, 1 to 500.
            timeout: Seconds this call may take.
        """
        call = self._call(timeout)
        owner, size = check_owner(user_id), check_limit(limit, MAX_LIST)
        return await self._use(call, lambda provider: pages.export(provider, owner, cursor, size, call))

    @verb
    async def import_(
        self,
        lines: Iterable[str] | AsyncIterable[str],
        *,
        conflict: ImportConflict = "skip",
        on_progress: Callable[[ImportReport], object] | None = None,
        timeout: float | None = None,
    ) -> ImportReport:
        """Store the memories of an export under their own ids, times and versions.

        Lines are read and stored in batches of 500, or of about a million characters, each in one piece:
        an export of any size takes little memory.

        Args:
            lines: Lines that `export` made.
            conflict: What to do with a memory that the user has already, by id or key: `skip`, `overwrite` or
                `duplicate` (store it under a new id).
            on_progress: Called with what was done so far after each batch of lines.
            timeout: Seconds that each batch may take.

        Raises:
            InvalidRequestError: A line is wrong; `details` holds its number and how many records were stored
                before its batch, of which nothing was stored.
        """
        call = self._call(timeout)
        check_callable(on_progress, "on_progress")
        policy, source = check_conflict(conflict), AsyncBatches(lines, "lines")
        return await self._use(
            call, lambda provider: pages.import_(provider, source, policy, on_progress, lambda: self._call(timeout))
        )

    @verb
    async def transfer(
        self,
        target: Self,
        *,
        user_id: str | None = None,
        conflict: TransferConflict = "skip",
        lossy: bool = False,
        dry_run: bool = False,
        limit: int = MAX_LIST,
        resume: TransferProgress | None = None,
        on_progress: Callable[[TransferProgress], object] | None = None,
        timeout: float | None = None,
    ) -> TransferReport:
        """Copy memories to another store, whatever its provider, and compare both stores at the end.

        Memories keep their ids, users, times, versions, validity and supersession; `x-openmem` says where each came
        from. Earlier versions and the audit log stay where they are. This store is only read. Before anything is
        written all memories are looked at, for what the target cannot hold. A transfer that was interrupted can be
        repeated: what has arrived is skipped. The comparison takes about 250 bytes for each memory.

        Args:
            target: An instance of the same class, for another store.
            user_id: Whose memories, `None` for those of all users.
            conflict: What to do with a memory that the target has already, by id or key: `skip` or `overwrite`.
            lossy: Go on even if the target cannot hold everything. What it cannot hold is left out.
            dry_run: Only look at the memories and report.
            limit: Memories that are read and written at once, 1 to 500.
            resume: Go on from here: what `on_progress` was called with last.
            on_progress: Called with a `TransferProgress` after each page.
            timeout: Seconds that each step may take.

        Returns:
            What was done and found. Look at `missing` and `different`, or at `complete`.

        Raises:
            UnsupportedCapabilityError: One of the stores cannot export or import; or the target cannot hold
                something and `lossy` was not given: `details["losses"]` has a list. Nothing was written.
        """
        if not isinstance(target, AsyncPortable):
            raise InvalidRequestError(f"target must be of the class {type(self).__name__}")
        if (target._root or target) is (self._root or self):
            raise InvalidRequestError("target: a store cannot be transferred to itself")
        check_callable(on_progress, "on_progress")
        start, only = check_instance(resume, TransferProgress, "resume"), check_flag(dry_run, "dry_run")
        work = AsyncTransfer(
            AsyncStoreEnd(self),
            AsyncStoreEnd(target),
            user_id=check_owner(user_id),
            conflict=cast(TransferConflict, check_choice(conflict, ("skip", "overwrite"), "conflict")),
            lossy=check_flag(lossy, "lossy"),
            limit=check_limit(limit, MAX_LIST),
            timeout=timeout,
            on_progress=on_progress,
        )
        return await work.run(start, dry_run=only)


class AsyncStoreEnd:
    """A store as one end of a transfer."""

    def __init__(self, memory: AsyncPortable) -> None:
        self._memory = memory
        self.export = memory.export
        self.import_ = memory.import_

    async def capabilities(self, timeout: float | None) -> Capabilities:
        """Return what the store can do."""
        call = self._memory._call(timeout)

        async def ask(provider: AsyncProvider) -> Capabilities:
            return with_arguments(await provider.capabilities(call), provider.understands)

        return await self._memory._use(call, ask)

    async def get_ingested(self, id_: str, user_id: str, timeout: float) -> dict[str, Any]:
        """Wait until a memory can be found, and return its fields as an export has them."""
        call = self._memory._call(timeout)

        async def read(provider: AsyncProvider) -> MemoryRecord:
            await provider.wait_for_ingest([id_], user_id, call)
            return await provider.get(id_, user_id, call)

        return memory_of(await self._memory._use(call, read))

    async def refused_users(self, users: Sequence[str], timeout: float | None) -> dict[str, str]:
        """Return why the provider takes nothing of some users; those that it takes are not in it."""
        return await self._memory._use(self._memory._call(timeout), lambda provider: _refused(provider, users))


async def _refused(provider: AsyncProvider, users: Sequence[str]) -> dict[str, str]:
    refusals: dict[str, str] = {}
    for user_id in users:
        try:
            provider.check_user(user_id)
        except InvalidRequestError as error:
            refusals[user_id] = error.message
    return refusals
