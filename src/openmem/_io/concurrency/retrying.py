"""Making a request again by a policy, in both forms: the only two loops that do so."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_sleep, sleep
from openmem._model.retry import FailedAttempt, Retry

T = TypeVar("T")


async def async_repeat(
    attempt: Callable[[], Awaitable[T | FailedAttempt]], retry: Retry, deadline: Deadline, *, repeatable: bool
) -> T:
    """Make attempts until one succeeds, or the policy says that there is no further one.

    Args:
        attempt: Makes one attempt. It returns a failure instead of raising it, so that the error which is raised in
            the end carries none of another library's, with what was asked, as its context.
        retry: The policy.
        deadline: Bounds the waits; what attempts take is up to them.
        repeatable: The request may be carried out twice without harm.

    Raises:
        OMPError: The error of the last attempt.
    """
    repeats = 0
    while isinstance(result := await attempt(), FailedAttempt):
        pause = _pause(result, retry, repeats, deadline, repeatable)
        if pause is None:
            raise result.error
        # A pause of nothing is none: a repeat at once does not even give others their turn.
        if pause:
            await async_sleep(pause)
        repeats += 1
    return result


def repeat(attempt: Callable[[], T | FailedAttempt], retry: Retry, deadline: Deadline, *, repeatable: bool) -> T:
    """Make attempts until one succeeds, or the policy says that there is no further one; see `async_repeat`."""
    repeats = 0
    while isinstance(result := attempt(), FailedAttempt):
        pause = _pause(result, retry, repeats, deadline, repeatable)
        if pause is None:
            raise result.error
        if pause:
            sleep(pause)
        repeats += 1
    return result


def _pause(failed: FailedAttempt, retry: Retry, repeats: int, deadline: Deadline, repeatable: bool) -> float | None:
    left = deadline.left()
    return retry.pause_after(failed, repeats, repeatable=repeatable, left=left, random=random.random())
