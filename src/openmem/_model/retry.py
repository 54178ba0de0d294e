"""Whether and when to repeat a failed request. Chance and the time left are arguments: it is pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from openmem.errors import DeadlineExceededError, IngestionTimeoutError, InvalidRequestError, OMPError

MAX_RETRIES: Final = 100
MAX_BACKOFF: Final = 60.0
"""Most seconds of one wait that is not bounded by a deadline, `Retry-After` included."""
STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
"""HTTP statuses that may be gone a moment later."""
REFUSED: Final = 429
"""The HTTP status with which a server says that it did not act on the request."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that failed.

    Attributes:
        error: What to raise if there is no further attempt.
        status: The HTTP status of the reply; `None` if there was none.
        passing: Without a status: whether the trouble may be gone a moment later, as with a lost connection.
        untouched: The server certainly did not act on the request.
    """

    error: OMPError
    status: int | None = None
    passing: bool = False
    untouched: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """The repeats of a request that failed for a passing reason: how many, and how long the waits are.

    The waits grow exponentially, are spread at random, and are as long as `Retry-After` asks for at least. One that
    would not end before the deadline is not begun: the error is raised at once. A request that changes something is
    repeated only where a second one does no harm, or where the server certainly did not act on the first.

    Args:
        retries: How often a request is made again: 0 for never, 100 at most.
        backoff: Seconds that the first wait takes at most, doubled for each further one; 0 to 60.
        max_backoff: Seconds beyond which waits do not grow; from `backoff` to 60. Without a deadline, a server that
            asks for a wait of more than 60 seconds gets no further request.
        jitter: Whether a wait is a random part of these seconds, so that many callers do not come back at once.
            `False` waits them all.
        statuses: The HTTP statuses that are worth another attempt. A lost or refused connection always is.

    Raises:
        InvalidRequestError: A value is of the wrong type or out of range.
    """

    retries: int = 2
    backoff: float = field(default=0.25, kw_only=True)
    max_backoff: float = field(default=8.0, kw_only=True)
    jitter: bool = field(default=True, kw_only=True)
    statuses: Iterable[int] = field(default=STATUSES, kw_only=True)

    def __post_init__(self) -> None:
        if type(self.retries) is not int or not 0 <= self.retries <= MAX_RETRIES:
            raise InvalidRequestError(f"Retry: retries must be a whole number from 0 to {MAX_RETRIES}")
        for name in ("backoff", "max_backoff"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.max_backoff < self.backoff:
            raise InvalidRequestError("Retry: max_backoff must not be less than backoff")
        if not isinstance(self.jitter, bool):
            raise InvalidRequestError("Retry: jitter must be True or False")
        object.__setattr__(self, "statuses", _statuses(self.statuses))

    def pause_after(
        self, failed: FailedAttempt, repeats: int, *, repeatable: bool, left: float | None, random: float
    ) -> float | None:
        """Return the seconds to wait before the request is made again, or `None` if it is not.

        Args:
            failed: The attempt that failed.
            repeats: How often the request was made again so far, from 0.
            repeatable: The request may be carried out twice without harm.
            left: Seconds left for the call; `None` without a limit.
            random: A random number in [0, 1).
        """
        # 1. Made again as often as allowed: the last error is the one that counts.
        if repeats >= self.retries:
            return None
        # 2. Trouble that lasts, such as a wrong argument or a wrong key.
        if not self._is_passing(failed):
            return None
        # 3. The request may have been carried out, and a second time would do harm.
        if not (repeatable or failed.untouched or failed.status == REFUSED):
            return None
        # 4. Passing, and harmless: after a wait that ends while there is time for an answer.
        pause = self._pause(repeats, failed.error.retry_after, random)
        return pause if pause < (MAX_BACKOFF if left is None else left) else None

    def _is_passing(self, failed: FailedAttempt) -> bool:
        # A deadline that passed at the server has passed here too, or nearly, whatever the status.
        if isinstance(failed.error, DeadlineExceededError | IngestionTimeoutError):
            return False
        return failed.passing if failed.status is None else failed.status in self.statuses

    def _pause(self, repeats: int, retry_after: float | None, random: float) -> float:
        part = random if self.jitter else 1.0
        if retry_after is not None:  # a little later than asked for, for all were asked for the same moment
            return retry_after + (random * self.backoff if self.jitter else 0.0)
        return part * min(self.max_backoff, self.backoff * 2.0 ** min(repeats, 16))


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_BACKOFF:
        raise InvalidRequestError(f"Retry: {name} must be a number of seconds from 0 to {MAX_BACKOFF:g}")
    return float(value)


def _statuses(value: Any) -> frozenset[int]:
    try:
        found = frozenset(value)
    except TypeError:
        found = frozenset({None})
    if not all(type(each) is int and 400 <= each <= 599 for each in found):
        raise InvalidRequestError("Retry: statuses must be HTTP statuses from 400 to 599")
    return found


DEFAULT_RETRY: Final = Retry()
"""The default."""
