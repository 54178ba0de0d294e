"""The context of one call: caller, request id, time and deadline, which travel beside every request."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol

from openmem._model.access import Access, IdempotencySeed
from openmem.errors import DeadlineExceededError, OMPError
from openmem.types import UTC


class Deadline(NamedTuple):
    """A point on the monotonic clock by which a call must be done; `None` means no limit."""

    at: float | None = None
    timeout: float | None = None

    @classmethod
    def after(cls, timeout: float | None) -> Deadline:
        """Return the deadline `timeout` seconds from now."""
        return cls() if timeout is None else cls(time.monotonic() + timeout, timeout)

    def remaining(self) -> float | None:
        """Return the seconds left, or `None` without a limit.

        Raises:
            DeadlineExceededError: The time is used up.
        """
        if self.at is None:
            return None
        left = self.at - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def left(self) -> float | None:
        """Return the seconds left, 0 once the time is used up, or `None` without a limit."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raise `DeadlineExceededError` if the time is used up."""
        self.remaining()

    def passed(self) -> bool:
        """Return whether the time is used up."""
        return self.at is not None and time.monotonic() >= self.at

    def exceeded(self) -> DeadlineExceededError:
        """Return the error for this deadline."""
        return DeadlineExceededError(f"the call did not finish within {self.timeout:g} s")


@dataclass(slots=True)  # never changed, but every verb makes one, and a frozen one takes twice as long
class Call:
    """One use of one verb.

    `access` is what the caller may do, `None` for everything. `seed` makes an `add` repeatable. `nonce` is random
    where the caller chose the request id, which may then come twice.
    """

    app: str | None = None
    deadline: Deadline = field(default_factory=Deadline)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    request_id: str = field(default_factory=lambda: os.urandom(16).hex())
    access: Access | None = None
    seed: IdempotencySeed | None = None
    nonce: str | None = None

    def for_caller(
        self, app: str | None, request_id: str | None, access: Access | None, seed: IdempotencySeed | None
    ) -> Call:
        """Return this call as made by one caller, under the caller's request id if there is one."""
        # An id that the caller chose may come twice, so the nonce keeps the random one.
        own = request_id or self.request_id
        return Call(app, self.deadline, self.now, own, access, seed, self.request_id if request_id else None)

    def acting(
        self, app: str | None, request_id: str | None, access: Access | None, seed: IdempotencySeed | None
    ) -> Call:
        """Deprecated: the old name of `for_caller`. It goes in the next version."""
        warnings.warn("acting() is called for_caller(); the old name goes in the next version", DeprecationWarning, 2)
        return self.for_caller(app, request_id, access, seed)

    def origin(self) -> tuple[datetime, int]:
        """Return the time and the random number from which the ids of new memories are made."""
        return (self.now, random_id_bits()) if self.seed is None else (self.seed.at, self.seed.entropy)


class Named(Protocol):
    """Something with a name and a place."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def place(self) -> str | None:
        """Its address or path, without secrets."""


class annotate_errors:  # noqa: N801 - it is used like a function, and a generator takes three times as long
    """Puts the provider, where its store is, and the call's request id on errors that pass."""

    __slots__ = ("_call", "_provider")

    def __init__(self, call: Call, provider: Named) -> None:
        self._call, self._provider = call, provider

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OMPError):
            error.provider = error.provider or self._provider.name
            if error.place is None:
                error.place = self._provider.place
            error.request_id = error.request_id or self._call.request_id


def random_id_bits() -> int:
    """Return 71 random bits: room is left to count upwards from them within 72."""
    return int.from_bytes(os.urandom(9)) >> 1


def clock() -> float:
    """Return the seconds of a clock that measures how long something takes."""
    return time.perf_counter()


def milliseconds_since(started: float) -> float:
    """Return the milliseconds since a time of `clock`."""
    return round((clock() - started) * 1000, 3)
