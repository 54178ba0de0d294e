"""Memories as lines of JSON: out in pages, in by batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from openmem._async.provider import AsyncProvider, check_understood
from openmem._io.concurrency.call import Call
from openmem._io.concurrency.primitives import AsyncBatches, async_to_thread
from openmem._protocol.export_format import header_line, parse_lines, record_line
from openmem._rules.validation import MAX_LIST
from openmem.errors import OMPError
from openmem.types import ExportPage, ImportConflict, ImportReport, MemoryRecord

BATCH_CHARACTERS: Final = 1_000_000
"""The line that brings a batch of an import to this size is its last: parsed, it may take thirty times its length."""


async def export(
    provider: AsyncProvider, user_id: str | None, cursor: str | None, limit: int, call: Call
) -> ExportPage:
    """Return a page of lines; the first page begins with a header."""
    if user_id is None and call.access is not None:
        user_id = call.access.user_id
    records, following = await provider.export(user_id, cursor, limit, call)
    kept = [records]
    del records  # so that they are freed by the thread: of millions of values that takes long
    lines = await async_to_thread(_lines_of, kept)
    if cursor is None:
        said = await provider.capabilities(call)  # behind a server, whose memories it has
        lines.insert(0, header_line(call.now, said.provider, user_id))
    return ExportPage(lines=lines, next_cursor=following)


async def import_(
    provider: AsyncProvider,
    source: AsyncBatches[str],
    conflict: ImportConflict,
    on_progress: Callable[[ImportReport], object] | None,
    new_call: Callable[[], Call],
) -> ImportReport:
    """Store the memories of some lines, batch by batch; after each, `on_progress` gets the report so far."""
    report, read = ImportReport(), 0
    try:
        while lines := await source.take(MAX_LIST, BATCH_CHARACTERS):
            drafts = await async_to_thread(parse_lines, lines, read + 1)
            read += len(lines)
            if drafts:
                check_understood(provider, drafts)
                report.include(await provider.import_(drafts, conflict, new_call()))
            if on_progress is not None:
                on_progress(report.model_copy())
    except OMPError as error:
        error.details = {**(error.details or {}), "done": report.model_dump()}
        raise
    return report


def _lines_of(kept: list[Sequence[MemoryRecord]]) -> list[str]:
    return [record_line(record) for record in kept.pop()]
