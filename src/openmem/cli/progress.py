"""The progress of long work, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from openmem.cli import output

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

_LINE_EVERY: Final = 5_000
_SHOW_EVERY: Final = 100


class Progress:
    """Call it with how much is done and, if known, how much there is.

    Args:
        verb: What is being done, such as "exported".
        quiet: Show nothing.
        line_every: How many make a line where there is no terminal.
    """

    def __init__(self, verb: str, *, quiet: bool, line_every: int = _LINE_EVERY) -> None:
        self._verb = verb
        self._quiet = quiet
        self._line_every = line_every
        self._done = 0
        self._said = 0
        self._start: tuple[datetime, int] | None = None
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
        if self._start is None:
            self._start = datetime.now(UTC), done
        if self._quiet:
            return
        if sys.stderr.isatty():
            self._draw(total)
        elif done // self._line_every > self._said:
            self._said = done // self._line_every
            output.say(f"{self._verb} {done:,}" + (f" of {total:,}{self._pace(total)}" if total is not None else ""))

    def step(self) -> None:
        """Count one more."""
        self._done += 1
        if self._done % _SHOW_EVERY == 0:
            self(self._done)

    def _pace(self, total: int) -> str:
        """Return how fast it has gone since the first call, and how long it will take."""
        began, first = self._start or (datetime.now(UTC), self._done)
        rate = (self._done - first) / max((datetime.now(UTC) - began).total_seconds(), 0.001)
        return f", {rate:,.0f} a second, {_time_left(total - self._done, rate)} left" if rate > 0 else ""

    def _draw(self, total: int | None) -> None:
        if self._bar is None:
            self._bar = _bar()
            self._task = self._bar.add_task(self._verb, total=total, completed=self._done)
            self._bar.start()
        self._bar.update(self._task, completed=self._done, total=total)


def _time_left(todo: int, rate: float) -> timedelta:
    return timedelta(seconds=round(max(todo, 0) / rate))


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class PaceColumn(ProgressColumn):
        """Rate and time left, once both are known."""

        def render(self, task: Task) -> Text:
            if not task.speed or task.remaining is None:
                return Text("")
            return Text(f"{task.speed:,.0f}/s, {_time_left(int(task.remaining), task.speed)} left")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        PaceColumn(),
    )
    return Bar(*columns, console=Console(stderr=True), transient=True)
