"""Blocking SDKs in both forms: calls go to worker threads of a limited number, and a caller never waits for the loop.

`AsyncSdk` and `Sdk` hold the client of an SDK, which is made by the first call, in its worker, since many clients ask
the network for something while they are made. The deadline of the call that a worker is at is in `time_left`, for
SDKs that take a timeout of their own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Final, Generic, TypeVar

import anyio
import anyio.to_thread

from openmem._io.call import Deadline
from openmem._io.concurrency import AsyncBinding

C = TypeVar("C")
T = TypeVar("T")

CLOSE_WAIT: Final = 1.0
UNDO_SECONDS: Final = 30.0
"""Seconds that `aclose` waits for calls that still run; what takes longer is left to end by itself."""
ORPHAN: Final = "orphan call completed after cancellation"

_log = logging.getLogger("openmem.shim")
_deadline: ContextVar[Deadline] = ContextVar("openmem_deadline", default=Deadline())  # noqa: B039 - it cannot change


def time_left() -> float | None:
    """Return the seconds that the call of this worker may still take, `None` without a limit.

    Raises:
        DeadlineExceededError: The time is used up.
    """
    return _deadline.get().remaining()


@contextmanager
def time_anew() -> Iterator[None]:
    """Give what is done in the context `UNDO_SECONDS` of its own: who takes steps back must not be late for it."""
    token = _deadline.set(Deadline.after(UNDO_SECONDS))
    try:
        yield
    finally:
        _deadline.reset(token)


class WriterLocks:
    """One lock for each name in use, among the threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Keep others out for as long as the context lasts.

        Raises:
            DeadlineExceededError: The lock was not free in time.
        """
        left = time_left()
        with self._lock:
            own, users = self._named.get(name, (threading.Lock(), 0))
            self._named[name] = (own, users + 1)
        taken = False
        try:
            taken = own.acquire(timeout=-1 if left is None else left)
            if not taken:
                raise _deadline.get().exceeded()
            yield
        finally:
            if taken:
                own.release()
            self._leave(name)

    def _leave(self, name: str) -> None:
        with self._lock:
            own, users = self._named[name]
            if users == 1:
                del self._named[name]
            else:
                self._named[name] = (own, users - 1)


class _Holder(Generic[C]):
    """The client: made once, by the first who needs it, and let go once, by the last who used it."""

    def __init__(self, make: Callable[[], C], let_go: Callable[[C], None]) -> None:
        self._make, self._let_go = make, let_go
        self._making = threading.Lock()
        self._counting = threading.Lock()
        self._made: list[C] = []
        self._busy = 0
        self._ending = False
        self.ended = threading.Event()

    def use(self, work: Callable[[C], T], deadline: Deadline) -> T:
        token = _deadline.set(deadline)
        try:
            with self._making:
                if not self._made:
                    deadline.check()
                    self._made.append(self._make())
            return work(self._made[0])
        finally:
            _deadline.reset(token)

    def enter(self) -> None:
        with self._counting:
            self._busy += 1

    def leave(self) -> None:
        with self._counting:
            self._busy -= 1
            last = self._ending and not self._busy
        if last:
            self._end()

    def end(self) -> None:
        """Let the client go as soon as nobody uses it; it may be at once."""
        with self._counting:
            first, self._ending = not self._ending, True
            idle = not self._busy
        if first and idle:
            self._end()

    def _end(self) -> None:
        try:
            for client in self._made:
                self._let_go(client)
        finally:
            self.ended.set()


class _Job(Generic[C, T]):
    """One call: it runs in a worker, or is called off before it starts."""

    def __init__(self, holder: _Holder[C], work: Callable[[C], T], deadline: Deadline) -> None:
        self._holder, self._work, self._deadline = holder, work, deadline
        self._lock = threading.Lock()
        self._started = self._finished = self._left = False
        self.released: Callable[[], None] = lambda: None

    def __call__(self) -> T | None:
        with self._lock:
            if self._left:
                return None
            self._started = True
        try:
            return self._holder.use(self._work, self._deadline)
        finally:
            self._holder.leave()
            if self._finish():
                _log.debug(ORPHAN)
                self.released()

    def _finish(self) -> bool:
        """Note the end, and return whether nobody waits for it."""
        with self._lock:
            self._finished = True
            return self._left

    def leave(self) -> bool:
        """Note that nobody waits any more, and return whether the place in the queue is free: else it will be."""
        with self._lock:
            self._left = True
            started, finished = self._started, self._finished
        if not started:
            self._holder.leave()
        return finished or not started


class AsyncSdk(Generic[C]):
    """Calls a blocking SDK from one event loop.

    When as many calls run as there are workers, others wait for their turn. A cancelled caller, and one whose deadline
    passes, leaves at once; its worker finishes, keeps its place until then, and what it returns is dropped.

    Args:
        make: Makes the client; runs in a worker, before the first call.
        let_go: Closes the client; runs in a worker, after the last call.
        workers: How many calls may run at the same time.
        owner: What to call the user of this object in errors.
    """

    def __init__(self, make: Callable[[], C], let_go: Callable[[C], None], workers: int, owner: str) -> None:
        self._parts = (make, let_go)
        self._owner, self._workers = owner, workers
        self._binding = AsyncBinding(owner)
        self._closed = False
        self.forked()

    def forked(self) -> None:
        """Drop what must not cross a fork."""
        self._holder: _Holder[C] = _Holder(*self._parts)
        self._limiter: anyio.CapacityLimiter | None = None
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix=f"openmem-{self._owner}")

    async def run(self, work: Callable[[C], T], deadline: Deadline) -> T:
        """Return what a function of the client returns.

        Raises:
            RuntimeError: This is another event loop, or the object is closed.
            DeadlineExceededError: The deadline came first.
        """
        self._binding.check()
        if self._closed:
            raise RuntimeError(f"{self._owner} is closed")
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._workers)
        try:
            async with asyncio.timeout(deadline.remaining()) as limit:
                return await self._run(work, deadline, self._limiter)
        except TimeoutError:
            if limit.expired():
                raise deadline.exceeded() from None
            raise

    def relay(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return a function for workers that has another one called on the loop, in the order of the calls."""
        loop = asyncio.get_running_loop()

        def later(*args: Any) -> None:
            _on_loop(loop, function, *args)

        return later

    async def aclose(self) -> None:
        """Let the client go. Calls that still run are waited for a moment, then left to end by themselves."""
        if self._closed:
            return
        self._closed = True
        holder = self._holder
        unlimited = anyio.CapacityLimiter(math.inf)

        def end() -> None:
            holder.end()
            holder.ended.wait(CLOSE_WAIT)

        await anyio.to_thread.run_sync(end, abandon_on_cancel=True, limiter=unlimited)
        self._pool.shutdown(wait=False)

    async def _run(self, work: Callable[[C], T], deadline: Deadline, limiter: anyio.CapacityLimiter) -> T:
        job: _Job[C, T] = _Job(self._holder, work, deadline)
        try:
            limiter.acquire_on_behalf_of_nowait(job)
        except anyio.WouldBlock:
            await limiter.acquire_on_behalf_of(job)
            if self._closed:
                limiter.release_on_behalf_of(job)
                raise RuntimeError(f"{self._owner} is closed") from None
        self._holder.enter()
        loop = asyncio.get_running_loop()
        job.released = lambda: _on_loop(loop, limiter.release_on_behalf_of, job)
        try:
            result: Any = await loop.run_in_executor(self._pool, copy_context().run, job)
            return result  # type: ignore[no-any-return]
        finally:
            if job.leave():
                limiter.release_on_behalf_of(job)


