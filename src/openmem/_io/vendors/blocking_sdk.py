"""Blocking SDKs in both forms: calls go to worker threads of a limited number, and a caller never waits for the loop.

`AsyncSdk` and `Sdk` hold the client of an SDK, which is made by the first call, in its worker, since many clients ask
the network for something while they are made. The deadline of the call that a worker is at is in `time_left`, for
SDKs that take a timeout of their own.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Final, Generic, TypeVar

from openmem._io.concurrency.call import Deadline
from openmem._io.concurrency.deadlines import Alarms
from openmem._io.concurrency.executor import Crew
from openmem._io.concurrency.primitives import AsyncBinding, thread_of_loop

C = TypeVar("C")
T = TypeVar("T")

CLOSE_WAIT: Final = 1.0
"""Seconds that `aclose` waits for calls that still run; what takes longer is left to end by itself."""
UNDO_SECONDS: Final = 30.0
"""Seconds that taking a failed batch back may take, whatever is left of the call's own time."""
ORPHAN: Final = "orphan call completed after cancellation"

_log = logging.getLogger("openmem.shim")
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
            if not self._made:
                self._make_one(deadline)
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

    def _make_one(self, deadline: Deadline) -> None:
        with self._making:
            if not self._made:
                deadline.check()
                self._made.append(self._make())

    def _end(self) -> None:
        try:
            for client in self._made:
                self._let_go(client)
        finally:
            self.ended.set()


class _Job(Generic[C, T]):
    """One call for a caller on an event loop.

    Attributes:
        answer: What the caller waits for.
        queued: It waits for its turn.
        done: The client was called, whatever came of it.
    """

    __slots__ = ("_context", "_deadline", "_function", "answer", "done", "queued")

    def __init__(self, function: Callable[[C], T], deadline: Deadline, answer: asyncio.Future[T]) -> None:
        self._function, self._deadline, self.answer = function, deadline, answer
        self._context = copy_context()
        self.queued, self.done = True, False

    def do(self, holder: _Holder[C]) -> T | None:
        """Make the call, unless nobody waits for it any more."""
        if self.answer.done():
            return None
        self.done = True
        return self._context.run(holder.use, self._function, self._deadline)

    def expire(self) -> None:
        """Tell the caller that the time is over."""
        self.fail(self._deadline.exceeded())

    def fail(self, error: BaseException) -> None:
        """Answer with an error, if somebody still waits."""
        if not self.answer.done():
            self.answer.set_exception(error)


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
        self._crew = Crew(f"openmem-{self._owner}")
        self._alarms = Alarms()
        self._busy = 0
        self._waiting: deque[_Job[C, Any]] = deque()

    async def run(self, work: Callable[[C], T], deadline: Deadline) -> T:
        """Return what a function of the client returns.

        Raises:
            RuntimeError: This is another event loop, or the object is closed.
            DeadlineExceededError: The deadline came first.
        """
        self._binding.check()
        if self._closed:
            raise self._no_more()
        deadline.check()
        loop = asyncio.get_running_loop()
        job: _Job[C, T] = _Job(work, deadline, loop.create_future())
        self._alarms.set(job, deadline.at)
        self._waiting.append(job)
        self._go_on(loop)
        try:
            return await job.answer
        finally:
            self._alarms.unset(job)
            if job.queued:
                self._waiting.remove(job)

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
        while self._waiting:
            self._next().fail(self._no_more())
        self._crew.dismiss()
        holder = self._holder

        def end() -> None:
            holder.end()
            holder.ended.wait(CLOSE_WAIT)

        await thread_of_loop(end, abandon=True, unlimited=True)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have calls begun, in the order in which they came, as long as there are workers."""
        while self._waiting and self._busy < self._workers:
            job = self._next()
            self._busy += 1
            self._holder.enter()
            self._crew.call(partial(self._work, job, self._holder, loop), self._busy)

    def _next(self) -> _Job[C, Any]:
        job = self._waiting.popleft()
        job.queued = False
        return job

    def _work(self, job: _Job[C, T], holder: _Holder[C], loop: asyncio.AbstractEventLoop) -> None:
        """Do a job, in a worker, and report."""
        result: T | None = None
        error: BaseException | None = None
        try:
            result = job.do(holder)
        except BaseException as raised:  # noqa: BLE001 - it is the caller's
            error = raised
        holder.leave()
        if not _on_loop(loop, self._end, job, result, error, loop):
            _log.debug(ORPHAN)

    def _end(self, job: _Job[C, T], result: T, error: BaseException | None, loop: asyncio.AbstractEventLoop) -> None:
        self._busy -= 1
        self._go_on(loop)
        if not job.answer.done():
            job.answer.set_result(result) if error is None else job.answer.set_exception(error)
        elif job.done:
            _log.debug(ORPHAN)

    def _no_more(self) -> RuntimeError:
        return RuntimeError(f"{self._owner} is closed")


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


def _on_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> bool:
    """Have a function called on a loop, and return whether the loop is still there."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
        return False
    return True
