"""How far long work has come, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from openmem.cli import output

if TYPE_CHECKING:
    from rich.progress import TaskID

_LINE_EVERY: Final = 5_000
_SHOW_EVERY: Final = 100


class Progress:
    """Call it with how much is done and, if known, how much there is.

    Args:
        verb: What is being done, such as "exported".
        quiet: Show nothing.
    """

    def __init__(self, verb: str, *, quiet: bool) -> None:
        self._verb = verb
        self._quiet = quiet
        self._done = 0
        self._said = 0
        self._bar: Any = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show that `done` of `total` is done."""
        self._done = done
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._draw(total)
        elif done // _LINE_EVERY > self._said:
            self._said = done // _LINE_EVERY
            output.say(f"{self._verb} {done:,}" + (f" of {total:,}" if total is not None else ""))

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        if self._done % _SHOW_EVERY == 0:
            self(self._done)

    def _draw(self, total: int | None) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._task = self._bar.add_task(self._verb, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=self._done, total=total)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Bar(*columns, console=Console(stderr=True), transient=True)
