"""Runs verbs from a plain function, in both forms: the rules of a Hypothesis state machine cannot wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class AsyncRunner:
    """Runs coroutines one after the other on an event loop of its own, and closes the loop at the end."""

    def __init__(self) -> None:
        # With a factory the runner leaves the thread's current loop alone: it belongs to the test framework.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)

    def __enter__(self) -> AsyncRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def run(self, result: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine to its end and return what it returns."""
        return self._runner.run(result)


class Runner:
    """The plain form: a call has run already when its result arrives here."""

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def run(self, result: T) -> T:
        """Return the result."""
        return result
