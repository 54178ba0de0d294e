"""The limits of a worker's call: its deadline, for SDKs that take a timeout, and its repeats."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from openmem._io.concurrency.call import Deadline
from openmem._model.retry import DEFAULT_RETRY, Retry

UNDO_SECONDS: Final = 30.0
"""Seconds that rolling back a failed batch may take, whatever is left of the call's own time."""

_retry: ContextVar[Retry] = ContextVar("openmem_retry", default=DEFAULT_RETRY)
_deadline: ContextVar[Deadline] = ContextVar("openmem_deadline", default=Deadline())  # noqa: B039 - it cannot change


def time_left() -> float | None:
    """Return the seconds that the call of this worker may still take, `None` without a limit.

    Raises:
        DeadlineExceededError: The time is used up.
    """
    return _deadline.get().remaining()


def call_deadline() -> Deadline:
    """Return the deadline of the call that this worker is at."""
    return _deadline.get()


def call_retry() -> Retry:
    """Return how often, and after how long, the call of this worker repeats a request."""
    return _retry.get()


@contextmanager
def use_retry(retry: Retry) -> Iterator[None]:
    """Make a policy that of the calls in this context."""
    token = _retry.set(retry)
    try:
        yield
    finally:
        _retry.reset(token)


@contextmanager
def use_deadline(deadline: Deadline) -> Iterator[None]:
    """Make a deadline that of the calls in this context."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def fresh_deadline() -> Iterator[None]:
    """Give what is done in this context `UNDO_SECONDS` of its own: a roll-back must not be late for the call."""
    with use_deadline(Deadline.after(UNDO_SECONDS)):
        yield
