"""A line of the table whose figure is a share that must be at least so large: of what was to be found, of a speed."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measure import Line


@dataclass(frozen=True, slots=True)
class Share(Line):
    """One line of the table. With `at_least` the figure has a goal, which it may equal."""

    @property
    def verdict(self) -> str:
        """`PASS`, `MISS`, or nothing where there is no goal."""
        if self.at_least is None:
            return ""
        return "PASS" if self.figure >= self.at_least else "MISS"

    def cells(self) -> tuple[str, ...]:
        """Return what stands in the columns."""
        goal = "" if self.at_least is None else f">= {self.at_least:g}"
        return self.what, self.measured, self.against, f"{self.figure:.3f}", goal, str(self.count)
