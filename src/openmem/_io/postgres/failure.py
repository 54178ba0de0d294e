"""A failure of the driver on its way from a connection to the loop that decides about another attempt."""

from __future__ import annotations

from openmem._model.retry import FailedAttempt
from openmem._sql.postgres.errors import Report, is_collision, quotes_values
from openmem.errors import OMPError


class Failure(Exception):
    """A statement or a connection failed. It never leaves the pipes.

    Attributes:
        attempt: What it says of the attempt that it ended. The cause of its error is the driver's own, or none if
            that may quote what was stored.
        lost: The connection is of no further use.
        unprepared: The server does not know a prepared statement that was made before: something stands between.
    """

    def __init__(
        self,
        error: OMPError,
        cause: BaseException | None,
        *,
        lost: bool,
        passing: bool,
        harmless: bool,
        unprepared: bool = False,
    ) -> None:
        super().__init__(error.message)
        error.__cause__ = cause
        self.attempt = FailedAttempt(error, passing=passing, untouched=harmless)
        self.lost = lost
        self.unprepared = unprepared


def failure_of_report(
    report: Report, error: BaseException, *, closed: bool, harmless: bool, untouched: bool
) -> Failure:
    """Return the failure that a report of the server stands for.

    Args:
        report: The report.
        error: The driver's error.
        closed: The connection is closed.
        harmless: Nothing was done yet.
        untouched: No statement before this one had an effect, or what it did is undone.
    """
    # A connection whose statements are out of date is closed with all others: a new one prepares them again.
    # Else it is lost if it is closed, or if the server ends it.
    lost = closed or report.lost or report.stale
    return Failure(
        report.error(),
        None if quotes_values(report.state) else error,
        lost=lost,
        passing=lost or report.concerns_a_node or is_collision(report.state),
        harmless=harmless or ((report.stale or is_collision(report.state)) and untouched),
        unprepared=report.unprepared,
    )
