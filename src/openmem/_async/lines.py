"""Memories as lines of JSON: out in pages, in by batches."""

from __future__ import annotations

from collections.abc import Callable

from openmem._async.provider import AsyncProvider
from openmem._io.call import Call
from openmem._io.concurrency import AsyncBatches
from openmem.errors import OMPError
from openmem.portable import header_line, parse_line, record_line
from openmem.types import ExportPage, ImportConflict, ImportReport
from openmem.validation import MAX_LIST


async def export(
    provider: AsyncProvider, user_id: str | None, cursor: str | None, limit: int, call: Call
) -> ExportPage:
    """Return a page of lines; the first page begins with a header."""
    if user_id is None and call.access is not None:
        user_id = call.access.user_id
    records, following = await provider.export(user_id, cursor, limit, call)
    lines = [record_line(record) for record in records]
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
        while lines := await source.take(MAX_LIST):
            parsed = [parse_line(line, number) for number, line in enumerate(lines, read + 1)]
            read += len(lines)
            drafts = [draft for draft in parsed if draft is not None]
            if drafts:
                report.include(await provider.import_(drafts, conflict, new_call()))
            if on_progress is not None:
                on_progress(report.model_copy())
    except OMPError as error:
        error.details = {**(error.details or {}), "done": report.model_dump()}
        raise
    return report
