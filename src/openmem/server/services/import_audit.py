"""An import on its way through the server, watched for the audit log: what was stored is known batch by batch."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from openmem.server.routes.request import RequestContext
from openmem.server.services.audit import Touched, is_open
from openmem.server.services.timing import off_loop
from openmem.types import ImportReport

_NOTHING: Final = ImportReport()
_MARK: Final = "\ufeff"  # of the order of bytes, which the first line of a file may begin with


class ImportAudit:
    """Lines that pass through to an import, and the entries that they make.

    A report counts and names no memories. Where a batch was not stored as a whole, because some of it was there, all of
    its memories are entered: the store does not tell which of them it wrote.

    Args:
        request: The request.
        lines: Where the lines come from.
    """

    def __init__(self, request: RequestContext, lines: AsyncIterator[str]) -> None:
        self._request = request
        self._source = lines
        self._batch: list[str] = []
        self._done = _NOTHING
        self._due: list[tuple[str, list[str], bool]] = []

    async def lines(self) -> AsyncIterator[str]:
        """Yield the lines; when one is asked for, the batches before it are done."""
        try:
            async for line in self._source:
                await self.enter()
                self._batch.append(line)
                yield line
        except GeneratorExit:
            raise
        except BaseException:  # the batch was never complete, and was handed on to nothing
            self._batch.clear()
            raise

    def note(self, report: ImportReport) -> None:
        """Take over what has been done so far, with the end of a batch."""
        before, self._done = self._done, report
        changed = report.overwritten > before.overwritten
        copied = report.duplicated > before.duplicated
        if changed or copied or report.imported > before.imported:
            only_changed = changed and report.imported == before.imported
            self._take("update" if only_changed else "add", named=not copied)
        self._batch.clear()

    async def enter(self, failure: BaseException | None = None) -> None:
        """Enter what is known by now.

        Args:
            failure: What ended the import. If it leaves open whether the last batch was stored, that is entered too.
        """
        if failure is not None and is_open(failure):
            self._take("add", named=True)
        due, self._due = self._due, []
        for action, lines, named in due:
            touched = await off_loop(_targets, lines, named)
            await self._request.service.audit.enter(self._request, action, *touched)

    def _take(self, action: str, *, named: bool) -> None:
        """Make entries due for the memories of the batch; copies have ids that are not in the lines."""
        self._due.append((action, [*self._batch], named))


def _targets(lines: Sequence[str], named: bool) -> list[Touched]:
    memories = [json.loads(line.removeprefix(_MARK)).get("memory") for line in lines if line.strip()]
    return [_target(memory, named) for memory in memories if memory is not None]


def _target(memory: dict[str, Any], named: bool) -> Touched:
    return Touched(memory["user_id"], memory["id"] if named else None, memory.get("scope"))
