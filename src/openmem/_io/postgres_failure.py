"""A failure of the driver on its way from a connection to whoever decides about trying again."""

from __future__ import annotations

from openmem.errors import OMPError


class Failure(Exception):
    """A statement or a connection failed. It never leaves the pipes.

    Attributes:
        error: What to raise if there is no further attempt.
        cause: The driver's own error, to be shown as the cause; `None` if it may quote what was stored.
        lost: The connection is of no further use.
        passing: Another attempt may well succeed.
        harmless: Nothing was done yet, so another attempt is always allowed.
    """

    def __init__(
        self, error: OMPError, cause: BaseException | None, *, lost: bool, passing: bool, harmless: bool
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.cause = cause
        self.lost = lost
        self.passing = passing
        self.harmless = harmless

    def may_repeat(self, retry: bool) -> bool:
        """Return whether the work may be done once more, if that is harmless or `retry` says it is."""
        return self.passing and (retry or self.harmless)