class Sdk(Generic[C]):
    """Calls a blocking SDK, here and now. Threads may share it.

    Args:
        make: Makes the client before the first call.
        let_go: Closes the client after the last call.
        workers: Has no meaning here: callers bring their own threads.
        owner: What to call the user of this object in errors.
    """

    def __init__(self, make: Callable[[], C], let_go: Callable[[C], None], workers: int, owner: str) -> None:
        self._parts = (make, let_go)
        self._owner = owner
        self._closed = False
        self.forked()

    def forked(self) -> None:
        """Drop what must not cross a fork."""
        self._holder: _Holder[C] = _Holder(*self._parts)

    def run(self, work: Callable[[C], T], deadline: Deadline) -> T:
        """Return what a function of the client returns.

        Raises:
            RuntimeError: The object is closed.
            DeadlineExceededError: The deadline is over before the start.
        """
        if self._closed:
            raise RuntimeError(f"{self._owner} is closed")
        deadline.check()
        self._holder.enter()
        try:
            return self._holder.use(work, deadline)
        finally:
            self._holder.leave()

    def relay(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return the function in a form for workers."""

        def now(*args: Any) -> None:
            function(*args)

        return now

    def close(self) -> None:
        """Let the client go. Calls that still run in other threads are left to end by themselves."""
        self._closed = True
        self._holder.end()


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> None:
    """Call a function on a loop: at once if this is its thread, not at all if it is closed."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        function(*args)
        return
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
