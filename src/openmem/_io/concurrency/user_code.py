"""Running the user's code: never in the way of others, and not past the deadline."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import async_call, is_coroutine_function
from openmem.errors import InvalidRequestError

if TYPE_CHECKING:
    from openmem._io.concurrency.deadlines import DeadlineTimer


class AsyncUserFunction:
    """Runs one function: a coroutine function is awaited, a plain one goes to a worker thread.

    Args:
        function: The function.
        name: What the function is, for error messages.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._function = function
        self._timer: DeadlineTimer | None = None
        self._awaited = is_coroutine_function(function)  # not looked up for each call: it takes longer than some calls

    async def run(self, deadline: Deadline, *args: Any) -> Any:
        """Return what the function returns.

        Raises:
            DeadlineExceededError: The deadline came first. A plain function runs on; its result is dropped.
        """
        if self._timer is None:
            # Here: the other form has no event loop, and this one's constructor none yet.
            from openmem._io.concurrency.deadlines import DeadlineTimer, deadline_scope

            self._timer, self._scope = DeadlineTimer(), deadline_scope
        with self._scope(self._timer, deadline):
            # 1. A coroutine function, on the loop.
            # 2. A plain one, in a worker thread, which it keeps when its caller leaves.
            if self._awaited:
                return await self._function(*args)
            return await async_call(self._function, *args)


class UserFunction:
    """Runs one plain function.

    Args:
        function: The function.
        name: What the function is, for error messages.

    Raises:
        TypeError: It is a coroutine function.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        if is_coroutine_function(function):
            raise TypeError(_only_awaited(name))
        self._function = function
        self._name = name

    def run(self, deadline: Deadline, *args: Any) -> Any:
        """Return what the function returns.

        Raises:
            DeadlineExceededError: The deadline is over before the start.
            InvalidRequestError: The function gave something to be awaited.
        """
        deadline.check()
        # It cannot be stopped from outside: the deadline is looked at before it.
        result = self._function(*args)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()
            raise InvalidRequestError(_only_awaited(self._name))
        return result


def _only_awaited(name: str) -> str:
    return f"{name} is a coroutine function: use it with AsyncMemory"
