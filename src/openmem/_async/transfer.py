"""Moving memories between two stores: look at all first, copy page by page, compare at the end.

A service that takes texts in by and by may not show yet what it was given. So what a source is still taking in is
waited for before it is read, and what a target is still taking in, before it counts as different.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from openmem._model.cursors import CursorTrail
from openmem._protocol.export_format import memory_line, read_memory
from openmem._protocol.transfer_plan import MAX_EXAMPLES, Fitting, Ledger, check_ends, describe, is_pending
from openmem.errors import DeadlineExceededError, IngestionTimeoutError, OMPError, UnsupportedCapabilityError
from openmem.types import (
    Capabilities,
    ExportPage,
    ImportConflict,
    ImportReport,
    TransferConflict,
    TransferProgress,
    TransferReport,
    TransferStage,
)

Tell = Callable[[TransferProgress], object]

PATIENCE: Final = 60.0
"""Seconds to wait for a service that is still taking in a memory, unless steps have a limit of their own."""


class AsyncTransferEnd(Protocol):
    """The part of a store that a transfer uses."""

    async def capabilities(self, timeout: float | None) -> Capabilities:
        """Return what the store can do."""

    async def export(
        self, user_id: str | None = None, *, cursor: str | None = None, limit: int = ..., timeout: float | None = None
    ) -> ExportPage:
        """Return a page of memories as lines of JSON."""

    async def import_(
        self, lines: Iterable[str], *, conflict: ImportConflict = "skip", timeout: float | None = None
    ) -> ImportReport:
        """Store memories under their own ids, times and versions."""

    async def get_ingested(self, id_: str, user_id: str, timeout: float) -> dict[str, Any]:
        """Wait until a memory can be found, and return its fields as an export has them."""

    async def refused_users(self, users: Sequence[str], timeout: float | None) -> dict[str, str]:
        """Return why the store takes nothing of some users."""


class AsyncTransfer:
    """One run from a source to a target.

    Memories keep their ids, so a run that is repeated stores nothing twice.

    Args:
        source: Where memories come from; it is only read.
        target: Where they go.
        user_id: Whose memories, `None` for those of all users.
        conflict: What to do with a memory that the target has already.
        lossy: Go on without what the target cannot hold.
        limit: Memories per page, 1 to 500.
        timeout: Seconds that each step may take.
        on_progress: Called after each page.
    """

    def __init__(
        self,
        source: AsyncTransferEnd,
        target: AsyncTransferEnd,
        *,
        user_id: str | None,
        conflict: TransferConflict,
        lossy: bool,
        limit: int,
        timeout: float | None,
        on_progress: Tell | None,
    ) -> None:
        self._source, self._target = source, target
        self._user_id, self._conflict, self._lossy = user_id, conflict, lossy
        self._limit, self._timeout = limit, timeout
        self._on_progress = on_progress
        self._patient = True

    async def run(self, resume: TransferProgress | None, *, dry_run: bool) -> TransferReport:
        """Survey, copy from where `resume` stopped, and verify; a dry run only surveys."""
        source = await self._source.capabilities(self._timeout)
        target = await self._target.capabilities(self._timeout)
        check_ends(source, target)
        report = TransferReport(source=source.provider, target=target.provider)
        ledger = Ledger(target.provider, rewritten=self._conflict == "overwrite")
        await self._survey(report, Fitting(source.provider, target), ledger)
        if dry_run:
            return report
        if report.losses and not self._lossy:
            message = f"the target cannot hold: {describe(report.losses)}; give lossy=True to go on without"
            details = {"losses": [loss.model_dump() for loss in report.losses]}
            raise UnsupportedCapabilityError(message, provider=target.provider, details=details)
        if resume is None or resume.stage != "verify":
            await self._copy(report, Fitting(source.provider, target), resume)
        await self._verify(report, ledger)
        return report

    async def _survey(self, report: TransferReport, fitting: Fitting, ledger: Ledger) -> None:
        cursor: str | None = None
        trail = CursorTrail()
        while True:
            page = await self._source.export(self._user_id, cursor=cursor, limit=self._limit, timeout=self._timeout)
            memories = await self._settled(_memories(page.lines))
            for memory in await self._fit(memories, fitting):
                ledger.expect(memory)
            report.memories += len(memories)
            self._tell("survey", report.memories, None, None)
            cursor = trail.follow(page.next_cursor)
            if cursor is None:
                break
        report.losses = fitting.losses
        report.left_behind = sum(loss.memories for loss in report.losses if loss.stays)

    async def _copy(self, report: TransferReport, fitting: Fitting, resume: TransferProgress | None) -> None:
        going_on = resume is not None and resume.stage == "copy"
        cursor, done = (resume.cursor, resume.done) if resume is not None and going_on else (None, 0)
        trail = CursorTrail()
        while True:
            page = await self._source.export(self._user_id, cursor=cursor, limit=self._limit, timeout=self._timeout)
            memories = await self._settled(_memories(page.lines))
            fitting_ones = await self._fit(memories, fitting)
            if fitting_ones:
                lines = [memory_line(memory) for memory in fitting_ones]
                report.include(await self._target.import_(lines, conflict=self._conflict, timeout=self._timeout))
            done, cursor = done + len(memories), trail.follow(page.next_cursor)
            self._tell("copy", done, report.memories, cursor)
            if cursor is None:
                self._tell("verify", 0, report.memories, None)
                return

    async def _verify(self, report: TransferReport, ledger: Ledger) -> None:
        cursor: str | None = None
        trail = CursorTrail()
        while True:
            page = await self._target.export(self._user_id, cursor=cursor, limit=self._limit, timeout=self._timeout)
            for memory in _memories(page.lines):
                if not ledger.meet(memory) and is_pending(memory):
                    ledger.meet_again(await self._later(self._target, memory))
            self._tell("verify", ledger.verified, report.memories, None)
            cursor = trail.follow(page.next_cursor)
            if cursor is None:
                break
        missing = ledger.missing
        report.verified, report.missing, report.different = ledger.verified, len(missing), len(ledger.different)
        report.examples = [*missing, *ledger.different][:MAX_EXAMPLES]

    async def _settled(self, memories: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return memories of the source as they are once it has taken them in."""
        return [await self._later(self._source, memory) if is_pending(memory) else memory for memory in memories]

    async def _later(self, end: AsyncTransferEnd, memory: dict[str, Any]) -> dict[str, Any]:
        """Return a memory as it is once the store has taken it in, or as it is now if that fails or takes too long."""
        if not self._patient:
            return memory
        try:
            return await end.get_ingested(
                memory["id"], memory["user_id"], PATIENCE if self._timeout is None else self._timeout
            )
        except OMPError as error:
            self._patient = not isinstance(error, DeadlineExceededError | IngestionTimeoutError)
            return memory

    async def _fit(self, memories: Sequence[dict[str, Any]], fitting: Fitting) -> list[dict[str, Any]]:
        users = sorted({memory["user_id"] for memory in memories})
        refused = await self._target.refused_users(users, self._timeout) if users else {}
        fitted = [fitting.fit(memory, refused.get(memory["user_id"])) for memory in memories]
        return [memory for memory in fitted if memory is not None]

    def _tell(self, stage: TransferStage, done: int, total: int | None, cursor: str | None) -> None:
        if self._on_progress is not None:
            self._on_progress(TransferProgress(stage=stage, done=done, total=total, cursor=cursor))


def _memories(lines: Sequence[str]) -> list[dict[str, Any]]:
    return [memory for line in lines if (memory := read_memory(line)) is not None]
