"""Blocking SDKs in both forms: calls run in worker threads, a limited number at once, and never hold up the event loop.

`AsyncBlockingClient` and `BlockingClient` hold the client of an SDK, which is made by the first call, in its worker,
since many clients ask the network for something while they are made.

A call of the asynchronous form is in one of four states:

1. *Waiting* for one of the places. A caller that is cancelled, or whose deadline comes, leaves the queue; closing
   refuses all that wait.
2. *Starting*: it has a place, and the thread has not begun. A caller that leaves now takes the place along, and the
   client is not called.
3. *Running*. A caller that leaves gets away at once. The worker finishes and keeps the place until then; what it
   returns is dropped, with a word in the log.
4. *Ended*: the place is free, and the caller has the result.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar, cast

import anyio

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.primitives import AsyncBinding, thread_of_loop
from openmem._io.state import show_state
from openmem._io.vendors.call_deadline import use_deadline, use_retry
from openmem._model.retry import DEFAULT_RETRY, Retry

C = TypeVar("C")
T = TypeVar("T")

CLOSE_WAIT: Final = 1.0
"""Seconds that `aclose` waits for calls that still run; what takes longer is left to end by itself."""
ORPHAN: Final = "orphan call completed after cancellation"

_log = logging.getLogger("openmem.shim")


class _ClientRef(Generic[C]):
    """The client: made once, by the first call that needs it, and disposed of once, after the last call."""

    def __init__(self, make: Callable[[], C], dispose: Callable[[C], None], retry: Retry) -> None:
        self._make, self._dispose, self._retry = make, dispose, retry
        self._making = threading.Lock()
        self._counting = threading.Lock()
        self._made: list[C] = []
        self._users = 0
        self._closing = False
        self.disposed = threading.Event()

    def use(self, work: Callable[[C], T], deadline: Deadline) -> T:
        with use_deadline(deadline), use_retry(self._retry):
            if not self._made:
                self._make_one(deadline)
            return work(self._made[0])

    def acquire(self) -> None:
        with self._counting:
            self._users += 1

    def release(self) -> None:
        with self._counting:
            self._users -= 1
            last = self._closing and not self._users
        if last:
            self._dispose_now()

    def close(self) -> None:
        """Dispose of the client as soon as no call uses it; it may be at once."""
        with self._counting:
            # 1. Idle: disposed of here.
            # 2. In use: by the last call that ends.
            # 3. Closed already: nothing to do.
            first, self._closing = not self._closing, True
            idle = not self._users
        if first and idle:
            self._dispose_now()

    def _make_one(self, deadline: Deadline) -> None:
        with self._making:
            # Looked at again under the lock: of several first calls, one makes the client and the others wait for it.
            if not self._made:
                deadline.check()
                self._made.append(self._make())

    def _dispose_now(self) -> None:
        try:
            for client in self._made:
                self._dispose(client)
        finally:
            self.disposed.set()


class _WorkItem(Generic[C, T]):
    """One call for a worker thread.

    Args:
        ref: The client; it is released when the call has ended, or was given up before its begin.
        work: What to do with the client.
        deadline: The deadline of the call.
        ended: Called in the worker after the call; its argument tells whether the caller had left.
    """

    __slots__ = ("_abandoned", "_begun", "_deadline", "_ended", "_lock", "_ref", "_work")

    def __init__(
        self, ref: _ClientRef[C], work: Callable[[C], T], deadline: Deadline, ended: Callable[[bool], None]
    ) -> None:
        self._ref, self._work, self._deadline, self._ended = ref, work, deadline, ended
        self._lock = threading.Lock()
        self._begun = self._abandoned = False

    def run(self) -> T | None:
        """Call the client, unless the caller left before."""
        with self._lock:
            if self._abandoned:
                return None
            self._begun = True
        try:
            return self._ref.use(self._work, self._deadline)
        finally:
            self._ref.release()
            with self._lock:
                left = self._abandoned
            self._ended(left)

    def abandon(self) -> bool:
        """Note that the caller left; return whether the call has not begun, and never will."""
        with self._lock:
            self._abandoned = True
            return not self._begun


class AsyncBlockingClient(Generic[C]):
    """Calls a blocking SDK from one event loop.

    When as many calls run as there are workers, others wait for their turn. A cancelled caller, and one whose deadline
    passes, leaves at once; its worker finishes, keeps its place until then, and what it returns is dropped.

    Args:
        make: Makes the client; runs in a worker, before the first call.
        dispose: Closes the client; runs in a worker, after the last call.
        workers: How many calls may run at the same time.
        owner: What to call the user of this object in errors.
        retry: How often, and after how long, calls repeat a request.
    """

    def __init__(
        self,
        make: Callable[[], C],
        dispose: Callable[[C], None],
        workers: int,
        owner: str,
        retry: Retry = DEFAULT_RETRY,
    ) -> None:
        self._parts = (make, dispose, retry)
        self._owner, self._workers = owner, workers
        self._binding = AsyncBinding(owner)
        self._closed = False
        self.forked()

    def forked(self) -> None:
        """Drop what must not cross a fork."""
        self._ref: _ClientRef[C] = _ClientRef(*self._parts)
        self._places: anyio.CapacityLimiter | None = None
        self._queue: set[anyio.CancelScope] = set()

    async def run(self, work: Callable[[C], T], deadline: Deadline) -> T:
        """Return what a function of the client returns.

        Raises:
            RuntimeError: This is another event loop, or the object is closed.
            DeadlineExceededError: The deadline came first.
        """
        self._binding.check()
        if self._closed:
            raise self._no_more()
        # 1. A free place, or a turn in the queue; the scope ends both waits at the deadline.
        places, place = self._limiter(), object()
        with anyio.CancelScope(deadline=_at(deadline)) as scope:
            try:
                places.acquire_on_behalf_of_nowait(place)
            except anyio.WouldBlock:
                await self._wait_for(places, place, scope)
            # 2. In the thread, which may begin, run and end: states 2 to 4 above.
            return await self._in_worker(places, place, work, deadline)
        # The scope was cancelled: by the deadline, or by `close`.
        raise self._refusal(deadline)

    def call_on_loop(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return a function for workers that has another one called on the loop, in the order of the calls."""
        loop = asyncio.get_running_loop()

        def later(*args: Any) -> None:
            _on_loop(loop, function, *args)

        return later

    async def aclose(self) -> None:
        """Dispose of the client. Calls that still run are waited for a moment, then left to end by themselves."""
        if self._closed:
            return
        self._closed = True
        for scope in self._queue:
            scope.cancel()
        # The thread is not one of the limited ones: all of those may be busy, and closing must not wait for them.
        ref = self._ref

        def end() -> None:
            ref.close()
            ref.disposed.wait(CLOSE_WAIT)

        await thread_of_loop(end, abandon=True, unlimited=True)

    async def _wait_for(self, places: anyio.CapacityLimiter, place: object, scope: anyio.CancelScope) -> None:
        self._queue.add(scope)
        try:
            await places.acquire_on_behalf_of(place)
        except BaseException:
            with suppress(RuntimeError):  # up to anyio 4.12 a caller that is cancelled with its turn keeps the place
                places.release_on_behalf_of(place)
            raise
        finally:
            self._queue.discard(scope)

    async def _in_worker(
        self, places: anyio.CapacityLimiter, place: object, work: Callable[[C], T], deadline: Deadline
    ) -> T:
        loop, ref = asyncio.get_running_loop(), self._ref

        def ended(left: bool) -> None:
            alive = _on_loop(loop, places.release_on_behalf_of, place)
            # The caller left, or its loop ended: the result is dropped.
            if left or not alive:
                _log.debug(ORPHAN)

        ref.acquire()
        item = _WorkItem(ref, work, deadline, ended)
        try:
            return cast(T, await thread_of_loop(item.run, abandon=True, unlimited=True))
        except asyncio.CancelledError:
            # It had not begun and never will: the place is free at once. Else the worker frees it at its end.
            if item.abandon():
                places.release_on_behalf_of(place)
                ref.release()
            raise

    def __repr__(self) -> str:
        state, places = "closed" if self._closed else "open", self._places
        busy, waiting = (0, 0) if places is None else (places.borrowed_tokens, places.statistics().tasks_waiting)
        return show_state(self, state, f"{busy} of {self._workers} workers busy", f"{waiting} waiting")

    def _limiter(self) -> anyio.CapacityLimiter:
        if self._places is None:
            self._places = anyio.CapacityLimiter(self._workers)
        return self._places

    def _refusal(self, deadline: Deadline) -> Exception:
        return self._no_more() if self._closed and not deadline.passed() else deadline.exceeded()

    def _no_more(self) -> RuntimeError:
        return RuntimeError(f"{self._owner} is closed")


