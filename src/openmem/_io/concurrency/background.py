"""Work that is done now and then beside callers, in both forms: in a task of the event loop, or in a thread.

It keeps no object alive that was not closed: the work is known by a weak reference, except while it runs.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from openmem._io.state import show_state

if TYPE_CHECKING:
    import asyncio

EVERY_SECONDS: Final = 3600.0
PAUSE_SECONDS: Final = 0.01
JOIN_SECONDS: Final = 5.0

AsyncRest: TypeAlias = Callable[[], Awaitable[bool]]
"""To be called between two steps of the work; returns whether to go on."""
Rest: TypeAlias = Callable[[], bool]

_log = logging.getLogger("openmem.upkeep")


async def async_no_rest() -> bool:
    """Go on at once."""
    return True


def no_rest() -> bool:
    """Go on at once."""
    return True


class AsyncBackground:
    """Does some work at once and then every hour, as a task.

    Args:
        work: A method; called with what it is to await between two of its steps.
    """

    def __init__(self, work: Callable[[AsyncRest], Awaitable[object]]) -> None:
        self._work: weakref.WeakMethod[Any] = weakref.WeakMethod(work)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless that was done."""
        if self._task is None:
            import asyncio

            self._task = asyncio.get_running_loop().create_task(_rounds(self._work))

    def forked(self) -> None:
        """Forget the task of the parent: its loop did not come along."""
        self._task = None

    def __repr__(self) -> str:
        return show_state(self, "stopped" if self._task is None else "running")

    async def aclose(self) -> None:
        """Stop; a step that is under way ends or is taken back."""
        task, self._task = self._task, None
        if task is not None:
            import asyncio

            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _rounds(ref: weakref.WeakMethod[Any]) -> None:
    import asyncio

    async def rest() -> bool:
        await asyncio.sleep(PAUSE_SECONDS)
        return True

    # 1. The owner was collected: nothing is left to do.
    # 2. It is asked once an hour, and known by nothing but the weak reference while the task sleeps.
    while (work := ref()) is not None:
        try:
            await work(rest)
        except Exception as error:  # noqa: BLE001 - it is tried again, and no caller waits for it
            _told(error)
        del work
        await asyncio.sleep(EVERY_SECONDS)


class Background:
    """Does some work at once and then every hour, in a thread.

    Args:
        work: A method; called with what it is to call between two of its steps.
    """

    def __init__(self, work: Callable[[Rest], object]) -> None:
        self._work: weakref.WeakMethod[Any] = weakref.WeakMethod(work)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin, unless that was done."""
        if self._thread is None:
            self._stop = threading.Event()
            weakref.finalize(self, self._stop.set)
            self._thread = threading.Thread(target=_loop, args=(self._work, self._stop), daemon=True)
            self._thread.name = "openmem-upkeep"
            self._thread.start()

    def forked(self) -> None:
        """Begin again in a child process, to which the thread did not come along."""
        if self._thread is not None:
            self._thread = None
            self.start()

    def __repr__(self) -> str:
        return show_state(self, "stopped" if self._thread is None else "running")

    def close(self) -> None:
        """Stop after the step that is under way."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_SECONDS)


def _loop(ref: weakref.WeakMethod[Any], stop: threading.Event) -> None:
    def rest() -> bool:
        return not stop.wait(PAUSE_SECONDS)

    # 1. Closed.
    # 2. The owner was collected.
    # 3. It is asked once an hour, and known by nothing but the weak reference while the thread sleeps.
    while not stop.is_set() and (work := ref()) is not None:
        try:
            work(rest)
        except Exception as error:  # noqa: BLE001 - it is tried again, and no caller waits for it
            if not stop.is_set():
                _told(error)
        del work
        stop.wait(EVERY_SECONDS)


def _told(error: Exception) -> None:
    _log.warning("old entries and versions could not be removed: %s", getattr(error, "code", type(error).__name__))