class BlockingClient(Generic[C]):
    """Calls a blocking SDK, here and now. Threads may share it.

    Args:
        make: Makes the client before the first call.
        dispose: Closes the client after the last call.
        workers: Has no meaning here: callers bring their own threads.
        owner: What to call the user of this object in errors.
        retry: How often, and after how long, calls repeat a request.
    """

    def __init__(
        self,
        make: Callable[[], C],
        dispose: Callable[[C], None],
        workers: int,
        owner: str,
        retry: Retry = DEFAULT_RETRY,
    ) -> None:
        self._parts = (make, dispose, retry)
        self._owner = owner
        self._closed = False
        self.forked()

    def forked(self) -> None:
        """Drop what must not cross a fork."""
        self._ref: _ClientRef[C] = _ClientRef(*self._parts)

    def run(self, work: Callable[[C], T], deadline: Deadline) -> T:
        """Return what a function of the client returns.

        Raises:
            RuntimeError: The object is closed.
            DeadlineExceededError: The deadline is over before the start.
        """
        if self._closed:
            raise RuntimeError(f"{self._owner} is closed")
        deadline.check()
        self._ref.acquire()
        try:
            return self._ref.use(work, deadline)
        finally:
            self._ref.release()

    def call_on_loop(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return the function in a form for workers."""

        def now(*args: Any) -> None:
            function(*args)

        return now

    def __repr__(self) -> str:
        return show_state(self, "closed" if self._closed else "open")

    def close(self) -> None:
        """Dispose of the client. Calls that still run in other threads are left to end by themselves."""
        self._closed = True
        self._ref.close()


def _at(deadline: Deadline) -> float:
    """Return when the deadline comes, on anyio's clock."""
    left = deadline.remaining()
    return math.inf if left is None else anyio.current_time() + left


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> bool:
    """Have a function called on a loop, and return whether the loop is still there."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True
